import os
import socket
from datetime import UTC, datetime, timedelta

import pytest
from pyarrow import fs

from mmcsal.storage.content import combine_hashes, hash_content, hash_contents, hash_listed


def test_a_hash_tells_size_begin_and_end(tmp_path):
    def hash_of(content: bytes) -> str | None:
        (tmp_path / "file").write_bytes(content)
        return hash_content(str(tmp_path / "file"))

    content = os.urandom(300_000)
    known = hash_of(content)
    assert known is not None
    assert hash_of(content) == known
    assert len({known, hash_of(b"x" + content[1:]), hash_of(content[:-1] + b"x"), hash_of(content + b"x")}) == 4


@pytest.mark.timeout(60)
def test_what_is_no_regular_file_has_no_hash_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "socket"))
    names = ("pipe", "link", "socket", "missing", "nul\0")
    assert hash_contents([*(str(tmp_path / name) for name in names), "/dev/zero"]) == [None] * 6


def test_a_sample_of_several_files_has_a_hash_if_all_of_them_have():
    assert combine_hashes(["a"]) == "a"
    assert combine_hashes(["a", None]) is None
    assert combine_hashes(["a", "b"]) != combine_hashes(["b", "a"])


def test_an_object_has_one_hash_however_exactly_its_store_tells_the_time():
    def listed(time: datetime, size: int = 7) -> str:
        return hash_listed(fs.FileInfo("key", type=fs.FileType.File, size=size, mtime=time))

    time = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)
    assert listed(time) == listed(time + timedelta(milliseconds=789))
    assert len({listed(time), listed(time + timedelta(seconds=1)), listed(time, 8)}) == 3


def test_the_hash_of_a_folder_is_that_of_its_files_names_and_sizes(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "b").write_bytes(b"x")
    (tmp_path / "f" / "a").write_bytes(b"yy")
    before = hash_content(str(tmp_path / "f"))
    assert before == hash_content(str(tmp_path / "f"))
    (tmp_path / "f" / "a").write_bytes(b"yyy")
    after = hash_content(str(tmp_path / "f"))
    (tmp_path / "f" / "a").rename(tmp_path / "f" / "c")
    assert len({before, after, hash_content(str(tmp_path / "f"))}) == 3
