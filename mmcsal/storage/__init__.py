"""Where files lie: URIs, S3, leases, the run directory. What is in them is in `contracts`."""

DEFAULT_RUN_DIR = "runs/default"
