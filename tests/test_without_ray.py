"""The algorithms in an environment of their own, with the extra `train` and not `run`: no Ray, no decoder."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = """
import importlib.util
for absent in ("ray", "decord", "scipy", "typer"):
    assert importlib.util.find_spec(absent) is None, f"{absent} is installed"

import numpy as np, torch
from mmcsal import select_pairs
from mmcsal.losses import MmsslObjective, MmsslSpec
from mmcsal.metrics import knn_accuracy, modality_gap, recall_at_1
from mmcsal.models import ModelSpec, build_model
import mmcsal.training.step

rng = np.random.default_rng(0)
a_ND, v_ND = rng.normal(size=(200, 8)), rng.normal(size=(200, 12))
batch = select_pairs(a_ND, v_ND, 10)
assert len(set(batch.sample_ids)) == 10
assert batch.explain(batch.sample_ids[0])

z = [torch.nn.functional.normalize(torch.randn(16, 8), dim=1) for _ in range(4)]
loss, parts = MmsslObjective(MmsslSpec(), ("video", "audio"), 8)((z[0], z[1]), (z[2], z[3]))
assert torch.isfinite(loss)
assert 0 <= modality_gap(z[0], z[1]) <= 2
assert recall_at_1(z[0], z[0]) == 1
classes = torch.arange(16) % 4
assert 0 <= knn_accuracy(z[0], classes, z[1], classes) <= 1
assert build_model(ModelSpec(), seed=0)
print("ran without Ray")
"""


def test_selection_losses_models_and_metrics_install_and_run_without_ray(tmp_path):
    uv = Path(sys.executable).with_name("uv")
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, tmp_path / "env"], check=True)
    install = [uv, "pip", "install", "-q", "--python", python, "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*install, "--editable", f"{ROOT}[train]"], check=True)
    done = subprocess.run([python, "-c", PROGRAM], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "ran without Ray", done.stderr
