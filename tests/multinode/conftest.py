"""Clusters of several nodes on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local_cluster import LocalCluster
from cluster.netns import NamespacesUnavailableError
from tests.helpers import write_timed_clip

NUM_CLIPS = 12


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[LocalCluster]:
    """A head without work and two nodes of one CPU; for tests that leave them as they are."""
    with LocalCluster() as cluster:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        yield cluster


@pytest.fixture
def namespace_cluster() -> Iterator[LocalCluster]:
    """A head without work in a network namespace of its own; skips where the machine does not allow it."""
    try:
        cluster = LocalCluster(namespaces=True)
    except NamespacesUnavailableError as error:
        pytest.skip(str(error))
    with cluster:
        yield cluster


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory) -> Path:
    """A folder of a dozen small clips."""
    folder = tmp_path_factory.mktemp("corpus")
    for n in range(NUM_CLIPS):
        write_timed_clip(folder / f"clip-{n:02d}.mp4", 1.0 + n / 16)
    return folder
