"""VGGSound as it lies on disk: `vggsound.csv`, and its clips as video files or as folders of frames with wav files."""

import csv
from collections.abc import Iterator
from typing import Literal

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.spec import Spec
from mmcsal.datasets.lists import Line, Root, Split, scan_lines
from mmcsal.datasets.scan import Scan
from mmcsal.storage.uri import StorageSpec

LIST = "vggsound.csv"
LAYOUT = (
    f"{LIST} (lines of youtube_id,start_seconds,label,split, without a header) and media below it: "
    "<id>_<start, 6 digits>[_<end>] with the suffix of a video, or frames/{train,test}/<label>/<id>_<start>/ with "
    "audio/{train,test}/<label>/<id>_<start>.wav"
)
HEADER = "youtube_id"  # some copies have one


class VggSoundSpec(Spec):
    """The clips that `vggsound.csv` in the folder `path` lists; `sample_id` is `<id>_<start, 6 digits>`.

    Source:
        Chen et al., "VGGSound: A Large-scale Audio-Visual Dataset", ICASSP 2020.
    """

    kind: Literal["vggsound"] = "vggsound"
    path: str
    split: Split = "train"


def read_vggsound(spec: VggSoundSpec, storage: StorageSpec | None = None, *, has_hashes: bool = True) -> Scan:
    """The MANIFEST of a split, sorted by sample_id; a line without media is a row that ingest rejects.

    Args:
        spec: the folder and the split.
        storage: how object stores are reached.
        has_hashes: whether media are opened for their content hashes.

    Raises:
        InputError: the folder is laid out in another way, or a line is none of VGGSound.
    """
    root = Root(spec.path, storage, LAYOUT)
    lines = list(_lines(root.text(LIST)))
    return scan_lines(lines, root.media(_place_of), kind=spec.kind, split=spec.split, has_hashes=has_hashes)


def _lines(text: str) -> Iterator[Line]:
    rows = csv.reader(text.splitlines())
    for cells in rows:
        where = f"{LIST}, line {rows.line_num}"
        if not cells or (rows.line_num == 1 and cells[0].strip("# ").lower().replace(" ", "_") == HEADER):
            continue
        if len(cells) != 4 or not cells[1].strip().isdecimal() or cells[3].strip() not in ("train", "test"):
            raise InputError(f"{where} is {cells}; expected youtube_id,start_seconds,label,split with train or test")
        video_id, start_s, label, split = (cell.strip() for cell in cells)
        name = f"{video_id}_{int(start_s):06d}"
        yield Line(name, (name, f"{video_id}_{int(start_s)}"), label or None, split, where)


def _place_of(path: str) -> str | None:
    match path.split("/"):
        case [name] if name == LIST:
            return "list"
        case ["frames", "train" | "test", _, _, _]:
            return "frames"
        case ["audio", "train" | "test", _, _]:
            return "sound"
        case _:
            return "video"
