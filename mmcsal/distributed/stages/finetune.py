"""CLIP and labels -> the downstream classifier, on Ray Train: a checkpoint and a part of METRIC each epoch."""

from collections.abc import Iterator
from typing import Any

from mmcsal.config import RunConfig
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.progress import Progress
from mmcsal.distributed.workers.finetune import FINAL_PART, FOLDER, LabelSplit, finetune_loop
from mmcsal.distributed.workers.trainer import epochs_shown, figures_of_part, trained_model, trainer
from mmcsal.evaluation.joins import labeled_clips
from mmcsal.evaluation.samples import split
from mmcsal.labeling.label_file import labels_of
from mmcsal.models.two_tower import MODALITIES
from mmcsal.storage.rundir import RunDir
from mmcsal.training.finetune.classifier import RECALL

NUM_RECALLS = 5  # of the classes that are found least
SHOWN = ("loss", "accuracy", "macro_f1")


def finetune_classifier(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Fine-tunes to the last epoch, from the last checkpoint if there is one.

    Raises:
        InputError, TableError: the labels do not fit the clips, are of one class, or are too few.
    """
    labels, warnings = split_labels(config, run_dir)
    batches = labels.batches(config, run_dir)  # here first: what is wrong ends the stage before Ray starts workers
    if config.finetune.encoders == "pretrained":
        trained_model(run_dir)

    def look() -> tuple[int, str]:
        parts = [part for part in run_dir.parts(FOLDER) if part != FINAL_PART]
        figures = figures_of_part(run_dir, FOLDER, parts[-1])[1] if parts else {}
        return len(parts), ", ".join(f"{name} {figures[name]:.3f}" for name in SHOWN if name in figures)

    with epochs_shown(look, config.finetune.epochs, progress):
        arguments = {"config": config, "run_dir": run_dir, "labels": labels}
        trainer(finetune_loop, arguments, config.finetune, FOLDER).fit()
    return {
        "num_samples": batches.num_clips,
        "num_classes": len(labels.classes),
        "accuracy": figures_of_part(run_dir, FOLDER, FINAL_PART)[1]["accuracy"],
        **({"warnings": warnings} if warnings else {}),
    }


def split_labels(config: RunConfig, run_dir: RunDir) -> tuple[LabelSplit, list[str]]:
    """The clips that have a label, those that are held out among them, and warnings.

    The samples that `mmcsal evaluate` tests with the same labels and seed are held out.

    Raises:
        InputError: see `finetune_classifier`.
    """
    spec = config.finetune
    table, where = labels_of(
        spec.labels,
        config.storage,
        label=spec.label_column,
        aligned=spec.aligned_column,
        section=spec.section,
        manifest=lambda: run_dir.dataset("manifest", MANIFEST),
    )
    samples, warnings = labeled_clips(table, run_dir, where=where)
    _, tested = split(samples, test_fraction=spec.test_fraction, seed=config.seed, section=spec.section)
    label_of = dict(zip(samples.ids.tolist(), samples.label_N.tolist(), strict=True))
    return LabelSplit(samples.classes, label_of, tuple(tested.ids.tolist())), warnings


def text_of(run_dir: RunDir) -> Iterator[str]:
    """The table that is printed: what the classifier is worth, and each modality by itself."""
    figures = figures_of_part(run_dir, FOLDER, FINAL_PART)[1]
    yield f"on {figures['num_tested']:.0f} labeled samples held out; {figures['num_trained']:.0f} were learned"
    yield f"{'':<10}{'accuracy':>10}{'macro F1':>10}{'calibration error':>20}"
    yield f"{'both':<10}{figures['accuracy']:>10.3f}{figures['macro_f1']:>10.3f}{figures['calibration_error']:>20.3f}"
    for modality in MODALITIES:
        yield f"{modality:<10}{figures[f'accuracy_{modality}']:>10.3f}"
    recall = {name.removeprefix(RECALL): value for name, value in figures.items() if name.startswith(RECALL)}
    lowest = sorted(recall, key=lambda name: (recall[name], name))[:NUM_RECALLS]
    yield f"recall, lowest {len(lowest)} of {len(recall)} classes: " + ", ".join(f"{n} {recall[n]:.2f}" for n in lowest)
