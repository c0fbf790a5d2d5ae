"""KineticsSound as it lies on disk: lists with folders of frames and wav files, or Kinetics-400's own with videos."""

import csv
from collections.abc import Callable, Iterator
from typing import Literal

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.spec import Spec
from mmcsal.datasets.lists import Line, Root, Split, scan_lines
from mmcsal.datasets.scan import Scan
from mmcsal.storage.uri import StorageSpec

LAYOUT = (
    "my_train.txt and my_test.txt (lines of stem,frames,class index) with {train,test}/video/<label>/<stem>/ and "
    "{train,test}/audio/<label>/<stem>.wav; or train.csv and test.csv of Kinetics-400 (label, youtube_id, time_start, "
    "time_end, split) with video/{train,test}/**/<id>_<start>_<end>.mp4, 6 digits each"
)
LISTS = (("my_", ".txt"), ("", ".csv"))
COLUMNS = ("label", "youtube_id", "time_start", "time_end")


class KineticsSoundSpec(Spec):
    """The clips that the lists in the folder `path` name; `sample_id` is the name of the clip.

    Source:
        Arandjelovic and Zisserman, "Look, Listen and Learn", ICCV 2017.
    """

    kind: Literal["kinetics_sound"] = "kinetics_sound"
    path: str
    split: Split = "train"


def read_kinetics_sound(
    spec: KineticsSoundSpec, storage: StorageSpec | None = None, *, has_hashes: bool = True
) -> Scan:
    """The MANIFEST of a split, sorted by sample_id; a line without media is a row that ingest rejects.

    Args:
        spec: the folder and the split.
        storage: how object stores are reached.
        has_hashes: whether media are opened for their content hashes.

    Raises:
        InputError: the folder is laid out in another way, or a line is none of its lists.
    """
    root = Root(spec.path, storage, LAYOUT)
    splits = ("train", "test") if spec.split == "all" else (spec.split,)
    has_own_lists = any(root.has(f"my_{split}.txt") for split in ("train", "test"))
    lines = [
        line
        for split in splits
        for line in (
            _own_lines(root.text(f"my_{split}.txt"), split)
            if has_own_lists
            else _kinetics_lines(root.text(f"{split}.csv"), split)
        )
    ]
    place_of = _place_of(splits, has_own_lists)
    return scan_lines(lines, root.media(place_of), kind=spec.kind, split=spec.split, has_hashes=has_hashes)


def _own_lines(text: str, split: str) -> Iterator[Line]:
    for number, line in enumerate(text.splitlines(), 1):
        where = f"my_{split}.txt, line {number}"
        if not line.strip():
            continue
        stem, *numbers = line.strip().rsplit(",", 2)
        if len(numbers) != 2 or not all(n.strip().isdecimal() for n in numbers):
            raise InputError(f"{where} is {line!r}; expected stem,frames,class index")
        yield Line(stem, (stem,), None, split, where)  # the label is the name of the folder


def _kinetics_lines(text: str, split: str) -> Iterator[Line]:
    rows = csv.DictReader(text.splitlines())
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise InputError(f"{split}.csv has no column {missing[0]!r}; found {rows.fieldnames}; expected {COLUMNS}")
    for row in rows:
        where = f"{split}.csv, line {rows.line_num}"
        start_s, end_s = (row["time_start"] or "").strip(), (row["time_end"] or "").strip()
        if not (start_s.isdecimal() and end_s.isdecimal()):
            raise InputError(f"{where}: time_start {start_s!r}, time_end {end_s!r}; expected whole seconds")
        name = f"{row['youtube_id']}_{int(start_s):06d}_{int(end_s):06d}"
        yield Line(name, (name, name.rpartition("_")[0]), row["label"] or None, split, where)


def _place_of(splits: tuple[str, ...], has_own_lists: bool) -> Callable[[str], str | None]:
    """Media of other splits are not looked at: they are no part of the pool."""

    def place_of(path: str) -> str | None:
        match path.split("/"):
            case [name] if name in {f"{stem}{split}{suffix}" for stem, suffix in LISTS for split in ("train", "test")}:
                return "list"
            case [split, "video", _, _, _] if has_own_lists and split in splits:
                return "frames"
            case [split, "audio", _, _] if has_own_lists and split in splits:
                return "sound"
            case ["video", split, *_, _] if not has_own_lists and split in splits:
                return "video"
            case _:
                return None

    return place_of
