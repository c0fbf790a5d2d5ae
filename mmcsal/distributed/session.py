"""One Ray session: a cluster that is there, or a Ray of this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.data import DataContext
from ray.exceptions import RayTaskError

from mmcsal.config import ClusterSpec
from mmcsal.contracts.errors import MmcsalError, ResourceError


@contextmanager
def ray_session(spec: ClusterSpec) -> Iterator[None]:
    """Connects to Ray for the time of the block; a session that the caller has already is used and left alone.

    Raises: ResourceError: there is no cluster at the address.
    """
    if ray.is_initialized():
        yield
        return
    address = cluster_address(spec)
    local_options: dict[str, Any] = {}
    if not address:
        local_options = {"num_cpus": spec.num_cpus, "include_dashboard": False}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray's core warns at level "error" of every actor pool that Ray Data makes.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **local_options)
    except ConnectionError as error:
        raise ResourceError(
            f"no Ray cluster answers at {address!r} (cluster.address or RAY_ADDRESS): {error}; "
            "check the address and that the cluster is up, or leave it out to use this machine"
        ) from error
    quiet_ray()
    try:
        yield
    finally:
        ray.shutdown()


def cluster_address(spec: ClusterSpec) -> str | None:
    """Address of the cluster that runs the job; None = a Ray of this machine."""
    return spec.address or os.environ.get("RAY_ADDRESS") or None


def quiet_ray() -> None:
    """Leaves progress to mmcsal's own lines."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)


def told_to_the_reader(error: BaseException | None) -> MmcsalError | None:
    """Our own error inside the ones that Ray wraps around what its workers raise."""
    seen: set[int] = set()
    inside = [error]
    while inside:
        error = inside.pop(0)
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        # Ray's wrapper of a task's error is an instance of the error's own class too, with the trace in its message.
        if isinstance(error, MmcsalError) and not isinstance(error, RayTaskError):
            return error
        # Ray Train keeps what its workers raised beside the error that it raises itself.
        inside += [getattr(error, "cause", None), *getattr(error, "worker_failures", {}).values()]
        inside += [error.__cause__, error.__context__]
    return None
