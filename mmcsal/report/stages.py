"""How each stage of a run went, from its receipt."""

from typing import Any

from mmcsal.report.facts import Series, StageRun
from mmcsal.storage.rundir import RunDir

# The folders whose stages leave a receipt, in the order in which they run, and what the stage is called.
STAGES = {
    "manifest": "Scan",
    "clips": "Decode",
    "checkpoints": "Pretrain",
    "embeddings": "Embed",
    "selection": "Select",
}
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
    trained = next((s.last for s in series if (s.stage, s.name) == ("pretrain", "num_workers")), None)
    runs = []
    for folder, name in STAGES.items():
        receipt = receipts[folder]
        if receipt is not None:
            workers = receipt.get("num_workers", trained if folder == "checkpoints" else None)
            runs.append(_completed(name, receipt, counts.get(folder), workers))
        elif run_dir.parts(folder) or run_dir.started(folder) is not None:
            runs.append(StageRun(name, "not finished"))
    return tuple(runs)


def _completed(name: str, receipt: Receipt, num_samples: int | None, num_workers: float | None) -> StageRun:
    epochs = receipt.get("num_epochs")
    return StageRun(
        name,
        "resumed" if receipt.get("resumed") else "done",
        wall_s=receipt.get("wall_s"),
        num_items=num_samples if epochs is None else epochs,
        unit="samples" if epochs is None else "epochs",
        # Receipts name retries only where there were any; those that do not know of them know of no resume either.
        num_retries=receipt.get("num_retries", 0 if "resumed" in receipt else None),
        num_workers=None if num_workers is None else int(num_workers),
    )
