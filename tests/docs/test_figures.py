"""The figures of README and docs/scale.md are those of a record that a script appended on a clean commit."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.merge import DEFAULT_CELL_SIZE, FEW
from tests.docs.pages import ROOT

Record = dict[str, Any]
RECORD = r"`(?P<commit>\w+)`, (?P<date>[\d-]+)"
ROW = re.compile(rf"^\| (?P<claim>.+?) \| (?P<measured>.+?) \| {RECORD} \| `python -m benchmarks\.(?P<script>\w+)` \|$")


def _rows() -> list[dict[str, str]]:
    table = (ROOT / "README.md").read_text().split("## Figures")[1].split("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    matches = [ROW.match(line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if match is None]
    return [match.groupdict() for match in matches if match is not None]


def _records(script: str) -> list[Record]:
    return [json.loads(line) for line in (ROOT / f"benchmarks/results/{script}.jsonl").read_text().splitlines()]


def _record(script: str, commit: str, date: str) -> Record:
    """The record that a row names, the last of them."""
    found = [r for r in _records(script) if (r["commit"], r["at"][:10]) == (commit, date)]
    assert found, f"benchmarks/results/{script}.jsonl: no record of {commit} on {date}"
    return found[-1]


def _decimals(value: float, places: int) -> str:
    """As the README writes a share: .49, 1.00."""
    return f"{value:.{places}f}".removeprefix("0")


def _ingest(record: Record) -> list[str]:
    return [f"{record['ratio']:.2f}"]


def _trained(record: Record) -> list[str]:
    told = []
    for means in record["means"].values():
        for name in ("linear_joint", "class_recall_at_1_video_to_audio"):
            told.append(" → ".join(_decimals(means[k][name], 2) for k in ("untrained", "default")))
    return told


def _gap(record: Record) -> list[str]:
    pairs = [(means["default"], means["InfoNCE alone"]) for means in record["means"].values()]
    return [
        f"{a['gap'] / b['gap']:.0%}".replace("%", " %") + f", {(a['knn_joint'] - b['knn_joint']) * 100:+.2f}"
        for a, b in pairs
    ]


def _ranks(record: Record) -> list[str]:
    first, second, *_ = record["table"]
    assert first["strategy"] == "mmcsal"
    less = [record["mmcsal_less"][name]["all"] for name in ("kmeans_nearest", "random")]
    return [f"{first['average_rank']:.2f} (the next {second['average_rank']:.2f})"] + [
        f"+{m:.1f} ± {e:.1f}" for m, e, _ in less
    ]


def _shuffled(record: Record) -> list[str]:
    later = [
        share
        for name, shares in record["shuffled_share"]["mmcsal"].items()
        if "shuffled" in name
        for share in shares[1:]
    ]
    return [f"at most {_decimals(max(later), 2)}"]


def _merge(record: Record) -> list[str]:
    def least(size: int, key: str, *, few: bool | None = None) -> str:
        shares = [s for s in record["shares"] if s["max_cell_size"] == size and few in (None, s["budget"] == FEW)]
        return _decimals(min(s[key] for s in shares), 3)

    def three(size: int) -> tuple[str, ...]:
        return least(size, "whole", few=False), least(size, "whole", few=True), least(size, "prefix")

    default, small, large = three(DEFAULT_CELL_SIZE), three(4096), three(16384)
    return [
        "{}, at 50 picks {}, prefixes {} at least".format(*default),
        "4096 rows {}, {} and {}".format(*small),
        "of 16384 {}, {} and {}".format(*large),
    ]


def _select(record: Record) -> list[str]:
    faster, seconds = record["faster"], record["large"]["select_pairs"]["wall_s"]
    return [f"{faster['faiss_kmeans']:.1f} and {faster['activeft']:.0f} times ({seconds:.1f} s)"]


def _scale(record: Record) -> list[str]:
    largest = record["runs"][-1]
    assert largest["rows"] == 10**6
    return [f"{record['times']:.1f} times ({largest['wall_s']:.0f} s), {largest['peak_bytes'] / 1e9:.1f} GB"]


def _pretrain(record: Record) -> list[str]:
    one, two = (f"{record['ratio'][n]:.2f}" for n in ("1", "2"))
    return [f"{one} of its rate with one worker, {two} with two", f"{record['data_wait_share'] * 100:.1f} %"]


def _faults(record: Record) -> list[str]:
    assert (record["num_injected"], record["rows_lost"], record["rows_doubled"]) == (record["num_survived"], 0, 0)
    return [f"{record['num_survived']} survived", f"after {max(s for *_, s in record['recovery_s']):.0f} s"]


def _hostile(record: Record) -> list[str]:
    assert record["as_nobody"]
    assert record["network_watched"]
    return [f"{record['num_tried']} tried, {record['num_harmed']} harm"]


# What each row must say of its record, by script and the beginning of the claim.
FIGURES: dict[tuple[str, str], Callable[[Record], list[str]]] = {
    ("ingest", "ingest runs"): _ingest,
    ("mmssl", "training beats"): _trained,
    ("mmssl", "the default preset"): _gap,
    ("quality", "of eight"): _ranks,
    ("quality", "with 10-20 %"): _shuffled,
    ("merge", "the merge"): _merge,
    ("select", "100 thousand"): _select,
    ("scale", "a million"): _scale,
    ("pretrain", "a training step"): _pretrain,
    ("faults", "of 41 faults"): _faults,
    ("hostile", "of more than 200"): _hostile,
}


def _figures_of(row: dict[str, str]) -> Callable[[Record], list[str]]:
    [found] = [
        f for (script, claim), f in FIGURES.items() if row["script"] == script and row["claim"].startswith(claim)
    ]
    return found


@pytest.mark.parametrize("row", _rows(), ids=lambda row: f"{row['script']}-{row['claim'][:20]}")
def test_a_row_quotes_its_record(row: dict[str, str]):
    record = _record(row["script"], row["commit"], row["date"])
    assert not record["quick"]
    assert record["cpus"] == 2
    assert "note" not in record, "written by hand, not by its script: run the script again"
    missing = [told for told in _figures_of(row)(record) if told not in row["measured"]]
    assert missing == [], row["measured"]


def test_every_claim_has_its_row():
    assert len(_rows()) == len(FIGURES)


def test_no_record_of_uncommitted_code_can_be_named():
    """`ROW` takes no `-dirty`: such a record is there, and a row that names it would be no row."""
    dirty = next(r for r in _records("select") if r["commit"].endswith("-dirty"))
    assert ROW.match(f"| c | m | `{dirty['commit']}`, {dirty['at'][:10]} | `python -m benchmarks.select` |") is None
    assert ROW.match("| c | m | `5c08605`, 2026-11-24 | `python -m benchmarks.select` |") is not None


def test_the_merge_claim_tells_its_bar_at_few_picks():
    [row] = [row for row in _rows() if row["script"] == "merge"]
    assert "at 50 picks .95" in row["claim"]


def test_the_table_of_scale_is_its_record():
    text = (ROOT / "docs/scale.md").read_text()
    [(commit, date)] = re.findall(r"## What is measured \(2 cores, commit `(\w+)`, ([\d-]+)\)", text)
    record = _record("scale", commit, date)
    assert not record["quick"]
    for run in record["runs"]:
        sizes = f"{run['peak_bytes'] / 1e9:.2f} GB | {run['driver_bytes'] / 1e6:.0f} MB"
        assert f"| {run['rows']:,} | {run['wall_s']:.1f} | {sizes} |" in text
    assert f"take {record['times']:.1f} times as long" in text
    assert f"the power {record['exponent']:.2f}" in text
