"""One S3 server for all tests here; each gets a bucket and a proxy of its own."""

import itertools
from collections.abc import Iterator

import pytest

from tests.object_store.server import FaultyProxy, S3Server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def proxy(s3) -> Iterator[FaultyProxy]:
    with FaultyProxy(s3.url, seed=1) as proxy:
        yield proxy


@pytest.fixture
def bucket(s3) -> str:
    name = f"bucket-{next(_numbers)}"
    s3.create_bucket(name)
    return name
