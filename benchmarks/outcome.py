"""How every benchmark ends: figures in a dated file, the ratio in the last line, the target in the exit code."""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def arguments(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a smaller run of under a minute, for a first look")
    parser.add_argument("--no-record", action="store_true", help="do not append to benchmarks/results/")
    return parser.parse_args()


def finish(
    name: str, checks: dict[str, bool], figures: dict[str, Any], last_line: str, args: argparse.Namespace
) -> None:
    """Appends the figures, prints each check that failed and the last line; exits 1 if one failed."""
    if not args.no_record:
        RESULTS.mkdir(exist_ok=True)
        record = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **_circumstances(args), **figures}
        with open(RESULTS / f"{name}.jsonl", "a") as file:
            file.write(json.dumps(_rounded(record)) + "\n")
    for check, passed in checks.items():
        if not passed:
            print(f"below target: {check}")
    print(last_line)
    sys.exit(0 if all(checks.values()) else 1)


def _rounded(value: Any) -> Any:
    """The same with floats of four significant digits: more is noise that a reader has to skip."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _circumstances(args: argparse.Namespace) -> dict[str, Any]:
    described = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {
        "quick": args.quick,
        "commit": described.stdout.strip() or None,
        "cpus": os.cpu_count(),
        "cpu": _cpu_model(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
