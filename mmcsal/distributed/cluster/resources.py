"""What each stage asks of the cluster, what the cluster has or may scale to, and waiting for what is on its way.

An autoscaled group at zero shows nothing of itself in the cluster's resources. Where the autoscaler states its limits,
they count; else the configuration has to say how many workers to ask for. A stage that cannot get its least share ends
with an error in a stated time instead of waiting for ever.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import ray
import torch
from ray._private import state
from ray.autoscaler.sdk import request_resources

from mmcsal.config import ClusterSpec, RunConfig
from mmcsal.contracts.errors import ResourceError
from mmcsal.contracts.stages import EMBED, FINETUNE, INGEST, PRETRAIN, facts_of
from mmcsal.distributed.cluster.session import cluster_address

HERE = "a Ray of this machine"
SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Capacity:
    """CPUs and GPUs that a cluster has now, and the most that its autoscaler may bring (None: it has no autoscaler)."""

    num_cpus: int
    num_gpus: int
    max_cpus: int | None = None
    max_gpus: int | None = None
    is_fixed: bool = False  # no node can ever join: a Ray of this machine

    @property
    def most_cpus(self) -> int:
        return max(self.num_cpus, self.max_cpus or 0)

    @property
    def most_gpus(self) -> int:
        return max(self.num_gpus, self.max_gpus or 0)

    @property
    def is_final(self) -> bool:
        """Whether more than the most known here can never come; nodes may join by hand where nothing scales."""
        return self.is_fixed or self.max_cpus is not None or self.max_gpus is not None

    def __str__(self) -> str:
        now = f"{self.num_cpus} CPUs, {self.num_gpus} GPUs"
        if (self.most_cpus, self.most_gpus) == (self.num_cpus, self.num_gpus):
            return now
        return f"{now}, at most {self.most_cpus} CPUs, {self.most_gpus} GPUs"


@dataclass(frozen=True)
class ResourceRequest:
    """So many workers of 1 CPU (`use_gpu`: and 1 GPU) at least, so many at most (None: as there is work and room)."""

    stage: str
    fewest: int
    most: int | None
    use_gpu: bool = False
    key: str = ""  # of the configuration, that says how many

    @property
    def bundle(self) -> dict[str, float]:
        return {"CPU": 1, "GPU": 1} if self.use_gpu else {"CPU": 1}

    def num_workers(self, capacity: Capacity) -> int:
        """How many workers to start: as the configuration says, else as there is room for.

        Those that find no room wait: that makes an autoscaler bring nodes, and few say how many they may bring.
        """
        room = max(1, capacity.most_gpus if self.use_gpu else capacity.most_cpus)
        if self.most is None or capacity.is_final:
            return min(self.most or room, room)
        return self.most

    def __str__(self) -> str:
        """Such as `1 to 4 workers of 1 CPU + 1 GPU`."""
        upto = {None: " or more", self.fewest: ""}.get(self.most, f" to {self.most}")
        return f"{self.fewest}{upto} workers of {'1 CPU + 1 GPU' if self.use_gpu else '1 CPU'}"


def capacity(spec: ClusterSpec) -> Capacity:
    """Of the cluster that this process is connected to; before that, what a Ray of this machine would have."""
    is_here = cluster_address(spec) is None
    if not ray.is_initialized():
        return Capacity(spec.num_cpus or os.cpu_count() or 1, torch.cuda.device_count(), is_fixed=True)
    now = ray.cluster_resources()
    # No public call says what an autoscaler may bring: `autoscaler.v2.sdk.get_cluster_status` has nodes and demands,
    # `autoscaler.sdk` and `util.state` have neither limits nor groups. Ray Train itself asks here.
    limits = state.state.get_max_resources_from_cluster_config() or {}
    return Capacity(int(now.get("CPU", 0)), int(now.get("GPU", 0)), limits.get("CPU"), limits.get("GPU"), is_here)


def resource_request(stage: str, config: RunConfig, capacity: Capacity) -> ResourceRequest:
    """What a stage that runs on Ray asks for."""
    training = {PRETRAIN.name: config.pretrain, FINETUNE.name: config.finetune}.get(stage)
    mapping = {INGEST.name: config.ingest, EMBED.name: config.embed}.get(stage)
    fewest, most, key = 1, None, ""
    if training is not None:
        fewest, most = training.fewest_workers, training.num_workers
        key = f"{stage}.{'num_workers' if training.min_workers is None else 'min_workers'}"
    elif mapping is not None:
        most, key = mapping.num_workers, f"{stage}.num_workers"
    use_gpu = facts_of(stage).may_use_gpus and _wants_gpus(config.cluster, fewest, capacity)
    return ResourceRequest(stage, fewest, most, use_gpu, key)


def _wants_gpus(spec: ClusterSpec, fewest: int, capacity: Capacity) -> bool:
    return capacity.most_gpus >= fewest if spec.use_gpus == "auto" else bool(spec.use_gpus)


def refuse_impossible(requests: Sequence[ResourceRequest], capacity: Capacity) -> None:
    """Refuses what no node of this cluster can give, before anything is started.

    Raises:
        ResourceError: a stage asks for more than there can ever be; with the key to change.
    """
    where = HERE if capacity.is_fixed else "the cluster"
    for request in requests if capacity.is_final else ():
        if request.use_gpu and capacity.most_gpus < request.fewest:
            raise ResourceError(
                f"{request.stage} asks for {request.fewest} GPUs (cluster.use_gpus is true), but {where} has "
                f"{capacity.most_gpus} at most; set cluster.use_gpus=auto or false, or use a cluster with GPUs"
            )
        if capacity.most_cpus < request.fewest:
            raise ResourceError(
                f"{request.key} is {request.fewest}, but {where} has {capacity.most_cpus} CPUs at most; "
                f"set {request.key}={capacity.most_cpus} or less, or give the address of a larger cluster "
                "(cluster.address)"
            )


def wait_for(request: ResourceRequest, spec: ClusterSpec) -> Capacity:
    """Waits until the cluster has the least that a stage asks for, and has an autoscaler bring it.

    Raises:
        ResourceError: it did not come within `cluster.wait_s`.
    """
    begun_s, is_requested = time.monotonic(), False
    try:
        while True:
            found = capacity(spec)
            has = found.num_gpus if request.use_gpu else found.num_cpus
            if has >= request.fewest:
                return found
            if time.monotonic() - begun_s > spec.wait_s:
                raise ResourceError(
                    f"{request.stage} waits for {request}, but the cluster "
                    f"has {has} after cluster.wait_s = {spec.wait_s:g} s; add nodes, ask for less ({_keys(request)}), "
                    "or wait longer, and run the same command"
                )
            if not is_requested:
                request_resources(bundles=[request.bundle] * request.fewest)
                is_requested = True
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        if is_requested:
            request_resources(bundles=[])  # or the nodes would stay for ever


def _keys(request: ResourceRequest) -> str:
    return ", ".join(filter(None, [request.key, "cluster.use_gpus=auto" if request.use_gpu else ""]))
