"""The one table of stages: what runs each of `contracts.stages`, and what its result depends on.

Stages of which a command seldom runs more than one are imported when they run: their libraries (drawing, statistics,
Ray Train and Tune) take longer to load than a small selection takes to run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mmcsal.config import RunConfig
from mmcsal.contracts import stages
from mmcsal.contracts.progress import Progress
from mmcsal.contracts.stages import StageFacts
from mmcsal.distributed.run import results, settings
from mmcsal.distributed.run.results import Result
from mmcsal.distributed.run.settings import Settings
from mmcsal.distributed.stages.ingest import ingest_clips, scan_corpus
from mmcsal.distributed.stages.select import select_clips
from mmcsal.storage.rundir import RunDir


@dataclass(frozen=True)
class Stage:
    """One stage: what it runs, and what the plan of a command has to know of it."""

    facts: StageFacts
    run: Callable[[RunConfig, RunDir, Progress], dict[str, Any]]
    settings: Callable[[RunConfig], Settings]  # that its result depends on
    result: Callable[[RunConfig, RunDir], Result] | None = None  # what its command says at its end
    resumes: bool = True  # parts of a killed attempt are kept; else the stage starts over
    is_cheap: bool = False  # seconds to minutes: new settings redo it without being asked
    in_place: bool = False  # its files keep their paths: only the driver writes them
    committed: Callable[[RunDir], Any] | None = None  # what a new try goes on from; None = the parts of the folder
    grows: frozenset[str] = frozenset()  # keys whose new value adds parts and leaves those that are there valid

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def folder(self) -> str:
        """That it commits."""
        return self.facts.folder

    def kept(self, run_dir: RunDir) -> Any:
        """What a new try goes on from; falsy where there is nothing."""
        return self.committed(run_dir) if self.committed else run_dir.parts(self.folder)


def pretrain(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    from mmcsal.distributed.stages.pretrain import pretrain_encoders

    return pretrain_encoders(config, run_dir, progress)


def embed(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    from mmcsal.distributed.stages.embed import embed_clips

    return embed_clips(config, run_dir, progress)


def write_report(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    from mmcsal.report.build import build_report

    build_report(run_dir, config.report)
    return {}


def evaluate(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    from mmcsal.distributed.stages.evaluate import evaluate_strategies

    return evaluate_strategies(config, run_dir, progress)


def tune(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    from mmcsal.distributed.stages.tune import tune_lambdas

    return tune_lambdas(config, run_dir, progress)


def finetune(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    from mmcsal.distributed.stages.finetune import finetune_classifier

    return finetune_classifier(config, run_dir, progress)


def pretrain_checkpoints(run_dir: RunDir) -> list[str]:
    from mmcsal.distributed.workers.trainer import checkpoints

    return checkpoints(run_dir, stages.PRETRAIN.folder)


def finetune_checkpoints(run_dir: RunDir) -> list[str]:
    from mmcsal.distributed.workers.trainer import checkpoints

    return checkpoints(run_dir, stages.FINETUNE.folder)


def measured_settings(run_dir: RunDir) -> list[str]:
    from mmcsal.distributed.workers.tune import MEASURED

    return run_dir.names(stages.TUNE.folder, MEASURED)


PIPELINE = (
    Stage(stages.MANIFEST, scan_corpus, settings.of_manifest, resumes=False),
    Stage(stages.INGEST, ingest_clips, settings.of_ingest),
    Stage(stages.PRETRAIN, pretrain, settings.of_pretrain, committed=pretrain_checkpoints),
    Stage(stages.EMBED, embed, settings.of_embed),
    Stage(stages.SELECT, select_clips, settings.of_select, results.of_select, resumes=False, is_cheap=True),
    Stage(
        stages.REPORT,
        write_report,
        settings.of_report,
        results.of_report,
        resumes=False,
        is_cheap=True,
        in_place=True,
    ),
)
BESIDE = (
    Stage(
        stages.EVALUATE,
        evaluate,
        settings.of_evaluate,
        results.of_evaluate,
        grows=frozenset(f"evaluate.{key}" for key in ("groups", "contenders", "num_seeds", "first_seed")),
    ),
    Stage(stages.TUNE, tune, settings.of_tune, results.of_tune, committed=measured_settings),
    Stage(
        stages.FINETUNE,
        finetune,
        settings.of_finetune,
        results.of_finetune,
        committed=finetune_checkpoints,
    ),
)


def ray_stages(names: Sequence[str]) -> list[str]:
    """Those of the named stages that run on Ray."""
    return [stage.name for stage in stages.ALL_STAGES if stage.needs_ray and stage.name in names]
