"""A rendered corpus of known truth: real mp4 files of moving shapes whose sound follows what they do.

16 classes = 4 motions x 4 shapes; motion <-> sound envelope, shape <-> timbre; tempo and phase are shared by the
pair. Everything else is nuisance. The truth lies beside the clips, in a table that no stage reads but evaluation.
"""

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.spec import Spec
from mmcsal.contracts.table import conform
from mmcsal.datasets.folder import FolderSpec, read_folder
from mmcsal.datasets.place import is_remote
from mmcsal.datasets.scan import Scan
from mmcsal.datasets.synthetic.files import ClipFormat, render_files
from mmcsal.datasets.synthetic.plan import (
    ClipPlan,
    class_name,
    draw_latents,
    motion_and_shape,
    plan_corpus,
    reason_of,
)
from mmcsal.storage.tables import parquet_bytes, read_table

TRUTH = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("class_id", pa.int32()),  # of the video; null, like all that follows, where the file is broken
        pa.field("class_name", pa.string()),
        pa.field("motion", pa.string()),
        pa.field("shape", pa.string()),
        pa.field("tempo_hz", pa.float64()),  # of the video, and of the sound where the pair is aligned
        pa.field("phase", pa.float64()),  # in beats, [0, 1)
        pa.field("aligned", pa.bool_()),
        pa.field("audio_class_id", pa.int32()),
        pa.field("audio_of", pa.string()),  # misaligned: the clip whose sound it has
        pa.field("near_duplicate_of", pa.string()),
        pa.field("broken", pa.string()),  # how; null = a whole clip
        pa.field("expected_reason", pa.string()),  # what ingest must reject it for
    ]
)

_RENDERER = 1  # raise it when the same spec renders other clips, so that a corpus on disk is known to be old
_MARKER, _UNFINISHED, _TRUTH, _CLIPS = "corpus.json", "corpus.unfinished.json", "truth.parquet", "clips"
_CLIP_NAME = re.compile(r"clip-\d{6,}\.mp4")
_FILES_PER_TASK = 8
_MIN_FILES_FOR_WORKERS = 24  # below, starting a process costs more than it saves


class SyntheticSpec(Spec):
    """`num_clips` whole clips and `num_broken` broken files among them, in the folder `path`.

    `long_tail_ratio` is the number of clips of the most frequent class over that of the least frequent;
    `misaligned_fraction` and `near_duplicate_fraction` are shares of the whole clips. From 8 broken files on, every
    kind of damage occurs (from 7 on, every reason).
    """

    kind: Literal["synthetic"] = "synthetic"
    path: str
    num_clips: int = Field(default=320, ge=1)
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    misaligned_fraction: float = Field(default=0.1, ge=0, le=1)
    long_tail_ratio: float = Field(default=1.0, ge=1)
    near_duplicate_fraction: float = Field(default=0.05, ge=0, le=0.9)
    num_broken: int = Field(default=8, ge=0)
    duration_s: float = Field(default=2.0, ge=0.5, le=60)
    frame_rate_hz: int = Field(default=16, ge=4, le=120)
    frame_size_px: int = Field(default=112, ge=32, le=2048, multiple_of=2)  # yuv420p halves it
    sample_rate_hz: Literal[16000, 22050, 24000, 32000, 44100, 48000] = 16000  # what AAC knows, from speech upward

    @model_validator(mode="after")
    def _check_misaligned(self) -> "SyntheticSpec":
        if self.num_clips < 2 and round(self.misaligned_fraction * self.num_clips):
            raise ValueError("a misaligned pair takes its sound from another class; set num_clips to 2 or more")
        return self


def read_synthetic(spec: SyntheticSpec) -> Scan:
    """The MANIFEST of a synthetic corpus, rendered first if need be; labels are null, the truth is kept apart.

    Raises:
        InputError: as `generate`.
    """
    root = generate(spec)
    scan = read_folder(FolderSpec(path=str(root / _CLIPS)))
    index = MANIFEST.get_field_index("source")
    sources = pa.array([spec.kind] * scan.manifest.num_rows)
    return replace(scan, manifest=scan.manifest.set_column(index, MANIFEST.field(index), sources))


def read_truth(path: str | Path) -> pa.Table:
    """The TRUTH table of the synthetic corpus at `path`, sorted by sample_id.

    Raises:
        InputError: there is no finished synthetic corpus.
    """
    file = Path(path).expanduser() / _TRUTH
    if not file.exists():
        raise InputError(f"no {str(file)!r}; expected a synthetic corpus there, build its manifest first")
    return read_table(str(file))


def generate(
    spec: SyntheticSpec,
    *,
    num_workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Renders the corpus at `spec.path` as far as it is not there yet; returns its folder.

    The folder gets `clips/clip-000123.mp4`, `truth.parquet` and, last, `corpus.json`: the spec, and the marker that
    all is there. The bytes depend on the spec alone, not on `num_workers` (processes; default: one a core), nor on how
    often a generation was killed. `on_progress(num_done, num_total)` counts files, in the calling thread.

    Raises:
        InputError: `path` holds a corpus of another spec, or files of someone else.
    """
    root = _checked_root(spec, spec.path)
    plans = _plan(spec)
    clips = root / _CLIPS
    clips.mkdir(parents=True, exist_ok=True)
    if _described(spec) not in (_read_json(root / _MARKER), _read_json(root / _UNFINISHED)):
        _tidy(clips, set())  # before the next line claims what is there
    present = set(_visible_names(clips))
    missing = [p for p in plans if p.name not in present]
    if not missing and (root / _MARKER).exists() and (root / _TRUTH).exists():
        return root
    _write_json(root / _UNFINISHED, _described(spec))
    (root / _MARKER).unlink(missing_ok=True)
    _render(missing, spec, str(clips), _default_workers() if num_workers is None else num_workers, on_progress)
    _tidy(clips, {p.name for p in plans})
    _write_truth(root / _TRUTH, plans, spec.seed)
    os.replace(root / _UNFINISHED, root / _MARKER)
    return root


def truth_table(spec: SyntheticSpec) -> pa.Table:
    """The TRUTH table of a spec, sorted by sample_id; nothing is read or rendered."""
    return _truth(_plan(spec), spec.seed)


# --- rendering ---


def _render(
    plans: list[ClipPlan],
    spec: SyntheticSpec,
    folder: str,
    num_workers: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    clip_format = ClipFormat(spec.duration_s, spec.frame_rate_hz, spec.frame_size_px, spec.sample_rate_hz)
    tasks = [plans[i : i + _FILES_PER_TASK] for i in range(0, len(plans), _FILES_PER_TASK)]
    report = on_progress or (lambda num_done, num_total: None)
    num_done = 0
    if num_workers <= 1 or len(plans) < _MIN_FILES_FOR_WORKERS:
        for task in tasks:
            num_done += render_files(task, clip_format, spec.seed, folder)
            report(num_done, len(plans))
        return
    # Spawned, not forked: the caller may hold threads (Ray, Arrow) that a fork would copy half-locked.
    with ProcessPoolExecutor(min(num_workers, len(tasks)), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(render_files, task, clip_format, spec.seed, folder) for task in tasks]
        try:
            for future in as_completed(futures):
                num_done += future.result()
                report(num_done, len(plans))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _default_workers() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


# --- plan and truth ---


def _plan(spec: SyntheticSpec) -> list[ClipPlan]:
    return plan_corpus(
        num_clips=spec.num_clips,
        num_broken=spec.num_broken,
        seed=spec.seed,
        misaligned_fraction=spec.misaligned_fraction,
        long_tail_ratio=spec.long_tail_ratio,
        near_duplicate_fraction=spec.near_duplicate_fraction,
    )


def _truth(plans: list[ClipPlan], seed: int) -> pa.Table:
    name_of = {p.index: p.name for p in plans}
    rows = [_truth_of(p, name_of, seed) for p in plans]
    return conform(pa.Table.from_pylist(rows, schema=TRUTH), TRUTH, name="truth").sort_by("sample_id")


def _truth_of(plan: ClipPlan, name_of: dict[int, str], seed: int) -> dict[str, Any]:
    if plan.damage is not None:
        return {"sample_id": plan.name, "broken": str(plan.damage), "expected_reason": str(reason_of(plan.damage))}
    latents = draw_latents(plan, seed=seed)
    motion, shape = motion_and_shape(plan.class_id)
    return {
        "sample_id": plan.name,
        "class_id": plan.class_id,
        "class_name": class_name(plan.class_id),
        "motion": motion,
        "shape": shape,
        "tempo_hz": latents.tempo_hz,
        "phase": latents.phase,
        "aligned": plan.sound_of is None,
        "audio_class_id": plan.sound_class_id,
        "audio_of": None if plan.sound_of is None else name_of[plan.sound_of],
        "near_duplicate_of": None if plan.copy_of is None else name_of[plan.copy_of],
    }


# --- the folder ---


def _checked_root(spec: SyntheticSpec, path: str) -> Path:
    if is_remote(path):
        raise InputError(
            f"synthetic corpus {path!r} is a remote URI; expected a local folder, clips are rendered there; "
            "render them, upload the folder of clips, and give that as the corpus"
        )
    root = Path(os.path.abspath(os.path.expanduser(path)))
    if root.exists() and not root.is_dir():
        raise InputError(
            f"synthetic corpus {str(root)!r} is a file; expected a folder, or a path that does not exist yet"
        )
    if root.exists():
        _refuse_other_spec(root, spec)
        _refuse_foreign_files(root)
    return root


def _refuse_other_spec(root: Path, spec: SyntheticSpec) -> None:
    made_by = _read_json(root / _MARKER)
    if not (root / _MARKER).exists() or made_by == _described(spec):
        return
    wanted = _described(spec)
    differing = sorted(k for k in {*made_by, *wanted} if made_by.get(k) != wanted.get(k))
    details = ", ".join(f"{k} is {made_by.get(k)!r} there and {wanted.get(k)!r} here" for k in differing)
    raise InputError(
        f"synthetic corpus {str(root)!r} was made with another spec: {details}; "
        "choose another path, or delete the folder"
    )


def _refuse_foreign_files(root: Path) -> None:
    """A folder that holds anything else is not ours to write into, and its videos must not end up in the corpus."""
    known = {_MARKER, _UNFINISHED, _TRUTH, _CLIPS}
    foreign = [n for n in _visible_names(root) if n not in known]
    if (root / _CLIPS).is_dir():
        foreign += [f"{_CLIPS}/{n}" for n in _visible_names(root / _CLIPS) if not _CLIP_NAME.fullmatch(n)]
    if foreign:
        raise InputError(
            f"synthetic corpus {str(root)!r}: {len(foreign)} files there are not of a synthetic corpus, first "
            f"{sorted(foreign)[:3]}; choose another path, or move them away"
        )


def _visible_names(folder: Path) -> list[str]:
    return [n for n in os.listdir(folder) if not n.startswith(".")]


def _tidy(clips: Path, planned: set[str]) -> None:
    """Deletes what killed generations left behind: temporary files, and clips that are not `planned`."""
    for name in os.listdir(clips):
        if name not in planned and (_CLIP_NAME.fullmatch(name) or re.fullmatch(r"\.clip-\d+\.mp4\.\d+\.tmp", name)):
            (clips / name).unlink(missing_ok=True)


def _described(spec: SyntheticSpec) -> dict[str, Any]:
    """What decides the bytes: the spec without its path (a corpus may be moved), and the renderer's version."""
    return {**spec.model_dump(mode="json", exclude={"path"}), "renderer": _RENDERER}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_json(file: Path, content: dict[str, Any]) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    os.replace(temporary, file)


def _write_truth(file: Path, plans: list[ClipPlan], seed: int) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    temporary.write_bytes(parquet_bytes(_truth(plans, seed)))
    os.replace(temporary, file)
