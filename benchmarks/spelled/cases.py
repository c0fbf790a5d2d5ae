"""A case: a file that ffmpeg makes of a painted film, and what a viewer sees and hears of it. `kinds` lists them."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.spelled.paint import write_film

# Name: seconds, width, height, frames a second.
FILMS = {"b4": (4, 160, 120, 25), "b12": (12, 160, 120, 25), "wide": (4, 320, 180, 25), "slow": (8, 160, 120, 2)}


@dataclass(frozen=True)
class Case:
    """A file: how it is made, and what is right."""

    name: str
    kind: str
    commands: tuple[str, ...]  # arguments of ffmpeg; {out} is the file, {tmp} a folder, {b4} and so on the films
    edit: Callable[[bytes], bytes] | None = None  # of the bytes that ffmpeg wrote
    reject: str | None = None  # the reason; else it is a clip
    sound_late_s: float = 0.0  # by how much the file asks the sound to be later than the picture
    hole: tuple[float, float] | None = None  # where it has no sound, in what is spelled
    silent: bool = False
    spread_s: float = 0.1  # how far a frame may be from its place: two frames at low rates
    sound_spread_s: float = 0.06  # how far apart sounds may be off their places
    spec: dict[str, Any] = field(default_factory=dict)  # keys of `media` other than the benchmark's


def make_films(folder: Path) -> None:
    for name, (duration_s, width, height, rate) in FILMS.items():
        path = folder / f"{name}.mkv"
        if not path.exists():
            write_film(path, duration_s, width_px=width, height_px=height, frame_rate_hz=rate)


def make(case: Case, films: Path, folder: Path) -> Path:
    """Makes the file of a case.

    Raises:
        RuntimeError: ffmpeg fails.
    """
    path = folder / case.name
    with tempfile.TemporaryDirectory() as tmp:
        places = {name: str(films / f"{name}.mkv") for name in FILMS} | {"out": str(path), "tmp": tmp}
        for command in case.commands:
            arguments = [part.format(**places) for part in shlex.split(command)]
            if arguments[0] == "cat":
                path.write_bytes(b"".join(Path(part).read_bytes() for part in arguments[1:]))
                continue
            done = subprocess.run(
                ["ffmpeg", "-nostdin", "-y", "-v", "error", *arguments],
                capture_output=True,
                text=True,
                env=_environment(),
            )
            if done.returncode:
                raise RuntimeError(f"{case.name}: {done.stderr.strip().splitlines()[-1:]}")
        if case.edit is not None:
            path.write_bytes(case.edit(path.read_bytes()))
    return path


def has_ffmpeg() -> bool:
    return shutil.which("ffmpeg") is not None


def _environment() -> dict[str, str]:
    return {**os.environ, "SVT_LOG": "0"}
