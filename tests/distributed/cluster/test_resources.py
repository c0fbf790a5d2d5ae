"""What stages ask for, on clusters that have, may scale to, or will never have it."""

import time

import pytest

from mmcsal.config import ClusterSpec, load_config
from mmcsal.contracts.errors import ResourceError
from mmcsal.distributed.cluster.resources import (
    Capacity,
    ResourceRequest,
    capacity,
    refuse_impossible,
    resource_request,
    wait_for,
)

LAPTOP = Capacity(4, 0, is_fixed=True)
SCALED_TO_ZERO = Capacity(0, 0, max_cpus=6, max_gpus=2)
GPU_BOX = Capacity(16, 2, is_fixed=True)


@pytest.mark.parametrize(
    ("found", "use_gpus", "expected"),
    [
        (LAPTOP, "auto", False),
        (GPU_BOX, "auto", True),
        (GPU_BOX, "false", False),
        (SCALED_TO_ZERO, "auto", True),
        (Capacity(64, 0, max_cpus=64), "auto", False),
        (LAPTOP, "true", True),
    ],
)
def test_training_and_embedding_use_gpus_where_there_are_or_may_be_some(found, use_gpus, expected):
    config = load_config(None, [f"cluster.use_gpus={use_gpus}"])
    assert [resource_request(stage, config, found).use_gpu for stage in ("pretrain", "embed", "finetune")] == 3 * [
        expected
    ]
    assert not resource_request("ingest", config, found).use_gpu, "decoding would keep GPUs idle"


def test_training_falls_back_to_cpus_where_the_gpus_are_too_few_for_its_workers():
    config = load_config(None, ["pretrain.num_workers=4"])
    assert not resource_request("pretrain", config, GPU_BOX).use_gpu
    assert resource_request("embed", config, GPU_BOX).use_gpu
    elastic = load_config(None, ["pretrain={batch_size: 24, num_workers: 4, min_workers: 2}"])
    assert resource_request("pretrain", elastic, GPU_BOX).use_gpu


def test_a_group_scaled_to_zero_is_asked_for_as_many_workers_as_it_may_bring():
    """Actors for the CPUs of the moment would be none, and nothing would ever make the group grow."""
    assert ResourceRequest("ingest", 1, None).num_workers(SCALED_TO_ZERO) == 6
    assert ResourceRequest("ingest", 1, 5).num_workers(SCALED_TO_ZERO) == 5
    untold = Capacity(0, 0)
    assert ResourceRequest("ingest", 1, 80).num_workers(untold) == 80
    assert ResourceRequest("ingest", 1, None).num_workers(untold) == 1
    assert ResourceRequest("ingest", 1, 80).num_workers(LAPTOP) == 4
    assert ResourceRequest("embed", 1, None, use_gpu=True).num_workers(SCALED_TO_ZERO) == 2


@pytest.mark.parametrize(
    ("found", "overrides", "told"),
    [
        (LAPTOP, ["pretrain.num_workers=8"], "pretrain.num_workers is 8, but a Ray of this machine has 4 CPUs at most"),
        (LAPTOP, ["finetune.num_workers=8"], "finetune.num_workers is 8, but a Ray of this machine has 4 CPUs at most"),
        (LAPTOP, ["pretrain.num_workers=8", "pretrain.min_workers=8"], "set pretrain.min_workers=4 or less"),
        (LAPTOP, ["cluster.use_gpus=true"], "cluster.use_gpus is true"),
        (SCALED_TO_ZERO, ["pretrain.num_workers=4", "cluster.use_gpus=true"], "has 2 at most"),
        (SCALED_TO_ZERO, ["pretrain.num_workers=8"], "the cluster has 6 CPUs at most"),
    ],
)
def test_what_can_never_be_had_is_refused_with_the_key_to_change(found, overrides, told):
    asks = [resource_request(stage, load_config(None, overrides), found) for stage in ("pretrain", "finetune")]
    with pytest.raises(ResourceError, match=told):
        refuse_impossible(asks, found)


def test_a_cluster_without_autoscaler_may_still_get_nodes_by_hand():
    config = load_config(None, ["pretrain.num_workers=8"])
    refuse_impossible([resource_request("pretrain", config, Capacity(4, 0))], Capacity(4, 0))


def test_the_capacity_of_a_cluster(shared_ray):
    found = capacity(ClusterSpec())
    assert (found.num_cpus, found.num_gpus, found.max_cpus, found.is_fixed) == (2, 0, None, True)
    assert not capacity(ClusterSpec(address="somewhere:6379")).is_fixed, "nodes may join a cluster"


def test_gpus_that_never_come_end_the_wait_in_the_stated_time(shared_ray):
    config = load_config(None, ["cluster.use_gpus=true", "cluster.wait_s=2"])
    begun_s = time.monotonic()
    with pytest.raises(ResourceError, match=r"after cluster.wait_s = 2 s; add nodes, .*cluster.use_gpus=auto"):
        wait_for(resource_request("embed", config, capacity(config.cluster)), config.cluster)
    assert time.monotonic() - begun_s < ClusterSpec().wait_s
    assert wait_for(resource_request("ingest", config, capacity(config.cluster)), config.cluster).num_cpus == 2
