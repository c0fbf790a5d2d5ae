"""One Ray session: a cluster that is there, or a Ray of this machine."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.data import DataContext

from mmcsal.config import ClusterSpec
from mmcsal.contracts.errors import InputError, ResourceError, on_one_line

CONNECT_LIMIT_S = 10.0


@contextmanager
def ray_session(spec: ClusterSpec) -> Iterator[None]:
    """Connects to Ray for the time of the block; a session that the caller has already is used and left alone.

    Raises:
        InputError: the address is none of a cluster.
        ResourceError: no cluster answers there, or not to this token; within a minute.
    """
    if ray.is_initialized():
        yield
        return
    address = cluster_address(spec)
    local_options: dict[str, Any] = {}
    # Ray's core warns at level "error" of every actor pool that Ray Data makes.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if not address:
        local_options = {"num_cpus": spec.num_cpus, "include_dashboard": False}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    else:
        _check_answers(address)
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **local_options)
    except ConnectionError as error:  # something listens there, so it is not Ray, or it refuses us
        raise ResourceError(
            f"the Ray cluster at {address!r} refuses this driver: {on_one_line(error)}; if it asks for a token, set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH); else set RAY_AUTH_MODE=disabled"
        ) from error
    quiet_ray()
    try:
        yield
    finally:
        ray.shutdown()


def cluster_address(spec: ClusterSpec) -> str | None:
    """Address of the cluster that runs the job; None = a Ray of this machine."""
    return spec.address or os.environ.get("RAY_ADDRESS") or None


def _check_answers(address: str) -> None:
    """Asks whether anything listens at HOST:PORT: Ray itself would go on asking for minutes.

    Raises:
        InputError, ResourceError: see `ray_session`.
    """
    if address.startswith(("http://", "https://")):
        raise InputError(
            f"cluster address {address!r} (cluster.address or RAY_ADDRESS) is a dashboard's, for `ray job submit`; "
            "give HOST:6379, or submit this command as a job"
        )
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdigit():
        return  # "auto", "local": Ray knows where
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_LIMIT_S).close()
    except OSError as error:
        raise ResourceError(
            f"no Ray cluster answers at {address!r} (cluster.address or RAY_ADDRESS): {error}; "
            "check the address and that the cluster is up, or leave it out to use this machine"
        ) from error


def quiet_ray() -> None:
    """Leaves progress to mmcsal's own lines."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
