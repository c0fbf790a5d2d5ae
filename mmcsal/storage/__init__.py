"""Where files lie: URIs, S3, leases, Parquet folders, the run directory. What is in them is in `contracts`."""
