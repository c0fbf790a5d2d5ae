"""What a command says at its end: where its result lies, and the rows of text that answer the question.

What only one of the commands needs is imported when it ends: see `stages`.
"""

from dataclasses import dataclass

from mmcsal.config import RunConfig
from mmcsal.storage.rundir import RunDir


@dataclass(frozen=True)
class Result:
    """Of one stage: rows for stdout, then lines for stderr."""

    places: tuple[str, ...]
    rows: tuple[str, ...] = ()


def of_select(config: RunConfig, run_dir: RunDir) -> Result:
    num_selected = (run_dir.committed("selection") or {}).get("num_selected")
    return Result((f"selection: {num_selected} samples in {run_dir.path('selection')}",))


def of_evaluate(config: RunConfig, run_dir: RunDir) -> Result:
    from mmcsal.distributed.stages import evaluate
    from mmcsal.evaluation.statistics import results_of
    from mmcsal.evaluation.table import text_of

    rows = text_of(results_of(evaluate.trials(run_dir, config.evaluate)))
    return Result((f"evaluation: {run_dir.path(evaluate.PAGE)}",), tuple(rows))


def of_tune(config: RunConfig, run_dir: RunDir) -> Result:
    from mmcsal.distributed.stages import tune
    from mmcsal.tuning.text import text_of

    fragment, page = run_dir.path(tune.FRAGMENT), run_dir.path(tune.PAGE)
    rows = text_of(tune.tuning(run_dir))
    return Result((f"tune: settings for --config: {fragment}", f"tune: {page}"), tuple(rows))


def of_finetune(config: RunConfig, run_dir: RunDir) -> Result:
    from mmcsal.distributed.stages.finetune import text_of
    from mmcsal.distributed.workers.finetune import CLASSIFIER_FILE, FOLDER

    return Result((f"classifier: {run_dir.path(FOLDER, CLASSIFIER_FILE)}",), tuple(text_of(run_dir)))


def of_report(config: RunConfig, run_dir: RunDir) -> Result:
    return Result((f"report: {run_dir.path('report', 'report.html')}",))
