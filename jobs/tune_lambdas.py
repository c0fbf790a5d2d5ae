"""`ray job submit ... -- python jobs/tune_lambdas.py ARGS` is `mmcsal tune ARGS` on the cluster."""

from mmcsal.cli import main

if __name__ == "__main__":
    main("tune")
