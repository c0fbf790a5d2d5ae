"""How selection grows: from Parquet files to SELECTION through Ray, 10 thousand to 1 million pairs, 2 x 128 wide.

The limit that it is measured against is one pass of float32 GEMM with as many multiply-adds as the solver needs: the
products of rows with anchors, with the rows of their cell, with candidates and with centroids are counted in one run in
this process, and a plain numpy loop on all cores times that many. Parquet, hashing, the shuffle, table look-ups,
greedy, swaps and evaluation are what comes on top.

Budgets are a hundredth of the pool. A Ray session that runs is a given. Memory is the largest of any process of the
session (VmHWM), the driver included. Bytes to the driver are those of the results of all tasks.
"""

import os
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from benchmarks import pools
from benchmarks.outcome import arguments, finish
from mmcsal.config import ClusterSpec
from mmcsal.contracts.embedding import embedding_schema, vector_column
from mmcsal.distributed.cluster.session import ray_session
from mmcsal.distributed.selection import ray_runner as on_ray
from mmcsal.selection import SelectSpec, select_pairs
from mmcsal.selection.numerics import kernel, quantize

MAX_TIMES_GEMM, MAX_PEAK_BYTES, MAX_EXPONENT = 5.0, 4e9, 1.15
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
QUICK_SIZES = (3_000, 10_000)
EXPONENT_FROM = 30_000
ROWS_PER_FILE = 50_000
NUM_CLASSES = 400
BLOCK_ROWS = 100_000  # of the mixture that are made at a time
GEMM_SHAPE = (1024, 256, 1024)


def main() -> None:
    args = arguments(__doc__)
    sizes = QUICK_SIZES if args.quick else SIZES
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, ray_session(ClusterSpec()):
        _select(_write(Path(folder) / "warm", sizes[0]), sizes[0] // 100)  # numba's cache, Ray's workers
        for num_rows in sizes:
            files = _write(Path(folder) / str(num_rows), num_rows)
            runs.append({"rows": num_rows, **_select(files, num_rows // 100)})
            print(", ".join(f"{k} {v:.4g}" for k, v in runs[-1].items()), flush=True)
    per_row = _multiply_adds(min(sizes[-1], 100_000)) / min(sizes[-1], 100_000)
    gemm_s = per_row * sizes[-1] / _multiply_adds_per_s()
    times = runs[-1]["wall_s"] / gemm_s
    large = [r for r in runs if r["rows"] >= (0 if args.quick else EXPONENT_FROM)]
    exponent = float(np.polyfit(*np.log([[r["rows"] for r in large], [r["wall_s"] for r in large]]), 1)[0])
    checks = {
        f"at most {MAX_TIMES_GEMM:g} times one GEMM pass": times <= MAX_TIMES_GEMM,
        "at most 4 GB in any process": runs[-1]["peak_bytes"] <= MAX_PEAK_BYTES,
        f"growth exponent at most {MAX_EXPONENT}": exponent <= MAX_EXPONENT,
    }
    line = (
        f"{sizes[-1]:,} pairs, B = {sizes[-1] // 100:,}: {runs[-1]['wall_s']:.1f} s, {times:.1f} times a GEMM pass of "
        f"{gemm_s:.1f} s (target {MAX_TIMES_GEMM:g}); peak {runs[-1]['peak_bytes'] / 1e9:.2f} GB (target 4); "
        f"exponent {exponent:.2f} (target {MAX_EXPONENT})"
    )
    figures = {"runs": runs, "multiply_adds_per_row": per_row, "gemm_s": gemm_s, "times": times, "exponent": exponent}
    finish("scale", {} if args.quick else checks, figures, line, args)


def _write(folder: Path, num_rows: int) -> list[str]:
    """Parquet files of a mixture; its blocks share the classes and the views."""
    folder.mkdir()
    schema, files = embedding_schema({"video": 128, "audio": 128}), []
    for block in range(-(-num_rows // BLOCK_ROWS)):
        in_block = min(BLOCK_ROWS, num_rows - block * BLOCK_ROWS)
        pool = pools.mixture(in_block, 0, block=block, num_classes=NUM_CLASSES)
        for start in range(0, in_block, ROWS_PER_FILE):
            rows = slice(start, min(start + ROWS_PER_FILE, in_block))
            ids = [f"clip-{block * BLOCK_ROWS + i:09d}" for i in range(rows.start, rows.stop)]
            columns = [pa.array(ids, pa.string()), vector_column(pool.a_ND[rows]), vector_column(pool.v_ND[rows])]
            files.append(str(folder / f"part-{len(files):05d}.parquet"))
            pq.write_table(pa.table(columns, schema=schema), files[-1], compression="none")
    return files


def _select(files: list[str], budget: int) -> dict[str, Any]:
    _CountingRunner.num_bytes = 0
    _reset_peaks()
    start_s = time.perf_counter()
    original, on_ray.RayRunner = on_ray.RayRunner, _CountingRunner
    try:
        selection = on_ray.select_over_ray(files, SelectSpec(budget=budget))
    finally:
        on_ray.RayRunner = original
    return {
        "wall_s": time.perf_counter() - start_s,
        "peak_bytes": float(_peak_bytes()),
        "driver_bytes": float(_CountingRunner.num_bytes),
        "coverage": selection.summary["coverage"],
    }


class _CountingRunner(on_ray.RayRunner):
    """Adds up what comes back to the driver."""

    num_bytes = 0

    def _results(self, refs: list[ray.ObjectRef]) -> list[Any]:
        results = super()._results(refs)
        _CountingRunner.num_bytes += len(pickle.dumps(results, protocol=5))
        return results


def _multiply_adds(num_rows: int) -> float:
    """Multiply-adds of all products of one selection in this process."""
    counted = 0.0
    similarities = quantize.similarities

    def counting(x_AD: np.ndarray, y_BD: np.ndarray) -> np.ndarray:
        nonlocal counted
        counted += float(len(x_AD)) * len(y_BD) * x_AD.shape[1]
        return similarities(x_AD, y_BD)

    from mmcsal.selection.objective import alignment
    from mmcsal.selection.scaleout import cell_tree, neighbors

    modules = (kernel, neighbors, cell_tree, alignment)
    for module in modules:
        module.similarities = counting
    try:
        pool = pools.mixture(num_rows, 0)
        spec = SelectSpec(budget=num_rows // 100)
        select_pairs(pool.a_ND, pool.v_ND, num_rows // 100, config=spec)
    finally:
        for module in modules:
            module.similarities = similarities
    # The scores of alignment multiply by themselves, row by row with all anchors.
    return counted + float(num_rows) * spec.num_anchors * (pool.a_ND.shape[1] + pool.v_ND.shape[1])


def _multiply_adds_per_s() -> float:
    rows, width, columns = GEMM_SHAPE
    x_AD, y_DB = np.ones((rows, width), np.float32), np.ones((width, columns), np.float32)
    num_products = 200
    for _ in range(10):
        x_AD @ y_DB
    start_s = time.perf_counter()
    for _ in range(num_products):
        x_AD @ y_DB
    return num_products * float(rows * width * columns) / (time.perf_counter() - start_s)


def _session_pids() -> list[int]:
    """This process and Ray's workers on this machine."""
    pids = [os.getpid()]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().startswith(b"ray::"):
                    pids.append(int(entry.name))
            except OSError:
                continue
    return pids


def _reset_peaks() -> None:
    for pid in _session_pids():
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError:
            continue


def _peak_bytes() -> int:
    peaks = []
    for pid in _session_pids():
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        peaks += [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")]
    return max(peaks)


if __name__ == "__main__":
    main()
