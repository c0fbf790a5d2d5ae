"""`ray job submit ... -- python jobs/build_report.py ARGS` is `mmcsal report ARGS` on the cluster."""

from mmcsal.cli import main

if __name__ == "__main__":
    main("report")
