"""The table of docs/media.md: made of real files, each read by every backend that is proven for it."""

import importlib.util
from pathlib import Path

from benchmarks.spelled import judge
from benchmarks.spelled.cases import make
from mmcsal.media.backends import FASTER
from mmcsal.media.picture import Picture
from tests.films import CASES, needs_ffmpeg

DOCS = Path(__file__).parents[3] / "docs" / "media.md"
FILES = {
    "usual.mp4": "H.264 in MP4, QuickTime, 3GP",
    "hevc.mp4": "HEVC in MP4, QuickTime",
    "mjpeg.mov": "Motion JPEG in QuickTime",
    "vp9.mp4": "VP9 in MP4",
    "av1.mp4": "AV1 in MP4",
    "mpeg4.mp4": "MPEG-4 with B-frames in MP4",
    "open.mp4": "open groups of pictures",
    "refresh.mp4": "intra-refresh",
    "cut_b2.mp4": "edits: cut without coding",
    "picture_later.mp4": "a picture that begins late",
    "turned90_b4.mp4": "turned or mirrored",
    "mp4_sar.mp4": "pixels that are not square",
    "two_pictures.mp4": "two pictures",
    "fragments.mp4": "fragmented MP4",
    "usual.webm": "VP8, VP9, AV1 in WebM, Matroska",
    "usual.mkv": "other Matroska",
    "usual.avi": "AVI",
    "usual.ts": "MPEG-TS",
}

pytestmark = needs_ffmpeg


def test_the_table_of_what_is_proven_is_that_of_the_documentation(films, tmp_path, monkeypatch):
    lines = ["| files | decord | torchcodec |", "| --- | --- | --- |"]
    for name, words in FILES.items():
        path = make(CASES[name], films, tmp_path)
        with Picture(str(path), judge.SPEC) as picture:
            proven = {backend: module.is_proven(picture) for backend, module in FASTER.items()}
        lines.append(f"| {words} | {' | '.join('proven' if proven[backend] else 'PyAV' for backend in FASTER)} |")
        for backend in FASTER:
            if proven[backend] and importlib.util.find_spec(backend):
                monkeypatch.setattr(judge, "SPEC", judge.SPEC.model_copy(update={"backend": backend}))
                assert judge.judge(CASES[name], path) == [], f"{name} by {backend}"
    assert "\n".join(lines) in DOCS.read_text(), "\n".join(lines)
