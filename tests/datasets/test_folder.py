"""The folder source: what counts as a sample, what it is called, and what the reader is told when there is none."""

import os
import random
import re
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.datasets import FolderSpec, build_manifest, read_corpus
from mmcsal.datasets import folder as folder_module


def _touch(root: Path, *names: str, content: bytes = b"x") -> None:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _ids(root: Path, **options) -> list[str]:
    return build_manifest(FolderSpec(path=str(root), **options))["sample_id"].to_pylist()


def _rejects(root: Path) -> dict[str, str]:
    """What ingest will reject, by sample_id."""
    rows = build_manifest(FolderSpec(path=str(root))).to_pylist()
    return {row["sample_id"]: row["reject_reason"] for row in rows if row["reject_reason"]}


def test_videos_are_found_below_the_root_in_any_case_and_hidden_or_other_files_are_not(tmp_path):
    _touch(tmp_path, "b.MP4", "a.mov", "sub/deep/c.WebM", "notes.txt", ".hidden.mp4", ".cache/d.mp4", "mp4")
    assert _ids(tmp_path) == ["a.mov", "b.MP4", "sub/deep/c.WebM"]


def test_manifest_conforms_and_its_uris_are_absolute(tmp_path, monkeypatch):
    _touch(tmp_path / "corpus", "sub/a.mp4")
    monkeypatch.chdir(tmp_path)
    manifest = build_manifest(FolderSpec(path="corpus"))
    assert manifest.schema == MANIFEST
    row = manifest.to_pylist()[0]
    assert row["uri"] == str(tmp_path / "corpus" / "sub" / "a.mp4")
    assert row["source"] == "folder"
    assert row["label"] is None


def test_labels_are_parent_folders_and_files_at_the_root_have_none(tmp_path):
    _touch(tmp_path, "train/tapping, light/a.mp4", "b.mp4")
    manifest = build_manifest(FolderSpec(path=str(tmp_path), label_from="parent_folder"))
    labels = dict(zip(manifest["sample_id"].to_pylist(), manifest["label"].to_pylist(), strict=True))
    assert labels == {"b.mp4": None, "train/tapping, light/a.mp4": "tapping, light"}


def test_suffixes_are_normalised_and_may_be_chosen(tmp_path):
    _touch(tmp_path, "a.mp4", "b.y4m")
    assert _ids(tmp_path, suffixes=("Y4M",)) == ["b.y4m"]
    with pytest.raises(ValueError, match="suffixes"):
        FolderSpec(path="x", suffixes=())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_listing_order_does_not_matter(tmp_path, seed):
    _touch(tmp_path, *(f"d{i % 3}/é{i}.mp4" for i in range(12)), "d0.mp4", "d0-a.mp4", "Z.mp4")
    expected = build_manifest(FolderSpec(path=str(tmp_path)))
    listed = folder_module._entries

    def shuffled(path: str) -> list[os.DirEntry[str]]:
        entries = sorted(listed(path), key=lambda e: e.name)
        random.Random(f"{seed}{path}").shuffle(entries)
        return entries

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_module, "_entries", shuffled)
        assert build_manifest(FolderSpec(path=str(tmp_path))) == expected
    assert expected["sample_id"].to_pylist() == sorted(expected["sample_id"].to_pylist())


def test_symlinks_are_followed_without_loops_and_a_dangling_one_stays_to_be_rejected(tmp_path):
    _touch(tmp_path, "elsewhere/a.mp4", "corpus/sub/b.mp4")
    corpus = tmp_path / "corpus"
    (corpus / "link.mp4").symlink_to(tmp_path / "elsewhere" / "a.mp4")
    (corpus / "linked").symlink_to(tmp_path / "elsewhere")
    (corpus / "sub" / "up").symlink_to(corpus)
    (corpus / "self").symlink_to("self")
    (corpus / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    manifest = build_manifest(FolderSpec(path=str(corpus)))
    hash_of = dict(zip(manifest["sample_id"].to_pylist(), manifest["content_hash"].to_pylist(), strict=True))
    assert set(hash_of) == {"link.mp4", "linked/a.mp4", "sub/b.mp4", "gone.mp4"}
    assert hash_of["gone.mp4"] is None
    assert hash_of["link.mp4"] == hash_of["linked/a.mp4"] is not None


def test_pipes_and_sockets_are_told_and_never_opened(tmp_path):
    _touch(tmp_path, "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.mkv"))
    scan = read_corpus(FolderSpec(path=str(tmp_path)))
    details = {r["sample_id"]: r["reject_detail"] for r in scan.manifest.to_pylist() if r["reject_reason"]}
    assert {name: detail.split(",")[0] for name, detail in details.items()} == {
        "pipe.mp4": "a pipe", "link.mp4": "a pipe", "socket.mkv": "a socket"
    }  # fmt: skip
    assert "a.mp4" in scan.manifest["sample_id"].to_pylist()
    assert scan.left_out == {"pipes, sockets or devices": 1}


def test_all_that_is_left_out_is_counted_by_name(tmp_path):
    _touch(tmp_path, "a.mp4", "..final cut.mp4", "notes.txt", "sub/b.TXT", "README", "x.jpg")
    _touch(tmp_path, ".b.mp4", "._a.mp4", ".cache/c.mp4", ".cache/deep/d.jpg", "sub/.DS_Store")
    scan = read_corpus(FolderSpec(path=str(tmp_path)))
    assert scan.manifest["sample_id"].to_pylist() == ["..final cut.mp4", "a.mp4"]
    assert scan.left_out == {"hidden": 5, ".txt": 2, ".jpg": 1, "without a suffix": 1}
    assert scan.warnings() == ["left out: 5 hidden, 2 .txt, 1 .jpg, 1 without a suffix"]
    _touch(tmp_path, *(f"log.{i:04d}" for i in range(100)))
    left_out = read_corpus(FolderSpec(path=str(tmp_path))).left_out
    assert len(left_out) == 31
    assert sum(left_out.values()) == 109


@pytest.mark.parametrize("name", ["00001.MTS", "b.m2ts", "VTS_01_1.VOB", "c.mxf", "d.asf", "e.f4v", "f.dv", "g.ogg"])
def test_files_of_cameras_and_recorders_are_samples(tmp_path, name):
    _touch(tmp_path, name)
    assert _ids(tmp_path) == [name]


@pytest.mark.parametrize("change", ["head", "tail", "size"])
def test_content_hash_tells_a_change_of_head_tail_or_size(tmp_path, change):
    content = bytearray(300_000)
    _touch(tmp_path, "a.mp4", content=bytes(content))

    def content_hash() -> str:
        return build_manifest(FolderSpec(path=str(tmp_path)))["content_hash"][0].as_py()

    before = content_hash()
    assert content_hash() == before
    assert len(before) == 32
    content = {"head": b"\1" + content[1:], "tail": content[:-1] + b"\1", "size": content[:-1]}[change]
    _touch(tmp_path, "a.mp4", content=bytes(content))
    assert content_hash() != before


def test_errors_name_the_place_and_the_way_out(tmp_path):
    with pytest.raises(InputError, match=r"nowhere' does not exist"):
        build_manifest(FolderSpec(path=str(tmp_path / "nowhere")))
    _touch(tmp_path, "list.csv", "one.mp4")
    with pytest.raises(InputError, match=r"list.csv' is a file.*kind: manifest"):
        build_manifest(FolderSpec(path=str(tmp_path / "list.csv")))
    with pytest.raises(InputError, match=r"one.mp4' is a file, expected a folder"):
        build_manifest(FolderSpec(path=str(tmp_path / "one.mp4")))
    with pytest.raises(InputError, match=r"http://host/clips.*unknown scheme.*s3://"):
        build_manifest(FolderSpec(path="http://host/clips"))


def test_a_folder_without_videos_says_what_it_holds(tmp_path):
    with pytest.raises(InputError, match="no files at all"):
        _ids(tmp_path)
    _touch(tmp_path, "a.jpg", "b.JPG", "c.txt", "README")
    with pytest.raises(InputError, match=r"4 other files \(2 \.jpg.*\.mp4 \.mov"):
        _ids(tmp_path)


def _touch_bytes(root: Path, *names: bytes) -> None:
    try:
        for name in names:
            Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system holds UTF-8 names only")


def test_a_name_that_is_not_utf8_is_a_reject_with_its_bytes_escaped(tmp_path):
    _touch(tmp_path, "good.mp4", "caf\\xe9.mp4")
    _touch_bytes(tmp_path, b"caf\xe9.mp4", b"caf\xe9.mp4\\.mp4", b"notes.\xff")
    scan = read_corpus(FolderSpec(path=str(tmp_path), label_from="parent_folder"))
    rows = {row["sample_id"]: row for row in scan.manifest.to_pylist()}
    assert list(rows) == ["caf\\xe9.mp4", "caf\\xe9.mp4\\", "caf\\xe9.mp4\\.mp4", "good.mp4"]
    assert _rejects(tmp_path) == {"caf\\xe9.mp4\\": "bad_name", "caf\\xe9.mp4\\.mp4": "bad_name"}
    assert rows["good.mp4"]["content_hash"] == rows["caf\\xe9.mp4"]["content_hash"] is not None
    assert scan.left_out == {".\\xff": 1}


def test_a_folder_whose_name_is_not_utf8_costs_its_files_and_no_others(tmp_path):
    _touch(tmp_path, "good.mp4")
    os.mkdir(os.fsencode(tmp_path) + b"/\xfc")
    _touch_bytes(tmp_path, b"\xfc/a.mp4", b"\xfc/b.mp4")
    assert _rejects(tmp_path) == {"\\xfc/a.mp4": "bad_name", "\\xfc/b.mp4": "bad_name"}


def test_a_folder_that_cannot_be_listed_is_a_reject_and_counted():
    """In a forked child that is nobody: root may read everything, and tests often run as root."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        _touch(root, "a.mp4", "locked/b.mp4", ".trash/c.mp4")
        (root / "locked").chmod(0)
        (root / ".trash").chmod(0)
        child = os.fork()
        if child == 0:
            os._exit(_says_what_nobody_may_not_list(root))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        (root / "locked").chmod(0o755)
        (root / ".trash").chmod(0o755)


def _says_what_nobody_may_not_list(root: Path) -> int:
    if os.geteuid() == 0:
        os.setuid(65534)
    if _rejects(root) != {"locked/": "unreadable_folder"}:
        return 1
    if read_corpus(FolderSpec(path=str(root))).left_out != {"folders that cannot be listed": 1, "hidden": 1}:
        return 2
    try:
        _ids(root / "locked")
    except InputError as error:
        return 0 if re.search(r"cannot list .*locked", str(error)) else 3
    return 4


def test_reading_a_manifest_loads_neither_torch_nor_ray_nor_a_codec():
    check = "import sys, mmcsal.datasets; print([m for m in ('torch', 'ray', 'av', 'decord') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
