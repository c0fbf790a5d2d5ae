"""Time, memory, coverage and misaligned picks of `select_pairs` against other methods: same pool, one run.

Protocol: a skewed mixture of two views, 10% of its pairs shuffled. Every method runs in a child process of its own,
with as many threads as there are CPUs. Before the clock starts, the child has loaded the pool and run the method on
its first rows: imports, thread pools and compilation are no part of the claim (numba keeps compiled code on disk;
apricot compiles in every call). Peers are handed the joint embedding ready made; `select_pairs` gets the two views, and
its time has the alignment score and the explanations in it. Memory is the largest resident size during the call less
that before it. `select_pairs` and faiss k-means take turns a few times and their ratio is the median of the turns; the
others run once and are compared with the median of ours. On the large pool ActiveFT runs 1% of its iterations, the
time of the rest is extrapolated, and its picks (hardly more than its random start) are not judged; on the small pool
it runs to the end. Methods on dense similarities run on the small pool alone.

Take ratios from a quiet machine only: work beside the run holds up threads at every barrier, some methods more than
others. Each figure tells which share of the CPUs went to others meanwhile.

Coverage is the mean over all rows of exp((cos - 1) / h) to the closest pick, in float32, with the h that `select_pairs`
found; the objective adds its alignment term, from the alignment scores that `select_pairs` gave to all rows.

Run it from the root as `python -m benchmarks.select`: as a plain script it would hide the standard library's `select`.
"""

import ctypes
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.outcome import arguments, finish
from benchmarks.pools import Pool, mixture, shuffled

OURS, KMEANS, ACTIVEFT = "select_pairs", "faiss_kmeans", "activeft"
MIXED = {"separate": {"coverage": "separate"}, "three kernels": {"coverage": {"rho": 0.5}}}  # of `select_pairs`
LARGE = [OURS, *MIXED, KMEANS, "k_center", "typiclust", ACTIVEFT, "random"]
SMALL = [
    *(method for method in LARGE if method not in MIXED),
    "apricot_facility_location",
    "submodlib_facility_location",
]
KMEANS_TARGET, ACTIVEFT_TARGET, MIXED_TARGET = 5, 200, 2.5
NUM_ITERATIONS = peers.NUM_ACTIVEFT_ITERATIONS
NUM_TIMED_ITERATIONS = max(3, NUM_ITERATIONS // 100)
MAX_WHOLE_ROWS = 5000  # pools up to this many rows see all iterations of ActiveFT
SHUFFLED = 0.1
SEED = 0
CHUNK_ROWS = 8192
# The first rows of the pool; ours has more than fit one cell, so that the warm-up meets every part of the solver.
WARM_UP_ROWS, OUR_WARM_UP_ROWS = 1000, 10_000


@dataclass(frozen=True)
class Job:
    """One run of one method in a child process."""

    method: str
    folder: Path  # with the pool's arrays
    budget: int


@dataclass(frozen=True)
class Scores:
    """What the objective of our method rests on, taken from its result."""

    alignment_N: np.ndarray
    bandwidth: float
    lambda_align: float
    align_threshold: float


@dataclass(frozen=True)
class Run:
    """What the child measured."""

    result: Any  # of the method; `picks_P` once they are read from it
    wall_s: float
    cpu_s: float
    peak_mb: float
    others: float  # the share of the machine's CPU time that went to other processes meanwhile
    scores: Scores | None = None  # of our own method
    is_whole: bool = True  # no time was extrapolated


def main() -> None:
    args = arguments(__doc__)
    for library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        os.environ[f"{library}_NUM_THREADS"] = str(os.cpu_count())  # for the children
    large = compare(LARGE, 10_000, 200, 1) if args.quick else compare(LARGE, 100_000, 1000, 3)
    small = {} if args.quick else compare(SMALL, 4000, 200, 1)
    faster = {peer: _ratio(large, peer) for peer in LARGE[1:-1]}
    slowest = max(faster[name] for name in MIXED)
    ours, kmeans = large[OURS], large[KMEANS]
    checks = {
        f"{KMEANS_TARGET} times faster than faiss k-means": faster[KMEANS] >= KMEANS_TARGET,
        f"{ACTIVEFT_TARGET} times faster than ActiveFT": faster[ACTIVEFT] >= ACTIVEFT_TARGET,
        f"coverage of two or three kernels takes at most {MIXED_TARGET} times as long": slowest <= MIXED_TARGET,
        "a higher objective than faiss k-means": ours["objective"] > kmeans["objective"],
        "a higher coverage than faiss k-means": ours["coverage"] > kmeans["coverage"],
    }
    line = (
        f"time of faiss k-means / select_pairs: {faster[KMEANS]:.1f} (target {KMEANS_TARGET}), "
        f"objective {ours['objective']:.4f} against {kmeans['objective']:.4f}, "
        f"coverage {ours['coverage']:.4f} against {kmeans['coverage']:.4f}; "
        f"ActiveFT / select_pairs: {faster[ACTIVEFT]:.0f} (target {ACTIVEFT_TARGET}); "
        f"two or three kernels / one: at most {slowest:.2f} (target {MIXED_TARGET})"
    )
    finish("select", {} if args.quick else checks, {"large": large, "small": small, "faster": faster}, line, args)


def compare(methods: list[str], num_rows: int, budget: int, num_rounds: int) -> dict[str, dict[str, Any]]:
    """Runs all methods on one pool; prints and returns their figures."""
    pool, is_shuffled_N = shuffled(mixture(num_rows, SEED), SHUFFLED, SEED)
    joint_ND = _joint(pool)
    runs: dict[str, list[Run]] = {method: [] for method in methods}
    with tempfile.TemporaryDirectory() as folder:
        for name, array in {"a": pool.a_ND, "v": pool.v_ND, "joint": joint_ND}.items():
            np.save(Path(folder) / f"{name}.npy", array)
        for round_ in range(num_rounds):
            for method in methods if round_ == 0 else (OURS, *(m for m in MIXED if m in methods), KMEANS):
                runs[method].append(_in_child(Job(method, Path(folder), budget)))
                print(f"{method}, {num_rows} rows: {runs[method][-1].wall_s:.2f} s", flush=True)
    scores = runs[OURS][0].scores
    assert scores is not None
    print(f"\n{pool.name}, {num_rows} rows, budget {budget}, h = {scores.bandwidth:.4f}")
    figures = {}
    for method in methods:
        figures[method] = _costs(runs[method])
        if runs[method][0].is_whole and method not in MIXED:  # those have an objective of their own
            figures[method] |= _worth(runs[method][0].result, joint_ND, is_shuffled_N, scores)
        _print_row(method, figures[method])
    return figures


def _print_row(method: str, row: dict[str, Any]) -> None:
    cost = f"{row['wall_s']:8.2f} s, CPU {row['cpu_s']:8.2f} s, {row['peak_mb']:5.0f} MB, others {row['others']:3.0%}"
    worth = f"time extrapolated from {NUM_TIMED_ITERATIONS} of {NUM_ITERATIONS} iterations, picks not judged"
    if method in MIXED:
        worth = "an objective of its own"
    elif "objective" in row:
        worth = (
            f"objective {row['objective']:.4f}, coverage {row['coverage']:.4f}, "
            f"{row['shuffled']:.1%} of the picks shuffled"
        )
    print(f"{method:>28}: {cost}; {worth}", flush=True)


def _ratio(figures: dict[str, dict[str, Any]], peer: str) -> float:
    """The peer's time divided by ours: turn by turn, or by the median of ours where the peer ran once."""
    theirs, ours = figures[peer]["walls_s"], figures[OURS]["walls_s"]
    if len(theirs) == 1:
        return theirs[0] / statistics.median(ours)
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


# ---- what the picks are worth ----------------------------------------------------------------------------------------


def _costs(runs: list[Run]) -> dict[str, Any]:
    return {
        "wall_s": statistics.median(run.wall_s for run in runs),
        "cpu_s": statistics.median(run.cpu_s for run in runs),
        "peak_mb": max(run.peak_mb for run in runs),
        "others": max(run.others for run in runs),
        "walls_s": [run.wall_s for run in runs],
    }


def _worth(picks_P: np.ndarray, joint_ND: np.ndarray, is_shuffled_N: np.ndarray, scores: Scores) -> dict[str, Any]:
    covered = coverage(joint_ND, picks_P, scores.bandwidth)
    aligned = float(np.minimum(1, scores.alignment_N[picks_P] / scores.align_threshold).mean())
    return {
        "objective": covered + scores.lambda_align * aligned,
        "coverage": covered,
        "shuffled": float(is_shuffled_N[picks_P].mean()),
    }


def coverage(joint_ND: np.ndarray, picks_P: np.ndarray, bandwidth: float) -> float:
    """Mean over the rows of the largest kernel to a pick."""
    picked_PD, total = joint_ND[picks_P], 0.0
    for start in range(0, len(joint_ND), CHUNK_ROWS):
        closest_N = (joint_ND[start : start + CHUNK_ROWS] @ picked_PD.T).max(axis=1)
        total += float(np.exp((closest_N - 1) / np.float32(bandwidth)).sum(dtype=np.float64))
    return total / len(joint_ND)


def _joint(pool: Pool) -> np.ndarray:
    views = [view_ND / np.linalg.norm(view_ND, axis=1, keepdims=True) for view_ND in (pool.a_ND, pool.v_ND)]
    return np.ascontiguousarray(np.concatenate(views, axis=1) / np.sqrt(2), np.float32)


# ---- in child processes ----------------------------------------------------------------------------------------------


def _in_child(job: Job) -> Run:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(_run, job).result()


def _run(job: Job) -> Run:
    is_ours = job.method == OURS or job.method in MIXED
    arrays = [np.load(job.folder / f"{name}.npy") for name in (("a", "v") if is_ours else ("joint",))]
    run = _run_ours(job, arrays) if is_ours else _run_peer(job, arrays[0])
    picks_P = run.result
    assert len(set(picks_P.tolist())) == len(picks_P) == job.budget, f"{job.method}: picks repeat or lack"
    return run


def _run_ours(job: Job, views: list[np.ndarray]) -> Run:
    from mmcsal import select_pairs
    from mmcsal.selection import SelectSpec

    config = SelectSpec.model_validate(MIXED.get(job.method, {}))
    select_pairs(*(view_ND[:OUR_WARM_UP_ROWS] for view_ND in views), min(job.budget, 100), config=config, seed=SEED)
    run = _timed(lambda: select_pairs(*views, job.budget, config=config, seed=SEED))
    picks_P = np.array([int(sample_id) for sample_id in run.result.sample_ids], np.int64)
    return replace(run, result=picks_P, scores=_scores(run.result))


def _run_peer(job: Job, joint_ND: np.ndarray) -> Run:
    method: Callable[..., np.ndarray] = getattr(peers, job.method)
    warm_up_ND = joint_ND[:WARM_UP_ROWS]
    if job.method != ACTIVEFT or len(joint_ND) <= MAX_WHOLE_ROWS:
        method(warm_up_ND, 50, SEED)
        return _timed(lambda: method(joint_ND, job.budget, SEED))
    method(warm_up_ND, 50, SEED, num_iterations=1)
    start = _timed(lambda: method(joint_ND, job.budget, SEED, num_iterations=0))
    part = _timed(lambda: method(joint_ND, job.budget, SEED, num_iterations=NUM_TIMED_ITERATIONS))
    scale = NUM_ITERATIONS / NUM_TIMED_ITERATIONS
    wall_s = start.wall_s + (part.wall_s - start.wall_s) * scale
    return replace(part, wall_s=wall_s, cpu_s=start.cpu_s + (part.cpu_s - start.cpu_s) * scale, is_whole=False)


def _timed(call: Callable[[], Any]) -> Run:
    before_mb = _reset_peak_mb()
    wall_s, cpu_s, busy_s = time.perf_counter(), time.process_time(), _machine_busy_s()
    result = call()
    wall_s, cpu_s, busy_s = time.perf_counter() - wall_s, time.process_time() - cpu_s, _machine_busy_s() - busy_s
    others = max(busy_s - cpu_s, 0) / (wall_s * (os.cpu_count() or 1))
    return Run(result, wall_s, cpu_s, _peak_mb() - before_mb, min(others, 1.0))


def _machine_busy_s() -> float:
    """CPU seconds that all processes of the machine have used, and those that its host has taken from it."""
    user, nice, system, _, _, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / os.sysconf("SC_CLK_TCK")


def _scores(selection: Any) -> Scores:
    table, summary = selection.represented, selection.summary
    alignment_N = np.empty(table.num_rows, np.float32)
    alignment_N[table["sample_id"].to_numpy().astype(np.int64)] = table["alignment"].to_numpy()
    return Scores(alignment_N, summary["bandwidth"], summary["applied_lambda_align"], summary["align_threshold"])


def _reset_peak_mb() -> float:
    """Resident size now, from which the kernel counts the peak anew (ru_maxrss would have the parent's in it)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what the warm-up freed must not hide what the call needs
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_mb()


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
