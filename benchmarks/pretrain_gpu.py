"""How fast pretraining runs on a GPU: whole training steps on clips that lie in memory; no decoding, no Ray.

The limit that it is measured against is the device's own: the rate of a large GEMM in the same dtype in the same run
(in TF32 for float32 where convolutions use it). Counted are the FLOPs of convolutions and matrix products, forward and
backward, two for a multiply-add; norms, activations, augmentation and the optimizer count as nothing, but their time
does. A sample is a clip: both modalities, both views. Views are as long as the clip, so that all steps are alike.

The target: .15 of the GEMM's rate for r2plus1d_18+resnet18 in bfloat16. Without CUDA it runs at a tiny size on one
core, the ResNets in float32 alone (a CPU without units for bfloat16 takes ten times as long): that shows that it works
and no more, and no target is checked.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.outcome import arguments, finish
from mmcsal.models import ModelSpec
from mmcsal.training.augment import AugmentSpec
from mmcsal.training.data import ClipBatch
from mmcsal.training.spec import PretrainSpec
from mmcsal.training.state import TrainState
from mmcsal.training.step import train_step

MIN_SHARE = 0.15
TARGET_PAIR = "r2plus1d_18+resnet18"  # the kinds of the video and of the audio encoder
BATCH_SIZES = {"tiny+tiny": 256, "resnet18+resnet18": 64, TARGET_PAIR: 16}  # on a GPU; halved until they fit
FLOAT32, BFLOAT16 = {"precision": "float32"}, {"precision": "bfloat16"}
FASTER = {**BFLOAT16, "channels_last": True}
SETTINGS = (FLOAT32, BFLOAT16, FASTER, {**FASTER, "compile": True})  # keys of PretrainSpec
QUICK_SETTINGS = (FLOAT32, FASTER)
COUNTED_CLIPS = 16  # in the step whose FLOPs are counted: those of a clip hardly depend on it
GEMM_REPEATS = 5  # of which the best counts: it is a limit
COLUMNS = ("samples/s", "ms/step", "batch", "peak GB", "GFLOP/sample", "TFLOP/s", "share")


@dataclass(frozen=True)
class Size:
    """The work of one measurement."""

    batch_size: int
    num_steps: int
    num_warmup_steps: int = 3
    num_frames: int = 16
    frame_size_px: int = 112
    duration_s: float = 10.0
    gemm_width: int = 8192


TINY = Size(2, num_steps=2, num_warmup_steps=1, num_frames=4, frame_size_px=32, duration_s=0.5, gemm_width=512)


def main() -> None:
    args = arguments(__doc__)
    has_gpu = torch.cuda.is_available()
    device, name = ("cuda", torch.cuda.get_device_name()) if has_gpu else ("cpu", "CPU, tiny size")
    if not has_gpu:
        torch.set_num_threads(1)
    limits = gemm_limits(device, Size.gemm_width if has_gpu else TINY.gemm_width)
    print(f"{name}; GEMM: " + ", ".join(f"{p} {rate / 1e12:.3g} TFLOP/s" for p, rate in limits.items()), flush=True)
    print(f"{'':48}" + "".join(f"{title:>14}" for title in COLUMNS))
    runs = []
    for pair, batch_size in BATCH_SIZES.items():
        size = Size(batch_size, num_steps=5 if args.quick else 30) if has_gpu else TINY
        flops = count_flops(pair, device, size)
        for setting in _settings(pair, has_gpu, args.quick):
            runs.append(_measure_what_fits(pair, device, size, setting, flops, limits[setting["precision"]]))
            _print_row(runs[-1])
    precision = "bfloat16" if has_gpu else "float32"
    share = max(run["share"] for run in runs if (run["pair"], run["precision"]) == (TARGET_PAIR, precision))
    line = f"{TARGET_PAIR} in {precision}: {share:.2f} of the rate of a GEMM on {name} "
    line += f"(target {MIN_SHARE})" if has_gpu else "(no CUDA: no target checked)"
    checks = {f"share of {MIN_SHARE} of the GEMM rate": share >= MIN_SHARE}
    figures = {"device": name, "gemm_flops_per_s": limits, "runs": runs, "share": share}
    finish("pretrain_gpu", checks if has_gpu and not args.quick else {}, figures, line, args)


def measure(
    pair: str, device: str, size: Size, setting: dict[str, Any], flops_per_sample: float, limit_flops_per_s: float
) -> dict[str, Any]:
    """What training one pair of encoders takes; `peak_bytes` is None where the device does not count them."""
    on_gpu = device == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    state, batch = _state(pair, device, size, setting), random_batch(pair, size, pinned=on_gpu)
    for _ in range(size.num_warmup_steps):
        train_step(state, batch)
    step_s = _seconds(lambda: train_step(state, batch), size.num_steps, device) / size.num_steps
    flops_per_s = flops_per_sample * size.batch_size / step_s
    return {
        "pair": pair,
        **setting,
        "samples_per_s": size.batch_size / step_s,
        "step_s": step_s,
        "batch_size": size.batch_size,
        "peak_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
        "flops_per_sample": flops_per_sample,
        "flops_per_s": flops_per_s,
        "share": flops_per_s / limit_flops_per_s,
    }


def count_flops(pair: str, device: str, size: Size) -> float:
    """FLOPs of one clip in a training step: forward and backward of both views."""
    size = replace(size, batch_size=min(size.batch_size, COUNTED_CLIPS))
    state, batch = _state(pair, device, size, FLOAT32), random_batch(pair, size)
    with FlopCounterMode(display=False) as counter:
        train_step(state, batch)
    return counter.get_total_flops() / size.batch_size


def gemm_limits(device: str, width: int) -> dict[str, float]:
    """FLOPs per second of products of two square matrices, by precision."""
    rates = {precision: _gemm_flops_per_s(device, precision, width) for precision in ("float32", "bfloat16")}
    # Some CPUs multiply bfloat16 slowly: what is faster in float32 has that as its limit.
    return {**rates, "bfloat16": max(rates.values())}


def _gemm_flops_per_s(device: str, precision: str, width: int) -> float:
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(width, width, generator=generator, device=device).to(getattr(torch, precision)) for _ in "ab")
    num_products = 20 if device == "cuda" else 2
    before = torch.backends.cuda.matmul.allow_tf32
    # Convolutions may use TF32 by default and matrix products may not; the limit has to be that of convolutions.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        _seconds(lambda: a @ b, num_products, device)
        best_s = min(_seconds(lambda: a @ b, num_products, device) for _ in range(GEMM_REPEATS))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return num_products * 2 * width**3 / best_s


def random_batch(pair: str, size: Size, *, pinned: bool = False) -> ClipBatch:
    """Noise of the shape and dtype of decoded clips."""
    generator = torch.Generator().manual_seed(0)
    channels = 3 if _model_spec(pair).video.needs_color else 1
    frames = (size.batch_size, size.num_frames, size.frame_size_px, size.frame_size_px, channels)
    sound = (size.batch_size, round(size.duration_s * AugmentSpec().sample_rate_hz))
    video = torch.randint(0, 256, frames, generator=generator, dtype=torch.uint8)
    audio = torch.randint(-(2**15), 2**15, sound, generator=generator, dtype=torch.int16)
    if pinned:
        video, audio = video.pin_memory(), audio.pin_memory()
    ids = [f"clip-{i}" for i in range(size.batch_size)]
    return ClipBatch(ids, ids, torch.arange(len(ids)), video, audio, slice(0, size.batch_size), size.batch_size)


def _measure_what_fits(pair: str, device: str, size: Size, *args: Any) -> dict[str, Any]:
    while True:
        try:
            return measure(pair, device, size, *args)
        except torch.cuda.OutOfMemoryError:
            if size.batch_size < 4:
                raise
        # Outside of `except`: the error holds the frames, and with them the tensors.
        size = replace(size, batch_size=size.batch_size // 2)


def _settings(pair: str, has_gpu: bool, quick: bool) -> tuple[dict[str, Any], ...]:
    if has_gpu:
        return QUICK_SETTINGS if quick else SETTINGS
    return (FLOAT32, BFLOAT16) if pair == "tiny+tiny" else (FLOAT32,)


def _model_spec(pair: str) -> ModelSpec:
    video, audio = pair.split("+")
    return ModelSpec.model_validate({"video": {"kind": video}, "audio": {"kind": audio}})


def _state(pair: str, device: str, size: Size, setting: dict[str, Any]) -> TrainState:
    spec = PretrainSpec(batch_size=size.batch_size, augment=AugmentSpec(min_duration=1.0), **setting)
    return TrainState(spec, _model_spec(pair), seed=0, steps_per_epoch=1000, device=device)


def _seconds(call: Callable[[], object], times: int, device: str) -> float:
    """Wall time of so many calls and of the work that they leave to the device."""
    _wait(device)
    start_s = time.perf_counter()
    for _ in range(times):
        call()
    _wait(device)
    return time.perf_counter() - start_s


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _print_row(run: dict[str, Any]) -> None:
    title = " ".join([run["pair"], run["precision"], *(key for key in ("channels_last", "compile") if run.get(key))])
    memory = "n/a" if run["peak_bytes"] is None else f"{run['peak_bytes'] / 1e9:.2f}"
    figures = (
        f"{run['samples_per_s']:.1f}",
        f"{run['step_s'] * 1e3:.1f}",
        str(run["batch_size"]),
        memory,
        f"{run['flops_per_sample'] / 1e9:.3g}",
        f"{run['flops_per_s'] / 1e12:.3g}",
        f"{run['share']:.3f}",
    )
    print(f"{title:48}" + "".join(f"{figure:>14}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
