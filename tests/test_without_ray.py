"""The algorithms in an environment of their own, without the extra `run`: no Ray, no decoder, no torchaudio."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = """
import importlib.util
for absent in ("ray", "decord", "torchaudio", "typer"):
    assert importlib.util.find_spec(absent) is None, f"{absent} is installed"

import numpy as np, torch
from mmcsal import select_pairs
from mmcsal.losses import MmsslObjective, MmsslSpec
from mmcsal.metrics import modality_gap, recall_at_1

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
print("ran without Ray")
"""


def test_selection_losses_and_metrics_install_and_run_without_ray(tmp_path):
    uv = Path(sys.executable).with_name("uv")
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, tmp_path / "env"], check=True)
    install = [uv, "pip", "install", "-q", "--python", python, "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*install, "--editable", ROOT], check=True)
    done = subprocess.run([python, "-c", PROGRAM], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "ran without Ray", done.stderr
