"""The stages that `benchmarks.hostile` reaches only on Ray: clips, encoders and embeddings that others have written."""

import json
import pickle
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
import torch

from benchmarks.hostile_inputs import Case, Scene, on_run, part_of, pickled_column, spoiled_part
from benchmarks.hostile_media import Evil

KIND = "stages on Ray"
SMALL = (
    "cluster.num_cpus=2",
    "pretrain.batch_size=4",
    "pretrain.epochs=1",
    "evaluate.num_seeds=2",
    "tune.num_trials=1",
)


def first_case(run_dir: Path) -> Case:
    """Trains what the others begin with, on the clips of the hostile media."""
    return Case(KIND, "pretrain", lambda scene, _: ["pretrain", "--run-dir", str(run_dir), *SMALL])


def later_cases(scene: Scene) -> Iterator[Case]:
    """Each on a copy of the run that `first_case` has trained."""
    for name, spoil in _clips().items():
        yield Case(KIND, f"pretrain: {name}", on_run("pretrain", "--redo", "pretrain", *SMALL), spoil)
    for name, spoil in _encoders().items():
        yield Case(KIND, f"embed: {name}", on_run("embed", *SMALL), spoil)
    place = scene.given / "pickled-embeddings"
    place.mkdir()
    columns = pq.read_table(part_of(scene.embeddings, "")).to_pydict()
    columns.pop("audio_embedding")
    pq.write_table(pickled_column(scene, columns, "audio_embedding"), place / "part-0.parquet")
    for command in ("select", "evaluate", "tune"):
        yield Case(KIND, f"{command}: pickled embeddings", _elsewhere(command, place))


def _elsewhere(command: str, place: Path) -> Callable[[Scene, Path], list[str]]:
    given = ["--embeddings", str(place), "--out"]
    return lambda scene, run_dir: [command, *given, str(run_dir), "select.budget=2", *SMALL]


def _clips() -> dict[str, Callable[[Scene, Path], object]]:
    return {
        "pickled clips": _unreceipted("clips", spoiled_part("clips", "sample_id")),
        "clips that are cut": _unreceipted("clips", _over("clips", b"PAR1" + bytes(100))),
    }


def _encoders() -> dict[str, Callable[[Scene, Path], object]]:
    content = BytesIO()
    torch.save([1], content)
    return {
        "encoders that are a pickle": lambda scene, run_dir: _write(run_dir, pickle.dumps(Evil(scene.outside))),
        "encoders that are cut": lambda scene, run_dir: _write(run_dir, b"PK\x03\x04" + bytes(100)),
        "encoders that are a list": lambda scene, run_dir: _write(run_dir, content.getvalue()),
    }


def _write(run_dir: Path, content: bytes) -> None:
    next((run_dir / "checkpoints").rglob("encoders.pt")).write_bytes(content)
    _forget(run_dir, "checkpoints")


def _over(folder: str, content: bytes) -> Callable[[Scene, Path], object]:
    return lambda scene, run_dir: part_of(run_dir, folder).write_bytes(content)


def _unreceipted(folder: str, spoil: Callable[[Scene, Path], object]) -> Callable[[Scene, Path], object]:
    def spoil_both(scene: Scene, run_dir: Path) -> None:
        spoil(scene, run_dir)
        _forget(run_dir, folder)

    return spoil_both


def _forget(run_dir: Path, folder: str) -> None:
    """Takes sizes and digests out of a receipt: who changes a file changes what is said of it too."""
    marker = next((run_dir / folder).rglob("_COMMITTED.json"))
    receipt = json.loads(marker.read_text())
    del receipt["contents"]
    marker.write_text(json.dumps(receipt))
