"""What the pipeline survives: faults in the middle of every stage, on real nodes, against one undisturbed run.

Every run below is the whole pipeline as a submitted job on a local cluster of a head and two nodes. Printed are the
faults injected and survived, and the rows lost and doubled by all of them. A fault is survived if its run ends with
exit code 0 and the selection of the undisturbed run, row for row. Its recovery time is how long nothing new was
committed.
Needs root for network namespaces and the full disk; without, those runs are left out and told.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import campaign
from benchmarks.campaign import STAGES, Fault, Loss, Scene, loss_of, selection_of
from benchmarks.outcome import arguments, finish
from cluster.local_cluster import LocalCluster
from cluster.netns import NamespacesUnavailableError
from mmcsal.datasets.synthetic.corpus import SyntheticSpec, generate
from mmcsal.storage.rundir import RunDir
from mmcsal.storage.uri import StorageSpec
from tests.object_store.server import FaultyProxy, S3Server

MIN_FAULTS = 30
BUCKET = "campaign"
DISK_BYTES = 96_000_000
SETTINGS = (
    "--budget=16",
    "media={window_s: 2.0, num_frames: 8, frame_size_px: 64}",
    "ingest.samples_per_partition=4",
    "pretrain={epochs: 6, batch_size: 32}",
)
LIMIT_S = 600


@dataclass(frozen=True)
class Run:
    """One pipeline run and what strikes it: pairs of a stage and a fault, in the order of the stages."""

    name: str
    faults: Sequence[tuple[str, Fault]]
    namespaces: bool = False
    on_small_disk: bool = False
    on_s3: bool = False


def everywhere(fault: Fault) -> list[tuple[str, Fault]]:
    return [(stage, fault) for stage in STAGES]


RUNS = (
    Run("lost nodes", everywhere(campaign.lose_node)),
    Run("crashed workers", [("ingest", campaign.crash_decoder), *everywhere(campaign.crash_worker)]),
    Run("lost drivers", [("ingest", campaign.lose_driver), *everywhere(campaign.lose_driver)]),
    Run("cut links", everywhere(campaign.cut_link), namespaces=True),
    Run("briefly cut links", everywhere(campaign.cut_link_briefly), namespaces=True),
    Run("hung nodes", everywhere(campaign.hang_node)),
    Run("slow nodes", everywhere(campaign.slow_node)),
    Run("full object stores", everywhere(campaign.crowd_object_stores)),
    Run("full disk", [(stage, campaign.fill_disk) for stage in ("ingest", "pretrain", "embed")], on_small_disk=True),
    Run("storage outages, 5% failing requests", everywhere(campaign.storage_outage), on_s3=True),
)
QUICK = (Run("lost nodes", [("pretrain", campaign.lose_node)]),)


@dataclass
class Outcome:
    """A fault and what came of it."""

    run: str
    stage: str
    fault: str
    recovery_s: float
    survived: bool = False


def main() -> None:
    args = arguments(__doc__)
    outcomes: list[Outcome] = []
    losses: list[Loss] = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = generate(SyntheticSpec(path=f"{folder}/corpus", num_clips=120, num_broken=8, frame_size_px=64))
        settings = ["--corpus", str(corpus / "clips"), *SETTINGS]
        expected = _undisturbed(Path(folder) / "undisturbed", settings)
        for run in QUICK if args.quick else RUNS:
            try:
                with _scene(run, Path(folder) / run.name.replace(" ", "-"), settings) as scene:
                    found, loss = _strike(run, scene, expected)
            except NamespacesUnavailableError as error:
                print(f"{run.name}: left out: {error}")
                continue
            outcomes += found
            losses += [loss] if loss is not None else []
            for outcome in found:
                told = "survived" if outcome.survived else "NOT SURVIVED"
                print(f"{run.name}: {outcome.fault} in {outcome.stage}: {told}, {outcome.recovery_s:.1f} s", flush=True)
    _finish(outcomes, losses, args)


def _finish(outcomes: list[Outcome], losses: list[Loss], args: Any) -> None:
    num_survived = sum(outcome.survived for outcome in outcomes)
    num_lost, num_doubled = sum(loss.num_lost for loss in losses), sum(loss.num_doubled for loss in losses)
    wanted = 1 if args.quick else MIN_FAULTS
    checks = {
        f"at least {wanted} faults": len(outcomes) >= wanted,
        "every fault is survived": num_survived == len(outcomes),
        "no row is lost": num_lost == 0,
        "no row is doubled": num_doubled == 0,
    }
    slowest = max(outcomes, key=lambda outcome: outcome.recovery_s)
    figures = {
        "num_injected": len(outcomes),
        "num_survived": num_survived,
        "rows_lost": num_lost,
        "rows_doubled": num_doubled,
        "recovery_s": [[o.fault, o.stage, o.recovery_s] for o in outcomes],
    }
    line = (
        f"faults injected {len(outcomes)}, survived {num_survived}, "
        f"rows lost {num_lost}, rows duplicated {num_doubled}; "
        f"slowest recovery {slowest.recovery_s:.1f} s ({slowest.fault} in {slowest.stage})"
    )
    finish("faults", checks, figures, line, args)


def _undisturbed(folder: Path, settings: Sequence[str]) -> RunDir:
    command = [sys.executable, "jobs/run_all.py", "--run-dir", str(folder), *settings]
    subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_S)
    return RunDir(str(folder))


@contextmanager
def _scene(run: Run, folder: Path, settings: Sequence[str]) -> Iterator[Scene]:
    """A cluster of two nodes, and a run that has been submitted to it."""
    with ExitStack() as stack:
        folder.mkdir()
        run_dir, environment, proxy = RunDir(str(folder / "run")), {}, None
        if run.on_small_disk:
            stack.enter_context(_small_disk(folder))
        if run.on_s3:
            s3 = stack.enter_context(S3Server())
            proxy = stack.enter_context(FaultyProxy(s3.url, error_share=0.05, seed=0))
            s3.create_bucket(BUCKET)
            environment = s3.environment()
            stack.enter_context(_variables(environment))
            settings = [*settings, f"storage.endpoint_url={proxy.url}"]
            run_dir = RunDir(f"s3://{BUCKET}/run", StorageSpec(endpoint_url=s3.url))
        cluster = stack.enter_context(LocalCluster(namespaces=run.namespaces, env=environment))
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        scene = Scene(cluster, run_dir, settings, proxy=proxy)
        scene.submit()
        yield scene


def _strike(run: Run, scene: Scene, expected: RunDir) -> tuple[list[Outcome], Loss | None]:
    """Injects the faults of a run one after the other, and compares what it ends with."""
    outcomes: list[Outcome] = []
    try:
        for stage, fault in run.faults:
            scene.wait_for_middle(stage)
            with _recovery(scene, stage) as recovery_s:
                fault(scene, stage)
            outcomes.append(Outcome(run.name, stage, fault.__name__, recovery_s[0]))
        code = scene.job.wait(LIMIT_S)
        assert code == 0, f"exit code {code}: {scene.job.logs()[-2000:]}"
        loss = loss_of(scene.run_dir)
        same = selection_of(scene.run_dir).equals(selection_of(expected))
        for outcome in outcomes:
            outcome.survived = same and loss == Loss(0, 0)
        return outcomes, loss
    except (AssertionError, TimeoutError) as error:
        print(f"{run.name}: {error}", file=sys.stderr)
        missing = run.faults[len(outcomes) :]
        return [*outcomes, *(Outcome(run.name, s, f.__name__, float("inf")) for s, f in missing)], None


@contextmanager
def _recovery(scene: Scene, stage: str) -> Iterator[list[float]]:
    """The seconds from the begin of the block until something new is committed; filled in when the block has ended."""
    begun_s, found = time.monotonic(), []
    mark = scene.mark(stage)

    def watch() -> None:
        while scene.mark(stage) == mark and time.monotonic() - begun_s < LIMIT_S:
            time.sleep(campaign.PAUSE_S)
        found.append(time.monotonic() - begun_s)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield found
    thread.join()


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def _variables(environment: dict[str, str]) -> Iterator[None]:
    """This process looks into the bucket as well."""
    before = {key: os.environ.get(key) for key in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


if __name__ == "__main__":
    main()
