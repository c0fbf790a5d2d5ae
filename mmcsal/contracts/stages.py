"""The stages of a run: what each is called and which folders it fills; what runs it is in `distributed/run`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class StageFacts:
    """What is known of a stage without running it."""

    name: str  # in commands, `status.json`, the errors and the METRIC and REJECT tables
    folder: str  # of the run directory, that it commits
    title: str  # in the report
    side_folders: tuple[str, ...] = ()  # that it fills as well
    unit: Literal["samples", "epochs"] = "samples"  # of what it works off, in the report
    after: str | None = None  # of a stage beside the pipeline, that only its own command runs: what it builds on
    needs_ray: bool = True
    may_use_gpus: bool = False  # where the cluster has some: see `cluster.use_gpus`

    def again(self, run_dir: str) -> str:
        """The command that does the stage again, for errors."""
        command = "ingest" if self.name == "manifest" else self.name  # the scan has no command of its own
        return f"`mmcsal {command} --run-dir {run_dir} --redo {self.name}`"

    def lost(self, what: str, run_dir: str) -> str:
        """That some of what the stage has made is gone, and what to do."""
        return f"{what}; put the files back, or make them again: {self.again(run_dir)}"


MANIFEST = StageFacts("manifest", "manifest", "Scan", needs_ray=False)
INGEST = StageFacts("ingest", "clips", "Decode", side_folders=("rejects",))
PRETRAIN = StageFacts(
    "pretrain", "checkpoints", "Pretrain", side_folders=("metrics", "evidence"), unit="epochs", may_use_gpus=True
)
EMBED = StageFacts("embed", "embeddings", "Embed", may_use_gpus=True)
SELECT = StageFacts("select", "selection", "Select", side_folders=("candidates", "selection_rejects"))
REPORT = StageFacts("report", "report", "Report", needs_ray=False)
EVALUATE = StageFacts("evaluate", "evaluation", "Evaluate", after="embed")
TUNE = StageFacts("tune", "tuning", "Tune", after="embed")
FINETUNE = StageFacts("finetune", "classifier", "Finetune", unit="epochs", after="pretrain", may_use_gpus=True)

PIPELINE = (MANIFEST, INGEST, PRETRAIN, EMBED, SELECT, REPORT)  # in the order in which `mmcsal run` runs them
BESIDE = (EVALUATE, TUNE, FINETUNE)
ALL_STAGES = (*PIPELINE, *BESIDE)
STAGE_NAMES = tuple(stage.name for stage in PIPELINE)
FOLDERS = (
    *(stage.folder for stage in ALL_STAGES),
    *(name for stage in ALL_STAGES for name in stage.side_folders),
)
NAME_WIDTH = max(len(stage.name) for stage in ALL_STAGES) + 1  # of a column of names


def facts_of(name: str) -> StageFacts:
    """Of the stage of this name."""
    return next(stage for stage in ALL_STAGES if stage.name == name)
