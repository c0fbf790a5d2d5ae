"""CLIP -> EMBEDDING: every clip of the pool through the trained encoders, one file a partition."""

from typing import Any

from mmcsal.config import RunConfig
from mmcsal.contracts.progress import Progress
from mmcsal.distributed.cluster.resources import capacity, resource_request
from mmcsal.distributed.workers.embed import EmbedWorker
from mmcsal.distributed.workers.map_partitions import run_partitions
from mmcsal.distributed.workers.trainer import trained_model
from mmcsal.storage.rundir import RunDir


def embed_clips(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Embeds every clip once.

    Raises:
        InputError: the encoders are not what pretraining has written.
        MmcsalError: an embedding is not finite; the message names its samples.
    """
    trained_model(run_dir)  # here first: what is wrong ends the stage before Ray starts workers
    constructor = {"run_dir": run_dir, "spec": config.embed}
    found = capacity(config.cluster)
    request = resource_request("embed", config, found)
    run_partitions(
        run_dir,
        "embeddings",
        EmbedWorker,
        constructor,
        num_workers=request.num_workers(found),
        use_gpu=request.use_gpu,
        progress=progress,
    )
    return {"num_embeddings": run_dir.dataset("embeddings").count_rows()}
