"""The media of `benchmarks.hostile`, and Python files beside them: each file is a clip or a reject, and none runs."""

import gzip
import os
import pickle
import socket
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from mmcsal.datasets.synthetic.encode import write_mp4

TRAPS = ("decord", "av", "math", "json", "numpy", "pyarrow", "ray", "torch", "typing", "sitecustomize", "mmcsal")
SETTINGS = (
    *("--corpus", ".", "media={window_s: 1.0, num_frames: 2, frame_size_px: 32, timeout_s: 20}"),
    *("cluster.num_cpus=2", "max_reject_fraction=1.0", "ingest.samples_per_partition=24"),
)


class Evil:
    """What unpickling must never meet: it would leave a file outside."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.place / "unpickled"),)


def outcomes_of(run_dir: Path, corpus: Path, outside: Path) -> list[tuple[str, str, bool, list[str]]]:
    """Kind, name, whether it is a reject, and what is wrong: each file is a clip or a reject, once."""

    def ids(folder: str) -> list[str]:
        parts = (run_dir / folder).rglob("*.parquet") if (run_dir / folder).exists() else ()
        return [i for part in parts for i in pq.read_table(part, columns=["sample_id"])["sample_id"].to_pylist()]

    clips, rejects = ids("clips"), ids("rejects")
    found = []
    for path in sorted(corpus.glob("*.mp4")):
        if path.is_file() or path.is_symlink():
            num = clips.count(path.name) + rejects.count(path.name)
            harms = [] if num == 1 else [f"it is there {num} times"]
            found.append(("media", repr(path.name)[:40], path.name in rejects, harms))
    ran = {p.name for p in outside.glob("ran-*")}
    found += [("python files", f"{t}.py", False, ["it ran"] if f"ran-{t}" in ran else []) for t in TRAPS]
    return found


def make_media(folder: Path, outside: Path) -> None:
    """Into `folder`: good and bad files of all kinds, and Python files; what runs leaves a folder `outside`."""
    good = folder / "good.mp4"
    frames, sound = np.zeros((16, 64, 64, 3), np.uint8), np.zeros(16000, np.float32)
    write_mp4(str(good), frames_THWC=frames, frame_rate_hz=16, sound_L=sound, sample_rate_hz=16000)
    wide = np.zeros((4, 2, 8190, 3), np.uint8)
    write_mp4(str(folder / "wide.mp4"), frames_THWC=wide, frame_rate_hz=4, sound_L=sound, sample_rate_hz=16000)
    whole = good.read_bytes()
    rng = np.random.default_rng(0)
    for n in range(12):
        spoiled = bytearray(whole)
        for place in rng.integers(0, len(whole), 40):
            spoiled[place] = rng.integers(0, 256)
        (folder / f"flipped-{n}.mp4").write_bytes(spoiled)
    texts = {
        "empty": b"", "zeros": bytes(10_000), "noise": rng.bytes(10_000), "half": whole[: len(whole) // 2],
        "huge box": b"\xff\xff\xff\xf0moov" + whole, "nested boxes": b"\0\0\xff\xffmoov" * 2000,
        "playlist of files": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "playlist of the web": b"#EXTM3U\n#EXTINF:1,\nhttp://10.99.0.2/a.ts\n#EXT-X-ENDLIST\n",
        "concat": b"ffconcat version 1.0\nfile /etc/passwd\n", "concat of the web": b"ffconcat version 1.0\nfile http://10.99.0.2/a\n",
        "sdp": b"v=0\no=- 0 0 IN IP4 10.99.0.2\ns=x\nc=IN IP4 10.99.0.2\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "dash": b"<?xml version='1.0'?><MPD><Period><BaseURL>http://10.99.0.2/</BaseURL></Period></MPD>",
        "xml of entities": b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><MPD>&x;</MPD>",
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(100), "zip": gzip.compress(bytes(5_000_000)), "text": b"hello\n" * 1000,
        "pickle": pickle.dumps(Evil(outside)), "elf": b"\x7fELF" + bytes(500),
        "wav": b"RIFF\xff\xff\xff\xffWAVEfmt " + bytes(50),
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://10.99.0.2/'/></svg>",
    }  # fmt: skip
    for name, content in texts.items():
        (folder / f"{name}.mp4").write_bytes(content)
    for name in (
        "=cmd|' -C calc'!A0",
        "-rf",
        "a\nb",
        "a\x1b[2J",
        "<script>",
        "' or 1=1",
        "$(touch x)",
        "`id`",
        "%s%n",
        "x" * 240,
    ):
        (folder / f"{name}.mp4").write_bytes(whole)
    (folder / "to zero.mp4").symlink_to("/dev/zero")
    (folder / "to nothing.mp4").symlink_to("/no/such/file")
    (folder / "to itself.mp4").symlink_to(folder / "to itself.mp4")
    (folder / "to secrets.mp4").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(folder / "s.mp4"))
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"import os; os.mkdir({str(outside / f'ran-{name}')!r})")
