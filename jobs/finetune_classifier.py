"""`ray job submit ... -- python jobs/finetune_classifier.py ARGS` is `mmcsal finetune ARGS` on the cluster."""

from mmcsal.cli import main

if __name__ == "__main__":
    main("finetune")
