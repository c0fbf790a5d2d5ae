"""`ray job submit ... -- python jobs/select_clips.py ARGS` is `mmcsal select ARGS` on the cluster."""

from mmcsal.cli import main

if __name__ == "__main__":
    main("select")
