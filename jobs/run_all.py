"""`ray job submit ... -- python jobs/run_all.py ARGS` is `mmcsal run ARGS` on the cluster."""

from mmcsal.cli import main

if __name__ == "__main__":
    main("run")
