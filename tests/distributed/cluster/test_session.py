import socket
import time

import pytest

from mmcsal.config import ClusterSpec
from mmcsal.contracts.errors import InputError, ResourceError
from mmcsal.distributed.cluster.session import ray_session


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


@pytest.mark.parametrize("address", ["nonsense", "h:99999", ":1", "h:", "ray://h", "h:²"])
def test_an_address_that_is_none_is_told(address):
    with pytest.raises(InputError, match="expected HOST:PORT"), ray_session(ClusterSpec(address=address)):
        pass


def test_no_room_for_temporary_files_is_told_at_once(monkeypatch):
    for folder in ("/proc", "/nowhere"):
        monkeypatch.setenv("RAY_TMPDIR", folder)
        with (
            pytest.raises(InputError, match=r"cannot write temporary files .* or set RAY_TMPDIR"),
            ray_session(ClusterSpec()),
        ):
            pass
