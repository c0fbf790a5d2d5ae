"""Where media lie, as people write it."""

import os
import socket

import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.datasets.place import existing_path, is_remote, without_file_scheme


def test_a_path_is_absolute_and_a_file_uri_is_a_path(tmp_path, monkeypatch):
    (tmp_path / "a b.mp4").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("a b.mp4", "~/a b.mp4", without_file_scheme(f"file://{tmp_path}/a%20b.mp4")):
        assert existing_path(path, what="manifest") == str(tmp_path / "a b.mp4")
    assert existing_path(".", what="corpus folder") == str(tmp_path)
    assert all(map(is_remote, ("s3://b/a", "https://h/a")))
    assert not any(map(is_remote, ("file:///a", "/a", "C:/a")))


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "nothing", "link to a pipe"])
def test_what_could_be_waited_on_for_ever_or_is_not_there_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.symlink("pipe", "link to a pipe")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("socket")
    path, told = {"device": "/dev/zero"}.get(kind, kind), "is a pipe, a device or a socket"
    with pytest.raises(InputError, match=f"^manifest .*{'does not exist' if kind == 'nothing' else told}"):
        existing_path(path, what="manifest")
