"""What runs inside Ray's workers, and the loops that feed them. Nothing here decides what a stage does."""
