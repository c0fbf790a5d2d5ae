"""The lock of a local run directory is a regular file inside it, whoever made the directory."""

import os
from pathlib import Path

import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.storage.lock import file_lock, is_locked


def planted(path: Path, kind: str) -> None:
    target = path.parent / "mine"
    target.write_text("precious")
    match kind:
        case "link":
            path.symlink_to(target)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_lock_is_refused_and_left_alone(tmp_path, kind):
    planted(tmp_path / ".lock", kind)
    with pytest.raises(InputError, match=r"run directory .?U"), file_lock(str(tmp_path / ".lock"), "U"):
        pass
    if kind != "folder":
        with pytest.raises(InputError, match="no regular file"):
            is_locked(str(tmp_path / ".lock"), "U")
    assert (tmp_path / "mine").read_text() == "precious"


def test_it_names_its_process_and_is_free_afterwards(tmp_path):
    path = str(tmp_path / "new" / ".lock")
    assert not is_locked(path, "U")
    with file_lock(path, "U"):
        assert is_locked(path, "U")
        with pytest.raises(InputError, match=f"in use by process {os.getpid()};"), file_lock(path, "U"):
            pass
    assert not is_locked(path, "U")
