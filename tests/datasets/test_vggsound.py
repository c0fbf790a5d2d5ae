"""VGGSound as it lies on disk, in both forms that people keep."""

import os
from pathlib import Path

import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.reject import Reason
from mmcsal.datasets import VggSoundSpec, build_manifest, read_corpus

LINES = """\
abc_1,30,"playing bass, electric",train
-xyz,5,dog barking,train
gone,100,dog barking,train
held,7,"playing bass, electric",test
"""


def write(root: Path, *names: str) -> Path:
    (root / "vggsound.csv").write_text(LINES)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def rows_of(root: Path, **keys) -> dict[str, dict]:
    return {row["sample_id"]: row for row in build_manifest(VggSoundSpec(path=str(root), **keys)).to_pylist()}


@pytest.fixture
def videos(tmp_path) -> Path:
    return write(
        tmp_path, "a/abc_1_000030.mp4", "b/-xyz_000005_000015.webm", "held_000007.mp4", "abc_1.mp4", "notes.txt"
    )


def test_videos_are_found_by_id_and_start_wherever_they_lie_and_whatever_end_they_add(videos):
    rows = rows_of(videos)
    assert sorted(rows) == ["-xyz_000005", "abc_1_000030", "gone_000100"]
    assert rows["abc_1_000030"]["uri"] == str(videos / "a/abc_1_000030.mp4")
    assert rows["-xyz_000005"]["uri"] == str(videos / "b/-xyz_000005_000015.webm")
    assert rows["abc_1_000030"]["label"] == "playing bass, electric"
    assert {row["split"] for row in rows.values()} == {"train"}
    assert rows["abc_1_000030"]["content_hash"] not in (None, rows["-xyz_000005"]["content_hash"])


def test_a_line_without_media_is_a_reject_and_what_is_no_part_of_the_pool_is_counted(videos):
    scan = read_corpus(VggSoundSpec(path=str(videos)))
    (reject,) = [row for row in scan.manifest.to_pylist() if row["reject_reason"]]
    assert (reject["sample_id"], reject["reject_reason"], reject["uri"]) == ("gone_000100", Reason.MISSING_FILE, None)
    assert reject["reject_detail"] == "vggsound.csv, line 3: no media of the name gone_000100 below the folder"
    assert scan.left_out == {"of the split test": 1, "media that no list names": 1, ".txt": 1}


def test_the_pool_is_the_split_that_is_asked_for(videos):
    assert list(rows_of(videos, split="test")) == ["held_000007"]
    assert len(rows_of(videos, split="all")) == 4


def test_frames_lie_beside_their_sound(tmp_path):
    root = write(
        tmp_path,
        *(f"frames/train/playing bass, electric/abc_1_30/frame_{k}.jpg" for k in range(3)),
        "audio/train/playing bass, electric/abc_1_30.wav",
        "frames/train/dog barking/-xyz_000005/frame_0.jpg",
    )
    rows = rows_of(root)
    found = rows["abc_1_000030"]
    assert found["uri"] == str(root / "frames/train/playing bass, electric/abc_1_30")
    assert found["audio_uri"] == str(root / "audio/train/playing bass, electric/abc_1_30.wav")
    assert found["content_hash"] is not None
    assert rows["-xyz_000005"]["reject_detail"].endswith(
        "frames of the name -xyz_000005 without their sound below the folder"
    )


def test_a_frame_that_comes_later_changes_the_hash(tmp_path):
    name = "frames/train/dog barking/-xyz_000005/frame_{}.jpg"
    root = write(tmp_path, name.format(0), "audio/train/dog barking/-xyz_000005.wav")
    before = rows_of(root)["-xyz_000005"]["content_hash"]
    (root / name.format(1)).write_bytes(b"more")
    assert rows_of(root)["-xyz_000005"]["content_hash"] != before


def test_what_can_be_no_media_is_counted_as_in_a_folder(videos):
    os.mkfifo(videos / "pipe.mp4")
    (videos / ".hidden.mp4").write_bytes(b"x")
    with open(os.fsencode(videos) + b"/a.\xff", "wb"):
        pass
    left_out = read_corpus(VggSoundSpec(path=str(videos))).left_out
    assert {name: left_out[name] for name in ("hidden", "pipes, sockets or devices", r".\xff", ".txt")} == {
        "hidden": 1, "pipes, sockets or devices": 1, r".\xff": 1, ".txt": 1
    }  # fmt: skip


def test_of_several_files_of_a_name_the_first_is_taken_and_the_others_are_counted(videos):
    (videos / "a" / "abc_1_000030.mkv").write_bytes(b"again")
    scan = read_corpus(VggSoundSpec(path=str(videos)))
    assert scan.left_out["more media of a name"] == 1
    assert rows_of(videos)["abc_1_000030"]["uri"].endswith(".mkv")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            "abc,thirty,dog,train\n",
            r"vggsound\.csv, line 1 is \['abc', 'thirty', 'dog', 'train'\]; expected youtube_id",
        ),
        ("abc,30,playing bass, electric,train\n", "line 1 is .*; expected youtube_id,start_seconds,label,split"),
        ("abc,30,dog,val\n", "with train or test"),
        (
            "abc,30,dog,train\nabc,30,cat,train\n",
            r"listed twice: abc_000030 \(vggsound\.csv, line 1; vggsound\.csv, line 2\)",
        ),
        ("abc,30,dog,test\n", "no line of its lists is of the split 'train'"),
    ],
)
def test_lines_that_are_none_of_vggsound_are_told(tmp_path, lines, told):
    (tmp_path / "vggsound.csv").write_text(lines)
    with pytest.raises(InputError, match=told):
        rows_of(tmp_path)


def test_another_layout_is_told_with_the_one_that_is_expected(tmp_path):
    with pytest.raises(InputError, match=r"has no vggsound\.csv; expected vggsound\.csv \(lines of youtube_id"):
        rows_of(tmp_path)


def test_copies_with_a_header_are_read(videos):
    (videos / "vggsound.csv").write_text("# YouTube ID,start seconds,label,train/test split\n" + LINES)
    assert len(rows_of(videos)) == 3
