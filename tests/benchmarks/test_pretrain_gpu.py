from dataclasses import replace

import pytest
import torch
from torchvision.models import ResNet18_Weights

from benchmarks import pretrain_gpu
from benchmarks.pretrain_gpu import BFLOAT16, FLOAT32, TINY, count_flops, gemm_limits, measure

torch.set_num_threads(1)

SMALL = replace(TINY, num_steps=1, num_frames=2, frame_size_px=16, duration_s=0.25)


@pytest.mark.parametrize(
    ("pair", "setting"), [*((pair, FLOAT32) for pair in pretrain_gpu.BATCH_SIZES), ("tiny+tiny", BFLOAT16)]
)
def test_figures_of_a_tiny_run_are_plausible(pair, setting):
    flops = count_flops(pair, "cpu", SMALL)
    figures = measure(pair, "cpu", SMALL, setting, flops, gemm_limits("cpu", 256)[setting["precision"]])
    assert figures["flops_per_sample"] == flops > 0
    assert figures["samples_per_s"] > 0
    assert figures["samples_per_s"] * figures["step_s"] == pytest.approx(SMALL.batch_size)
    assert 0 < figures["share"] < 1.5
    assert figures["peak_bytes"] is None


def test_flops_are_those_that_torchvision_tells():
    one_image = replace(TINY, batch_size=2, num_frames=1, frame_size_px=224, duration_s=0.1)
    multiply_adds = ResNet18_Weights.IMAGENET1K_V1.meta["_ops"] * 1e9
    # Two views, forward and about twice that backward, two FLOPs each; the sound is so short that it hardly counts.
    assert count_flops("resnet18+resnet18", "cpu", one_image) == pytest.approx(2 * 3 * 2 * multiply_adds, rel=0.06)


def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    tried = []

    def measured(pair, device, size, *args):
        tried.append(size.batch_size)
        if size.batch_size > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return {"batch_size": size.batch_size}

    monkeypatch.setattr(pretrain_gpu, "measure", measured)
    found = pretrain_gpu._measure_what_fits("tiny+tiny", "cuda", replace(TINY, batch_size=16), {}, 1.0, 1.0)
    assert found == {"batch_size": 4}
    assert tried == [16, 8, 4]
