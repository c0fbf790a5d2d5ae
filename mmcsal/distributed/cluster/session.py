"""One Ray session: a cluster that is there, or a Ray of this machine."""

import logging
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.data import DataContext
from ray.job_config import JobConfig

from mmcsal.config import ClusterSpec
from mmcsal.contracts.errors import InputError, ResourceError, on_one_line
from mmcsal.import_path import is_trusted, leave_working_folder_out

CONNECT_LIMIT_S = 10.0
RAY_KNOWS = ("auto", "local")  # where
PORT, MAX_PORT = re.compile("[0-9]{1,5}"), 65535
ROOM = "free some space there, or set RAY_TMPDIR to a folder that has room"
MIN_TEMPORARY_BYTES = 64 << 20  # that Ray's sockets, logs and tables take at least


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
    leave_working_folder_out()
    options: dict[str, Any] = {}
    # Ray's core warns at level "error" of every actor pool that Ray Data makes.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if not address:
        _check_temporary_folder()
        options = {"num_cpus": spec.num_cpus, "include_dashboard": False}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    else:
        _check_answers(address)
    if not (address or "").startswith("ray://"):  # there it is the server that says where workers find code
        options["job_config"] = _JobConfig()
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
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


class _JobConfig(JobConfig):
    """Ray puts the driver's current folder before all else on the path of every worker; that folder holds data."""

    def _get_proto_job_config(self) -> Any:
        self._py_driver_sys_path = [path for path in self._py_driver_sys_path if is_trusted(path)]
        return super()._get_proto_job_config()


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
    if address in RAY_KNOWS:
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not PORT.fullmatch(port) or int(port) > MAX_PORT:
        raise InputError(
            f"cluster address {address!r} (cluster.address or RAY_ADDRESS) is none; expected HOST:PORT, "
            "ray://HOST:PORT or auto"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_LIMIT_S).close()
    except (OSError, UnicodeError) as error:
        raise ResourceError(
            f"no Ray cluster answers at {address!r} (cluster.address or RAY_ADDRESS): {error}; "
            "check the address and that the cluster is up, or leave it out to use this machine"
        ) from error


def _check_temporary_folder() -> None:
    """Ray itself would wait for a file that it cannot write, and say so.

    Raises:
        InputError: there is no room.
    """
    folder = os.environ.get("RAY_TMPDIR")
    try:
        folder = folder or tempfile.gettempdir()
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 20))
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(f"Ray cannot write temporary files ({on_one_line(error)}); {ROOM}") from error
    if free < MIN_TEMPORARY_BYTES:
        raise InputError(f"{folder!r} has {free >> 20} MB left, and Ray needs {MIN_TEMPORARY_BYTES >> 20}; {ROOM}")


def quiet_ray() -> None:
    """Leaves progress to mmcsal's own lines."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
