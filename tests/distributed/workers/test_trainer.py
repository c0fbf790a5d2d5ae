import io
import pickle
import subprocess

import pytest
import torch

from mmcsal.contracts.errors import InputError
from mmcsal.distributed.workers.trainer import ENCODERS_FILE, epochs_shown, trained_model
from mmcsal.storage.rundir import RunDir


class Evil:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return subprocess.call, (["touch", self.trace],)


def saved(content) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["a pickle", "a saved pickle", "cut", "a list", "of no model", "gone"])
def test_encoders_that_nobody_has_trained_are_told_and_not_run(tmp_path, kind):
    run_dir, trace = RunDir(str(tmp_path / "run")), tmp_path / "trace"
    content = {
        "a pickle": pickle.dumps(Evil(str(trace))),
        "a saved pickle": saved({"model": Evil(str(trace))}),
        "cut": saved({"model": {}})[:300],
        "a list": saved([1]),
        "of no model": saved({"model": {}, "model_spec": {"nonsense": 1}, "centroids": {}}),
    }
    if kind in content:
        run_dir.write_bytes(content[kind], "checkpoints", ENCODERS_FILE)
    with pytest.raises(InputError, match=rf"{ENCODERS_FILE} is not what training has written, .*--redo pretrain"):
        trained_model(run_dir)
    assert not trace.exists()


def test_epochs_that_end_after_the_last_look_are_shown():
    num_done, shown = [0], []
    with epochs_shown(lambda: (num_done[0], "loss 1"), 3, lambda *progress: shown.append(progress)):
        num_done[0] = 3  # between two looks, which are seconds apart
    assert shown[-1] == (3, 3, "loss 1")


def test_a_training_that_failed_is_not_looked_at_again():
    shown = []
    with (
        pytest.raises(OSError, match="lost"),
        epochs_shown(lambda: (1, ""), 3, lambda *progress: shown.append(progress)),
    ):
        raise OSError("lost")
    assert shown == []
