"""What holds for every dataset, found from `CorpusSpec`: a new one needs a source below, and nothing else."""

import csv
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.datasets import CorpusSpec, build_manifest

SPECS = {spec.model_fields["kind"].default: spec for spec in get_args(get_args(CorpusSpec)[0])}
every_kind = pytest.mark.parametrize("kind", SPECS)
NAMES = ["b.mp4", "a.mp4", "sub/c.mp4", "sub/A.mp4", "é.mp4"]


def folder(root: Path, order: random.Random) -> dict:
    for name in order.sample(NAMES, len(NAMES)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return {"path": str(root)}


def manifest(root: Path, order: random.Random) -> dict:
    folder(root, order)
    with (root / "list.csv").open("w", newline="") as file:
        rows = [[name, name[0], len(name)] for name in order.sample(NAMES, len(NAMES))]
        csv.writer(file).writerows([["path", "label", "cost"], *rows])
    return {"path": str(root / "list.csv")}


def synthetic(root: Path, order: random.Random) -> dict:
    del order  # nothing to lay out: it renders its own files
    return {"path": str(root), "num_clips": 3, "num_broken": 0, "duration_s": 0.5, "frame_size_px": 32}


def vggsound(root: Path, order: random.Random) -> dict:
    names = ["a_000001.mp4", "sub/b_000002.mp4", "c_000003_000013.mp4"]
    for name in order.sample(names, 3):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    lines = [f"{'abc'[n]},{n + 1},x,train" for n in order.sample(range(3), 3)]
    (root / "vggsound.csv").write_text("\n".join(lines))
    return {"path": str(root)}


def kinetics_sound(root: Path, order: random.Random) -> dict:
    for stem in order.sample("abc", 3):
        (root / "train" / "audio" / "x").mkdir(parents=True, exist_ok=True)
        (root / "train" / "audio" / "x" / f"{stem}.wav").write_bytes(stem.encode())
        (root / "train" / "video" / "x" / stem).mkdir(parents=True, exist_ok=True)
        for k in order.sample(range(3), 3):
            (root / "train" / "video" / "x" / stem / f"frame_{k}.jpg").write_bytes(bytes(k))
    (root / "my_train.txt").write_text("\n".join(f"{stem},3,0" for stem in order.sample("abc", 3)))
    return {"path": str(root)}


# By kind: lays a small source out below a folder, in an order that must not matter, and returns the keys of the spec.
SOURCES: dict[str, Callable[[Path, random.Random], dict]] = {
    "folder": folder, "kinetics_sound": kinetics_sound, "manifest": manifest, "synthetic": synthetic,
    "vggsound": vggsound,
}  # fmt: skip


def build(kind: str, **given):
    return build_manifest(SPECS[kind](**given))


@pytest.fixture
def shuffled_listings(monkeypatch) -> Callable[[int], None]:
    """Makes the file system list its folders in another order from now on."""
    scandir, listdir = os.scandir, os.listdir

    class Listing(list):
        def __enter__(self) -> "Listing":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def close(self) -> None:
            pass

    def shuffle(seed: int) -> None:
        def shuffled(entries: Iterator, kind: type = Listing):
            found = list(entries)
            random.Random(seed).shuffle(found)
            return kind(found)

        monkeypatch.setattr(os, "scandir", lambda path=".": shuffled(scandir(path)))
        monkeypatch.setattr(os, "listdir", lambda path=".": shuffled(iter(listdir(path)), list))

    return shuffle


def test_every_dataset_has_a_source_here():
    assert set(SOURCES) == set(SPECS), "say in SOURCES how to lay out a small source of the new kind"


@every_kind
def test_the_manifest_keeps_its_schema_and_is_sorted(kind, tmp_path):
    found = build(kind, **SOURCES[kind](tmp_path / "source", random.Random(0)))
    ids = found["sample_id"].to_pylist()
    assert found.schema == MANIFEST
    assert len(ids) >= 3
    assert ids == sorted(set(ids))
    assert set(found["source"].to_pylist()) == {kind}
    assert found["content_hash"].null_count == 0
    assert all(os.path.isabs(uri) and os.path.exists(uri) for uri in found["uri"].to_pylist())


@every_kind
def test_no_order_of_files_or_rows_matters(kind, tmp_path, shuffled_listings):
    source = tmp_path / "source"
    given = SOURCES[kind](source, random.Random(0))
    expected = build(kind, **given)
    for seed in range(1, 5):
        shuffled_listings(seed)
        SOURCES[kind](source, random.Random(seed))
        assert build(kind, **given).equals(expected)


@every_kind
def test_a_place_of_another_sort_is_named_with_what_was_expected(kind, tmp_path):
    given = SOURCES[kind](tmp_path / "source", random.Random(0))
    (tmp_path / "notes.txt").write_text("nothing of the kind\n")
    with pytest.raises(InputError, match=r"notes\.txt") as error:
        build(kind, **{**given, "path": str(tmp_path / "notes.txt")})
    assert "expected" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [kind for kind in SPECS if kind != "synthetic"])  # which renders what is not there
def test_a_missing_place_is_named(kind, tmp_path):
    given = SOURCES[kind](tmp_path / "source", random.Random(0))
    missing = str(tmp_path / "nowhere") + Path(given["path"]).suffix
    with pytest.raises(InputError, match=r"nowhere\S*' does not exist"):
        build(kind, **{**given, "path": missing})
