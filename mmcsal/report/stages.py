"""How each stage of a run went, from its receipt."""

from typing import Any

from mmcsal.contracts.stages import PIPELINE, PRETRAIN, REPORT, StageFacts
from mmcsal.report.facts import Series, StageRun
from mmcsal.storage.rundir import RunDir

# In the order in which they run; the report itself is under way while it is written.
REPORTED = tuple(stage for stage in PIPELINE if stage is not REPORT)
Receipt = dict[str, Any]


def stage_runs(
    run_dir: RunDir, receipts: dict[str, Receipt | None], counts: dict[str, int | None], series: tuple[Series, ...]
) -> tuple[StageRun, ...]:
    """The stages that were completed or begun, in their order.

    Args:
        receipts: by folder.
        counts: samples that each stage went through, by folder.
        series: the metrics, for what only they tell.
    """
    trained = next((s.last for s in series if (s.stage, s.name) == (PRETRAIN.name, "num_workers")), None)
    runs = []
    for stage in REPORTED:
        receipt = receipts[stage.folder]
        if receipt is not None:
            workers = receipt.get("num_workers", trained if stage is PRETRAIN else None)
            runs.append(_completed(stage, receipt, counts.get(stage.folder), workers))
        elif run_dir.parts(stage.folder) or run_dir.started(stage.folder) is not None:
            runs.append(StageRun(stage.title, "not finished"))
    return tuple(runs)


def _completed(stage: StageFacts, receipt: Receipt, num_samples: int | None, num_workers: float | None) -> StageRun:
    return StageRun(
        stage.title,
        "resumed" if receipt.get("resumed") else "done",
        wall_s=receipt.get("wall_s"),
        num_items=receipt.get("num_epochs") if stage.unit == "epochs" else num_samples,
        unit=stage.unit,
        # Receipts name retries only where there were any; those that do not know of them know of no resume either.
        num_retries=receipt.get("num_retries", 0 if "resumed" in receipt else None),
        num_workers=None if num_workers is None else int(num_workers),
    )
