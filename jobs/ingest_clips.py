"""`ray job submit ... -- python jobs/ingest_clips.py ARGS` is `mmcsal ingest ARGS` on the cluster."""

from mmcsal.cli import main

if __name__ == "__main__":
    main("ingest")
