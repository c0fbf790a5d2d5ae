"""Each script measures a ratio against a named peer or limit in the same run; run it as `python -m benchmarks.NAME`."""
