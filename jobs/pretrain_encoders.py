"""`ray job submit ... -- python jobs/pretrain_encoders.py ARGS` is `mmcsal pretrain ARGS` on the cluster."""

from mmcsal.cli import main

if __name__ == "__main__":
    main("pretrain")
