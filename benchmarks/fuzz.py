"""What ingest makes of thousands of damaged files: each is a clip or a reject, and the job ends well and in time.

Valid files of twelve kinds (container and codecs) are mutated in six ways: bytes, truncation, numbers of the header,
boxes, packets, and indexes that promise more frames than there are (decord#373). They go through the scan and the
ingest of a real run, with its decoder processes. Printed are clips and rejects by kind, rejects by reason, and what
must be zero: files that are neither or both, jobs that fail, decoders that are left behind.
"""

import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.mutate import KINDS, MUTATIONS, write_valid
from benchmarks.outcome import arguments, finish
from mmcsal.config import RunConfig, load_config
from mmcsal.contracts.reject import REJECT
from mmcsal.distributed.cluster.session import ray_session
from mmcsal.distributed.stages.ingest import ingest_clips, scan_corpus
from mmcsal.storage.rundir import RunDir

NUM_FILES = 2000
LIMIT_S = 600  # of the job; a file that hangs its decoder costs media.timeout_s of it
CLIP_IDS = pa.schema([pa.field("sample_id", pa.string())])
GRACE_S = 20  # for decoders to see that their workers are gone
VALID = "valid"
SETTINGS = (
    "media={window_s: 1.0, num_frames: 4, frame_size_px: 32, timeout_s: 10.0, recycle_after_clips: 200}",
    "max_reject_fraction=1.0",
)


def main() -> None:
    args = arguments(__doc__)
    num_files, limit_s = (len(KINDS) * len(MUTATIONS), 120) if args.quick else (NUM_FILES, LIMIT_S)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        names = write_corpus(corpus, num_files)
        config = load_config(
            None, [f"corpus={corpus}", *SETTINGS, f"ingest.samples_per_partition={16 if args.quick else 32}"]
        )
        run_dir = RunDir(str(Path(folder) / "run"))
        before = decoders()
        begun_s = time.perf_counter()
        failure = _ingest(config, run_dir, limit_s)
        wall_s = time.perf_counter() - begun_s
        results = _results(run_dir)
        left_behind = _left_behind(before)
    if failure:
        print(f"the job failed: {failure}")
    counts = Counter(sample_id for sample_id, _ in results)
    lost = [name for name in names if counts[name] != 1]
    by_kind = _by_kind(results)
    for kind, outcomes in by_kind.items():
        print(f"{kind:<17} " + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()))
    reasons = Counter(reason for _, reason in results)
    num_valid = sum(f"/{VALID}." in sample_id and outcome == "clip" for sample_id, outcome in results)
    figures = {
        "num_files": num_files,
        "num_kinds": len(KINDS),
        "outcomes": dict(reasons.most_common()),
        "num_lost": len(lost),
        "job_failure": failure,
        "num_hung_workers": len(left_behind),
        "wall_s": wall_s,
    }
    checks = {"0 lost": not lost, "0 job failures": failure is None, "0 hung workers": not left_behind}
    checks["all valid files are clips"] = num_valid == len(KINDS)
    if lost:
        print(f"lost or doubled, first: {lost[:5]}")
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    line = (
        f"{num_files} damaged files of {len(KINDS)} kinds: {len(lost)} lost, {int(failure is not None)} job failures, "
        f"{len(left_behind)} hung workers in {wall_s:.0f} s ({listed})"
    )
    finish("fuzz", checks, figures, line, args)


def write_corpus(corpus: Path, num_files: int) -> list[str]:
    """Writes mutated files, kinds and mutations in turn; returns their sample ids."""
    corpus.mkdir()
    valid: dict[str, bytes] = {}
    for kind, facts in KINDS.items():
        path = corpus.parent / f"valid.{facts.suffix}"
        write_valid(facts, path)
        valid[kind] = path.read_bytes()
    names = []
    for number in range(num_files):
        kind = list(KINDS)[number % len(KINDS)]
        mutation = list(MUTATIONS)[number // len(KINDS) % len(MUTATIONS)]
        rng = random.Random(f"{kind} {mutation} {number}")
        name = f"{kind.replace(' ', '-')}/{mutation}-{number:05d}.{KINDS[kind].suffix}"
        (corpus / name).parent.mkdir(exist_ok=True)
        (corpus / name).write_bytes(MUTATIONS[mutation](valid[kind], rng))
        names.append(name)
    for kind, data in valid.items():  # as they are: what is damaged below was whole before
        names.append(f"{kind.replace(' ', '-')}/{VALID}.{KINDS[kind].suffix}")
        (corpus / names[-1]).write_bytes(data)
    return names


def decoders() -> set[int]:
    """The decoder processes that this environment has started."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            command = (process / "cmdline").read_bytes().split(b"\0")
            if command[0] == sys.executable.encode() and any(b"mmcsal.media" in part for part in command[1:]):
                found.add(int(process.name))
    return found


def _left_behind(before: set[int]) -> set[int]:
    """Decoders that outlive the job: they look once a second whether their worker is still there."""
    for _ in range(GRACE_S):
        if not decoders() - before:
            break
        time.sleep(1.0)
    return decoders() - before


def _ingest(config: RunConfig, run_dir: RunDir, limit_s: int) -> str | None:
    """What went wrong with the job; None = nothing. All damaged is no failure: the share that may be is 1."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"the job was not done after {limit_s} s")

    signal.signal(signal.SIGALRM, stop)
    with ray_session(config.cluster):
        signal.alarm(limit_s)
        try:
            scan_corpus(config, run_dir, lambda *_: None)
            ingest_clips(config, run_dir, lambda *_: None)
        except Exception as error:
            return f"{type(error).__name__}: {error}".splitlines()[0]
        finally:
            signal.alarm(0)
    return None


def _results(run_dir: RunDir) -> list[tuple[str, str]]:
    """The id of each clip and each reject, and which of both it is: `clip`, or the reason."""
    clips = run_dir.dataset("clips", CLIP_IDS).to_table()["sample_id"].to_pylist()
    rejects = run_dir.dataset("rejects", REJECT).to_table(columns=["sample_id", "reason"]).to_pylist()
    return [*((sample_id, "clip") for sample_id in clips), *((row["sample_id"], row["reason"]) for row in rejects)]


def _by_kind(results: list[tuple[str, str]]) -> dict[str, Counter[str]]:
    outcomes: dict[str, Counter[str]] = {}
    for sample_id, outcome in sorted(results):
        outcomes.setdefault(sample_id.split("/")[0], Counter())[outcome] += 1
    return outcomes


if __name__ == "__main__":
    main()
