"""One pipeline run under faults: submit it to a local cluster, wait for the middle of a stage, break something.

A fault is a function of the scene and a stage. It leaves the cluster fit to go on: a lost node is replaced, a lost
driver is submitted again, as people or their tools would do.
"""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.local_cluster import Job, LocalCluster, Node
from cluster.processes import wait_until
from mmcsal.storage.rundir import RunDir

FOLDERS = {"ingest": "clips", "pretrain": "checkpoints", "embed": "embeddings", "select": "selection"}
STAGES = tuple(FOLDERS)
# What the processes call themselves while they work for a stage.
WORKERS = {
    "ingest": "IngestWorker",
    "pretrain": "RayTrainWorker",
    "embed": "EmbedWorker",
    "select": "ray::_",
}
# Twice what the store of a node holds, on each node.
CROWD = """
import numpy as np, ray, time
ray.init(log_to_driver=False)
@ray.remote(num_cpus=0, scheduling_strategy="SPREAD")
def crowd():
    kept = [ray.put(np.ones(20_000_000, np.uint8)) for _ in range(20)]
    time.sleep(5)
    return len(kept)
print(ray.get([crowd.remote() for _ in range(3)]))
"""
DECODER = "guard.child"
LIMIT_S = 900  # for one thing to come, on a busy machine too
PAUSE_S = 0.02


@dataclass
class Scene:
    """A cluster, and one run of the pipeline on it, submitted again when its driver is lost."""

    cluster: LocalCluster
    run_dir: RunDir
    arguments: Sequence[str]
    proxy: Any = None  # in front of the object store: tests.object_store.server.FaultyProxy
    jobs: list[Job] = field(default_factory=list)

    def submit(self) -> None:
        command = [sys.executable, "jobs/run_all.py", "--run-dir", self.run_dir.uri, *self.arguments]
        self.jobs.append(self.cluster.submit(command))

    @property
    def job(self) -> Job:
        return self.jobs[-1]

    def num_committed(self, stage: str) -> int:
        """Parts of a stage that are committed; epochs of pretrain; 1 once select has begun."""
        if stage == "select":
            return int(self.run_dir.started("selection") is not None)
        return len(self.run_dir.parts("metrics" if stage == "pretrain" else FOLDERS[stage]))

    def is_over(self, stage: str) -> bool:
        return self.run_dir.committed(FOLDERS[stage]) is not None

    def wait_for_middle(self, stage: str) -> None:
        """Returns while the stage is at work, a part or an epoch after now.

        Raises: AssertionError: it was over before. TimeoutError: it did not get there.
        """
        wanted = self.num_committed(stage) + 1 if stage != "select" else 1
        try:
            wait_until(
                lambda: self.num_committed(stage) >= wanted or self.is_over(stage),
                LIMIT_S,
                f"{stage} is under way",
                PAUSE_S,
            )
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the job's log ends with\n{self.job.logs()[-3000:]}") from None
        if stage == "select":
            wait_until(lambda: bool(self.workers(stage)) or self.is_over(stage), LIMIT_S, "select has tasks", PAUSE_S)
        assert not self.is_over(stage), f"{stage} was over before the fault"

    def mark(self, stage: str) -> tuple[int, bool]:
        """Changes when the stage commits something."""
        return self.num_committed(stage), self.is_over(stage)

    def workers(self, stage: str) -> list[tuple[Node, int]]:
        """The processes that work for a stage now, and their nodes."""
        nodes = [node for node in self.cluster.nodes[1:] if not node.ended()]
        return [(node, pid) for node in nodes for pid in node.pids() if WORKERS[stage] in _title(pid)]

    def worker(self, stage: str) -> tuple[Node, int]:
        """One of the processes that work for a stage, as soon as there is one; tasks of select live for a moment."""
        found: list[tuple[Node, int]] = []

        def look() -> bool:
            found.extend(self.workers(stage))
            return bool(found)

        wait_until(look, LIMIT_S, f"{stage} has workers", PAUSE_S)
        return found[0]

    def working_node(self, stage: str) -> Node:
        return self.worker(stage)[0]


Fault = Callable[[Scene, str], None]


def lose_node(scene: Scene, stage: str) -> None:
    """A node without power; another takes its place."""
    scene.working_node(stage).kill()
    scene.cluster.add_node(num_cpus=1)


def cut_link(scene: Scene, stage: str) -> None:
    """A node that the cluster cannot reach until it is given up; then the link is back, and a new node comes."""
    node = scene.working_node(stage)
    node.cut()
    _replace_when_given_up(scene, node, then=node.restore)


def cut_link_briefly(scene: Scene, stage: str) -> None:
    """A link that is back before the node is given up."""
    node = scene.working_node(stage)
    node.cut()
    time.sleep(3.0)
    node.restore()


def hang_node(scene: Scene, stage: str) -> None:
    """A node that stands still until it is given up, then goes on as if it were still one of the cluster."""
    node = scene.working_node(stage)
    node.pause()
    _replace_when_given_up(scene, node, then=node.resume)


def slow_node(scene: Scene, stage: str) -> None:
    """A node that stands still for a while, not long enough to be given up."""
    node = scene.working_node(stage)
    node.pause()
    time.sleep(4.0)
    node.resume()


def crash_worker(scene: Scene, stage: str) -> None:
    """The process that works for the stage dies."""
    os.kill(scene.worker(stage)[1], signal.SIGKILL)


def crash_decoder(scene: Scene, stage: str) -> None:
    """A decoder process dies in the middle of a file: the file is decoded once more, not rejected."""
    pids = [pid for node in scene.cluster.nodes[1:] for pid in node.pids() if DECODER in _title(pid)]
    os.kill(pids[0], signal.SIGKILL)


def lose_driver(scene: Scene, stage: str) -> None:
    """The driver dies; the same command is submitted again."""
    scene.job.kill_driver()
    scene.job.wait(LIMIT_S)
    scene.submit()


def fill_disk(scene: Scene, stage: str) -> None:
    """The disk of the run directory is full: the run ends and says so; with space again, the same command goes on."""
    filler = Path(scene.run_dir.root).parent / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):  # what a buffer holds back would fail once more
        while True:
            file.write(bytes(2**16))
    code = scene.job.wait(LIMIT_S)
    last_line = scene.job.logs().strip().splitlines()[-1]
    assert (code, "free some space" in last_line) == (1, True), f"exit code {code}: {last_line}"
    filler.unlink()
    scene.submit()


def crowd_object_stores(scene: Scene, stage: str) -> None:
    """Another job fills the object stores of all nodes, so that they spill to disk."""
    other = scene.cluster.submit([sys.executable, "-c", CROWD], working_dir=None)
    assert other.wait(LIMIT_S) == 0, other.logs()


def storage_outage(scene: Scene, stage: str) -> None:
    """The object store does not answer for a while."""
    scene.proxy.outage(5.0)
    time.sleep(5.0)


def _replace_when_given_up(scene: Scene, node: Node, then: Callable[[], None]) -> None:
    wait_until(lambda: not node.alive, LIMIT_S, "the node is given up")
    then()
    scene.cluster.add_node(num_cpus=1)
    node.kill()


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True)
class Loss:
    """How many samples a finished run has lost, and how many it has twice."""

    num_lost: int
    num_doubled: int


def loss_of(run_dir: RunDir) -> Loss:
    """Each sample of the manifest is a clip or a reject, once; each clip is embedded, once; each pick is one sample."""
    manifest = _ids(run_dir, "manifest")
    outcome = _ids(run_dir, "clips") + _ids(run_dir, "rejects")
    clips, embedded, picks = (_ids(run_dir, folder) for folder in ("clips", "embeddings", "selection"))
    lost = (manifest - outcome) + (clips - embedded)
    doubled = (outcome - manifest) + (embedded - clips) + Counter({i: n - 1 for i, n in picks.items() if n > 1})
    return Loss(lost.total(), doubled.total())


def selection_of(run_dir: RunDir) -> pa.Table:
    return run_dir.dataset("selection").to_table().sort_by("rank")


def _ids(run_dir: RunDir, folder: str) -> Counter[str]:
    if not run_dir.parts(folder):
        return Counter()
    return Counter(run_dir.dataset(folder).to_table(columns=["sample_id"])["sample_id"].to_pylist())
