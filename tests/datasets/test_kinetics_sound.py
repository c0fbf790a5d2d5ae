"""KineticsSound as it lies on disk: lists of its own over frames, or those of Kinetics-400 over videos."""

from pathlib import Path

import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.datasets import KineticsSoundSpec, build_manifest, read_corpus

HEADER = "label,youtube_id,time_start,time_end,split\n"


def write(root: Path, texts: dict[str, str], *names: str) -> Path:
    for name, text in {**texts, **dict.fromkeys(names, "x")}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def rows_of(root: Path, **keys) -> dict[str, dict]:
    return {row["sample_id"]: row for row in build_manifest(KineticsSoundSpec(path=str(root), **keys)).to_pylist()}


@pytest.fixture
def frames(tmp_path) -> Path:
    lists = {"my_train.txt": "a_1_11,10,3\nb_0_10,10,0\n", "my_test.txt": "c_0_10,10,3\n"}
    media = [f"train/video/tap dancing/a_1_11/frame_{k}.jpg" for k in range(10)]
    media += [
        "train/audio/tap dancing/a_1_11.wav",
        "test/video/bowling/c_0_10/frame_0.jpg",
        "test/audio/bowling/c_0_10.wav",
    ]
    return write(tmp_path, lists, *media)


@pytest.fixture
def videos(tmp_path) -> Path:
    lists = {
        "train.csv": HEADER + 'tap dancing,a_b,1,11,train\n"bowling, indoors",gone,0,10,train\n',
        "test.csv": HEADER + "bowling,c,0,10,test\n",
    }
    return write(tmp_path, lists, "video/train/tap/a_b_000001_000011.mp4", "video/test/c_000000_000010.mp4")


def test_frames_have_the_label_of_their_folder_and_their_sound(frames):
    rows = rows_of(frames)
    assert sorted(rows) == ["a_1_11", "b_0_10"]
    assert rows["a_1_11"]["uri"] == str(frames / "train/video/tap dancing/a_1_11")
    assert rows["a_1_11"]["audio_uri"] == str(frames / "train/audio/tap dancing/a_1_11.wav")
    assert (rows["a_1_11"]["label"], rows["a_1_11"]["split"]) == ("tap dancing", "train")
    assert rows["b_0_10"]["reject_detail"] == "my_train.txt, line 2: no media of the name b_0_10 below the folder"


def test_the_lists_of_kinetics_name_videos(videos):
    rows = rows_of(videos)
    assert rows["a_b_000001_000011"]["uri"] == str(videos / "video/train/tap/a_b_000001_000011.mp4")
    assert rows["a_b_000001_000011"]["label"] == "tap dancing"
    assert rows["gone_000000_000010"]["label"] == "bowling, indoors"
    assert rows["gone_000000_000010"]["reject_detail"].startswith(
        "train.csv, line 3: no media of the name gone_000000_"
    )


@pytest.mark.parametrize("form", ["frames", "videos"])
def test_nothing_of_the_test_split_is_in_the_pool(form, request):
    root = request.getfixturevalue(form)
    uris = [row["uri"] or "" for row in rows_of(root).values()]
    assert not any("test" in uri.removeprefix(str(root)) for uri in uris)
    assert [row["split"] for row in rows_of(root, split="test").values()] == ["test"]
    assert len(rows_of(root, split="all")) == 3
    assert "media that no list names" not in read_corpus(KineticsSoundSpec(path=str(root))).left_out


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({}, "has no train.csv; expected my_train.txt and my_test.txt"),
        ({"my_train.txt": "a_1_11\n"}, "my_train.txt, line 1 is 'a_1_11'; expected stem,frames,class index"),
        ({"my_train.txt": "a,10,tap\n"}, "expected stem,frames,class index"),
        ({"train.csv": "a,b\n"}, "train.csv has no column 'label'; found"),
        ({"train.csv": HEADER + "tap,a,x,11,train\n"}, "train.csv, line 2: time_start 'x'"),
        ({"my_test.txt": "a,10,1\n"}, "has no my_train.txt"),
    ],
)
def test_another_layout_is_told_with_the_one_that_is_expected(tmp_path, texts, told):
    with pytest.raises(InputError, match=told):
        rows_of(write(tmp_path, texts))
