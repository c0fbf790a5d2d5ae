"""What starts Ray is marked `cluster`, so that `make test-quick` can leave it out; a test without the mark may not.

What runs in this process asks for one of two fixtures and is marked by that: `shared_ray` for what does not mind what
others did before it, `own_ray` for what starts its own. What starts Ray in other processes is marked by hand.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

RAY_FIXTURES = {"shared_ray", "own_ray"}
RAY_PROGRAMS = {"ray", "gcs_server", "raylet"}
COMMAND = "mmcsal.cli import main"
_running: list[pytest.Item] = []  # the test of the moment
_popen = subprocess.Popen.__init__


@pytest.fixture(scope="module")
def shared_ray() -> None:
    """A Ray of two CPUs, the same one for all files of this pytest worker that ask for it: a start takes seconds."""
    import ray

    from mmcsal.distributed.cluster.session import quiet_ray

    if not ray.is_initialized():
        ray.init("local", num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
    quiet_ray()


def with_shared_ray() -> dict[str, str]:
    """The environment of a command in a process of its own that is to use the `shared_ray` of this one."""
    import ray

    return {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}


@pytest.fixture(scope="module")
def own_ray() -> None:
    """The file starts a Ray of its own, in this process."""


@pytest.fixture(scope="module", autouse=True)
def _shared_with_those_who_ask(request: pytest.FixtureRequest) -> None:
    """Files that do not ask for the shared Ray do not meet it."""
    own_items = [item for item in request.session.items if item.path == request.path]
    if "ray" in sys.modules and not any("shared_ray" in item.fixturenames for item in own_items):
        sys.modules["ray"].shutdown()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if RAY_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("cluster")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _running[:] = [item]
    return (yield)


def _guarded_popen(self: subprocess.Popen, args: Any, *more: Any, **options: Any) -> None:
    """Ray, too, starts its processes by `subprocess.Popen`."""
    words = [args] if isinstance(args, str | bytes | os.PathLike) else list(args)
    if _running and _running[0].get_closest_marker("cluster") is None and starts_ray([os.fsdecode(w) for w in words]):
        pytest.fail("starts Ray, or may: mark it `cluster`, or let it ask for `shared_ray` or `own_ray`")
    _popen(self, args, *more, **options)


def starts_ray(words: Sequence[str]) -> bool:
    """Whether a command line is one of Ray's, or one of ours that may start it."""
    is_ours = any(COMMAND in word or word.startswith("jobs/") for word in words) and "--print-config" not in words
    return is_ours or any(Path(word).name in RAY_PROGRAMS for word in words)


subprocess.Popen.__init__ = _guarded_popen
