"""Stage 1 in plain torch: state, step, epoch, data, evaluation. Nothing here knows of Ray."""
