"""One run: the table of stages, what is done already, status, rounds. What a stage does is in `stages`."""
