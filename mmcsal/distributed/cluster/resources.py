"""What each stage asks of the cluster, what the cluster has or may scale to, and waiting for what is on its way.

An autoscaled group at zero shows nothing of itself in the cluster's resources. Where the autoscaler tells its limits,
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
from mmcsal.distributed.cluster.session import cluster_address

HERE = "a Ray of this machine"
SECONDS_BETWEEN_LOOKS = 1.0
TRAINING_STAGES = ("pretrain", "finetune")
GPU_STAGES = (*TRAINING_STAGES, "embed")


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
        told = f"{self.num_cpus} CPUs, {self.num_gpus} GPUs"
        if (self.most_cpus, self.most_gpus) != (self.num_cpus, self.num_gpus):
            told += f", at most {self.most_cpus} CPUs, {self.most_gpus} GPUs"
        return told


@dataclass(frozen=True)
class Ask:
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

        Those that find no room wait: that makes an autoscaler bring nodes, and few tell how many they may bring.
        """
        room = max(1, capacity.most_gpus if self.use_gpu else capacity.most_cpus)
        if self.most is None or capacity.is_final:
            return min(self.most or room, room)
        return self.most

    def told(self) -> str:
        """Such as `1 to 4 workers of 1 CPU + 1 GPU`."""
        upto = {None: " or more", self.fewest: ""}.get(self.most, f" to {self.most}")
        return f"{self.fewest}{upto} workers of {'1 CPU + 1 GPU' if self.use_gpu else '1 CPU'}"


def capacity(spec: ClusterSpec) -> Capacity:
    """Of the cluster that this process is connected to; before that, what a Ray of this machine would have."""
    is_here = cluster_address(spec) is None
    if not ray.is_initialized():
        return Capacity(spec.num_cpus or os.cpu_count() or 1, torch.cuda.device_count(), is_fixed=True)
    now = ray.cluster_resources()
    limits = state.state.get_max_resources_from_cluster_config() or {}
    return Capacity(int(now.get("CPU", 0)), int(now.get("GPU", 0)), limits.get("CPU"), limits.get("GPU"), is_here)


def ask_of(stage: str, config: RunConfig, capacity: Capacity) -> Ask:
    """What a stage that runs on Ray asks for."""
    if stage in TRAINING_STAGES:
        spec = config.pretrain if stage == "pretrain" else config.finetune
        key = f"{stage}.{'num_workers' if spec.min_workers is None else 'min_workers'}"
        fewest, most = spec.fewest_workers, spec.num_workers
    else:
        fewest, most, key = {
            "ingest": (1, config.ingest.num_workers, "ingest.num_workers"),
            "embed": (1, config.embed.num_workers, "embed.num_workers"),
        }.get(stage, (1, None, ""))
    use_gpu = stage in GPU_STAGES and _wants_gpus(config.cluster, fewest, capacity)
    return Ask(stage, fewest, most, use_gpu, key)


def _wants_gpus(spec: ClusterSpec, fewest: int, capacity: Capacity) -> bool:
    return capacity.most_gpus >= fewest if spec.use_gpus == "auto" else bool(spec.use_gpus)


def refuse_impossible(asks: Sequence[Ask], capacity: Capacity) -> None:
    """Raises: ResourceError: a stage asks for more than there can ever be; with the key to change."""
    where = HERE if capacity.is_fixed else "the cluster"
    for ask in asks if capacity.is_final else ():
        if ask.use_gpu and capacity.most_gpus < ask.fewest:
            raise ResourceError(
                f"{ask.stage} asks for {ask.fewest} GPUs (cluster.use_gpus is true), but {where} has "
                f"{capacity.most_gpus} at most; set cluster.use_gpus=auto or false, or use a cluster with GPUs"
            )
        if capacity.most_cpus < ask.fewest:
            raise ResourceError(
                f"{ask.key} is {ask.fewest}, but {where} has {capacity.most_cpus} CPUs at most; "
                f"set {ask.key}={capacity.most_cpus} or less, or give the address of a larger cluster (cluster.address)"
            )


def wait_for(ask: Ask, spec: ClusterSpec) -> Capacity:
    """Waits until the cluster has the least that a stage asks for, and has an autoscaler bring it.

    Raises: ResourceError: it did not come within `cluster.wait_s`.
    """
    begun_s, asked = time.monotonic(), False
    try:
        while True:
            found = capacity(spec)
            has = found.num_gpus if ask.use_gpu else found.num_cpus
            if has >= ask.fewest:
                return found
            if time.monotonic() - begun_s > spec.wait_s:
                raise ResourceError(
                    f"{ask.stage} waits for {ask.told()}, but the cluster "
                    f"has {has} after cluster.wait_s = {spec.wait_s:g} s; add nodes, ask for less ({_keys(ask)}), "
                    "or wait longer, and run the same command"
                )
            if not asked:
                request_resources(bundles=[ask.bundle] * ask.fewest)
                asked = True
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        if asked:
            request_resources(bundles=[])  # or the nodes would stay for ever


def _keys(ask: Ask) -> str:
    return ", ".join(filter(None, [ask.key, "cluster.use_gpus=auto" if ask.use_gpu else ""]))
