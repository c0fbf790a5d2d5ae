"""A process of test_killed: trains with a checkpoint after every step, to be killed wherever it stands."""

import os
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow.fs
import torch

from mmcsal.models import ModelSpec
from mmcsal.models.encoders.video.tiny import TinyVideoSpec
from mmcsal.training.data import ClipBatches
from mmcsal.training.epoch import train_epoch
from mmcsal.training.spec import PretrainSpec
from mmcsal.training.state import TrainState

# Everything that carries state from step to step: dynamics (of decoys, too), a queue, an average, a learned
# temperature, frozen prototypes.
SPEC = PretrainSpec(
    epochs=3,
    batch_size=6,
    ema_decay=0.9,
    decoys={"share": 0.1},
    objective={"preset": "paper", "proto": {"num_prototypes": 8, "queue_rows": 12}},
)
PCL_SPEC = SPEC.model_copy(
    update={
        "objective": SPEC.objective.model_validate(
            {"preset": "paper", "proto": {"kind": "pcl", "num_prototypes": 4, "start_epoch": 1}}
        )
    }
)
SPECS = {"swav": SPEC, "pcl": PCL_SPEC}
MODEL = ModelSpec(video=TinyVideoSpec(frame_size_px=16))


def train(kind: str, clips: Path, folder: Path, told: Connection) -> None:
    """Tells the number of each step when its checkpoint is there, and `done`."""
    torch.set_num_threads(1)
    spec = SPECS[kind]
    files = sorted(str(path) for path in clips.iterdir())
    batches = ClipBatches(files, pyarrow.fs.LocalFileSystem(), spec, seed=0, gray=True)
    counts = {"steps_per_epoch": batches.steps_per_epoch, "num_clips": batches.num_clips}
    state = TrainState(spec, MODEL, seed=0, **counts)
    checkpoint = folder / "state.pt"
    if checkpoint.exists():
        state.load_state_dict(torch.load(checkpoint, weights_only=True))

    def save(*_: object) -> None:
        torch.save(state.state_dict(), folder / "state.tmp")
        os.replace(folder / "state.tmp", checkpoint)
        told.send(state.epoch * state.steps_per_epoch + state.step_in_epoch)

    while not state.done:
        train_epoch(state, batches, on_step=save)
    told.send("done")
