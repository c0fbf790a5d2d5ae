import socket
import time

import pytest
from ray.exceptions import RayTaskError

from mmcsal.config import ClusterSpec
from mmcsal.contracts.errors import InputError, ResourceError, TableError
from mmcsal.distributed.session import ray_session, told_to_the_reader


def test_our_error_comes_out_of_rays_wrapper_without_the_trace_of_the_task():
    """The wrapper is an instance of our class too: taken for our error, it would show the reader a trace."""
    ours = TableError("part-3.parquet: column 'video' is missing")
    wrapped = RayTaskError("over_shard", "Traceback (most recent call last) ...", ours).as_instanceof_cause()
    assert isinstance(wrapped, TableError)
    outer = RuntimeError("stage failed")
    outer.__cause__ = wrapped
    assert told_to_the_reader(outer) is ours


def test_our_error_comes_out_of_what_ray_train_keeps_of_its_workers():
    ours = TableError("part-3.parquet: column 'video' is missing")
    error = RuntimeError("Training failed due to worker errors")
    error.worker_failures = {0: RuntimeError("connection reset"), 1: ours}
    assert told_to_the_reader(error) is ours


def test_errors_of_others_are_not_told():
    assert told_to_the_reader(RuntimeError("boom")) is None
    assert told_to_the_reader(None) is None


def test_an_address_where_nothing_listens_is_told_at_once():
    with socket.socket() as bound:  # bound and not listening: nobody else takes the port, and nobody answers
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        begun_s = time.monotonic()
        refused = pytest.raises(ResourceError, match=f"no Ray cluster answers at '{address}'")
        with refused, ray_session(ClusterSpec(address=address)):
            pass
    assert time.monotonic() - begun_s < 30


def test_an_unknown_host_is_told():
    with (
        pytest.raises(ResourceError, match="check the address"),
        ray_session(ClusterSpec(address="no-such-host.invalid:1")),
    ):
        pass


def test_the_address_of_a_dashboard_is_told_apart():
    with (
        pytest.raises(InputError, match=r"is a dashboard's.*HOST:6379"),
        ray_session(ClusterSpec(address="http://127.0.0.1:8265")),
    ):
        pass
