"""`ray job submit ... -- python jobs/embed_clips.py ARGS` is `mmcsal embed ARGS` on the cluster."""

from mmcsal.cli import main

if __name__ == "__main__":
    main("embed")
