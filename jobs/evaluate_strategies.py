"""`ray job submit ... -- python jobs/evaluate_strategies.py ARGS` is `mmcsal evaluate ARGS` on the cluster."""

from mmcsal.cli import main

if __name__ == "__main__":
    main("evaluate")
