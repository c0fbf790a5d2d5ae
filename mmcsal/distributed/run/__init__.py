"""One run: the table of stages, plan, execution, status, rounds. What a stage does is in `distributed/stages`."""
