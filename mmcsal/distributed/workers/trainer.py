"""What the stages that train on Ray Train share: trainer, clips, checkpoints, and the epochs as they appear."""

import io
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pyarrow as pa
import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, ScalingConfig
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchTrainer, get_device
from torch import Tensor

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import InputError, on_one_line
from mmcsal.contracts.metric import METRIC
from mmcsal.contracts.progress import Progress
from mmcsal.contracts.stages import PRETRAIN
from mmcsal.distributed.cluster.resources import capacity, resource_request
from mmcsal.distributed.cluster.telemetry import TRAINING_LOSS, TRAINING_STEPS, record
from mmcsal.models.two_tower import TwoTower
from mmcsal.storage.rundir import RunDir
from mmcsal.tensors.collectives import all_reduce_sum, worker_rank
from mmcsal.training.batch_spec import BatchSpec
from mmcsal.training.data import ClipBatches
from mmcsal.training.state import load_model

RAY_TRAIN_NAME = "ray_train"  # Ray Train's own folder below that of the stage
STATE_FILE = "state.pt"  # in each checkpoint of Ray Train
ENCODERS_FILE = "encoders.pt"  # below checkpoints/: those that later stages read
SECONDS_BETWEEN_LOOKS = 1.0
# What a file may end in that is none of ours, when it is loaded or a model is made from it.
NOT_OURS = (
    UnpicklingError,
    EOFError,
    FileNotFoundError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
)

# The driver's side ----------------------------------------------------------------------------------------------


def trainer(
    loop: Callable[[dict[str, Any]], None], arguments: dict[str, Any], spec: BatchSpec, folder: str
) -> TorchTrainer:
    """Runs `loop` on the workers that the spec asks for; it goes on from the last checkpoint in `folder`.

    Args:
        arguments: of the loop; with the keys `config` and `run_dir`.
    """
    config: RunConfig = arguments["config"]
    run_dir: RunDir = arguments["run_dir"]
    return TorchTrainer(
        loop,
        train_loop_config=arguments,
        scaling_config=ScalingConfig(
            num_workers=(spec.min_workers, spec.num_workers) if spec.min_workers else spec.num_workers,
            use_gpu=resource_request(spec.section, config, capacity(config.cluster)).use_gpu,
        ),
        run_config=RayRunConfig(
            name=RAY_TRAIN_NAME,
            storage_path=run_dir.place(folder),
            storage_filesystem=None if run_dir.is_local else run_dir.filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            # Ray's own limit counts the failures of a whole run; see `retries.with_retries`.
            failure_config=FailureConfig(max_failures=0),
        ),
    )


def checkpoints(run_dir: RunDir, folder: str) -> list[str]:
    """Names of Ray Train's checkpoints: what a new try goes on from."""
    return run_dir.folders(folder, RAY_TRAIN_NAME)


def figures_of_part(run_dir: RunDir, folder: str, part: str) -> tuple[int | None, dict[str, float]]:
    """The epoch of a part of the METRIC table that holds one, and its figures by name."""
    rows = run_dir.read_part(folder, part).to_pylist()
    return rows[0]["epoch"], {row["name"]: row["value"] for row in rows}


@contextmanager
def epochs_shown(look: Callable[[], tuple[int, str]], num_epochs: int, progress: Progress) -> Iterator[None]:
    """Shows the epochs as their metrics appear: `fit()` blocks, and its workers cannot call the driver back.

    Args:
        look: the number of epochs that are done, and what to say of the last one.
    """
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(SECONDS_BETWEEN_LOOKS):
            num_done, note = look()
            progress(num_done, num_epochs, note)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    num_done, note = look()  # epochs that ended after the thread had looked
    progress(num_done, num_epochs, note)


# A worker's side ------------------------------------------------------------------------------------------------


def clip_batches(config: RunConfig, run_dir: RunDir, spec: BatchSpec | None = None, **some: Any) -> ClipBatches:
    """The clips of a run, as training reads them; on the driver too, which finds there what cannot be trained.

    Args:
        spec: None = that of pretraining.
        some: see `ClipBatches`; none = all clips.

    Raises:
        InputError: they are too few for the batch size or the number of workers.
    """
    spec = spec or config.pretrain
    return ClipBatches(
        run_dir.part_paths("clips"),
        run_dir.filesystem,
        spec,
        seed=config.seed,
        num_workers=spec.num_workers,
        gray=not config.model.video.needs_color,
        **some,
    )


def trained_encoders(run_dir: RunDir) -> dict[str, Any]:
    """What pretraining has exported, on the CPU, whatever device trained it; `trained_model` makes a model of it.

    Raises:
        InputError: it is something else, or damaged.
    """
    with _exported_by_pretraining(run_dir):
        encoders = io.BytesIO(run_dir.read_bytes("checkpoints", ENCODERS_FILE))
        return torch.load(encoders, map_location="cpu", weights_only=True)


def trained_model(run_dir: RunDir) -> tuple[TwoTower, dict[str, Tensor]]:
    """The encoders that pretraining has exported, and the centroids, on the CPU; see `load_model`.

    Raises:
        InputError: it has exported something else, or the file is damaged.
    """
    checkpoint = trained_encoders(run_dir)
    with _exported_by_pretraining(run_dir):
        return load_model(checkpoint)


def _exported_by_pretraining(run_dir: RunDir) -> AbstractContextManager[None]:
    return _written_by_training(
        run_dir.path("checkpoints", ENCODERS_FILE), f"train again: {PRETRAIN.again(run_dir.uri)}"
    )


def restored() -> dict[str, Any] | None:
    """The state of the last checkpoint; None = there is none.

    Raises:
        InputError: it is something else, or damaged.
    """
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder, _written_by_training(checkpoint.path, "delete it, and go on without"):
        return dict(torch.load(Path(folder) / STATE_FILE, map_location="cpu", weights_only=True))


@contextmanager
def _written_by_training(where: str, remedy: str) -> Iterator[None]:
    """What PyTorch raises over a file that anybody may have written, as an error that names the file.

    Raises:
        InputError: see there.
    """
    try:
        yield
    except NOT_OURS as error:
        raise InputError(
            f"{where} is not what training has written, or damaged ({type(error).__name__}: "
            f"{on_one_line(error)[:200]}); {remedy}"
        ) from error


def report(state_dict: Callable[[], dict[str, Any]], figures: dict[str, float], name: str) -> None:
    """Hands a checkpoint to Ray Train; the workers hold the same state, so rank 0's is the checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if worker_rank() == 0:
            (Path(folder) / STATE_FILE).write_bytes(serialized(state_dict()))
            checkpoint = Checkpoint.from_directory(folder)
        ray.train.report(figures, checkpoint=checkpoint, checkpoint_dir_name=name)


def serialized(content: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def mean_over_workers(figures: dict[str, float], num_workers: int) -> dict[str, float]:
    """Each worker's figures are those of its own rows; together they are those of the whole batch."""
    if num_workers == 1:
        return figures
    sums = all_reduce_sum(torch.tensor(list(figures.values()), device=get_device()))
    return dict(zip(figures, (sums / num_workers).tolist(), strict=True))


def count_step(figures: dict[str, float]) -> None:
    """Counts a step for Prometheus; all workers do the same steps, so the first one counts."""
    if worker_rank() == 0:
        record(TRAINING_STEPS)
        record(TRAINING_LOSS, figures["loss"])


def metric_table(stage: str, epoch: int | None, figures: dict[str, float]) -> pa.Table:
    """Figures as METRIC."""
    rows = [{"stage": stage, "epoch": epoch, "name": k, "value": float(v)} for k, v in figures.items()]
    return pa.Table.from_pylist(rows, schema=METRIC)
