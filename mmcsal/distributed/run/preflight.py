"""What a command names and cannot use, told before anything is written: a slip of the finger costs nothing.

What only the rows of the pool can tell, the stage that reads them tells; what was committed before it stays.
"""

from collections.abc import Sequence

import pyarrow as pa

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.stages import EMBED, EVALUATE, FINETUNE, SELECT, TUNE
from mmcsal.contracts.stages import MANIFEST as SCAN
from mmcsal.datasets import FolderSpec, SyntheticSpec
from mmcsal.datasets.place import is_remote
from mmcsal.distributed.run.plan import PlannedStage
from mmcsal.distributed.stages.ingest import list_samples
from mmcsal.distributed.stages.inputs import embedding_files
from mmcsal.distributed.stages.select import with_ids
from mmcsal.evaluation.joins import MIN_CLASSES
from mmcsal.evaluation.spec import EvaluateSpec
from mmcsal.labeling.label_file import read_labels
from mmcsal.selection.strategies import WarmStart
from mmcsal.storage.parquet_files import read_footers
from mmcsal.storage.rundir import RunDir
from mmcsal.training.finetune.spec import FinetuneSpec


def check_inputs(config: RunConfig, run_dir: RunDir, steps: Sequence[PlannedStage]) -> None:
    """Reads the small files that the stages of a plan are given, and compares what they ask for with what is there.

    Raises:
        InputError: something is missing, cannot be read or does not fit; with the key and the remedy.
    """
    for step in steps:
        if step.action == "committed":
            continue
        match step.stage.facts:
            case facts if facts is SELECT:
                _check_select(config, run_dir)
            case facts if facts in (EVALUATE, TUNE):
                _num_embedded(config, run_dir)  # reads what the files say of themselves
                _check_labels(config, config.evaluate, "evaluate")
            case facts if facts is FINETUNE:
                _check_labels(config, config.finetune, "finetune")


def check_corpus(config: RunConfig, steps: Sequence[PlannedStage]) -> None:
    """Lists the corpus that is about to be scanned, which costs a small part of the scan.

    A folder on an object store is left to the scan, for listing it is all of the scan; so is a corpus that is rendered.

    Raises:
        InputError: there is none, or it is not there, is empty, or cannot be read.
    """
    corpus = config.corpus
    is_left = isinstance(corpus, SyntheticSpec) or (isinstance(corpus, FolderSpec) and is_remote(corpus.path))
    if not is_left and any(step.stage.facts is SCAN and step.action != "committed" for step in steps):
        list_samples(config, has_hashes=False)


def _check_labels(config: RunConfig, spec: EvaluateSpec | FinetuneSpec, section: str) -> None:
    if spec.labels is not None:
        columns = {"label": spec.label_column, "aligned": spec.aligned_column, "section": section}
        _check_classes(read_labels(spec.labels, config.storage, **columns), spec.labels)


def _check_classes(labels: pa.Table, path: str) -> None:
    num_classes = len(labels["label"].drop_null().unique())
    if num_classes < MIN_CLASSES:
        raise InputError(
            f"labels: {path!r} holds labels of {num_classes} classes; give a .csv or .parquet file with labels of at "
            "least two classes"
        )


def _check_select(config: RunConfig, run_dir: RunDir) -> None:
    spec = config.select
    labels = None
    if spec.labels is not None:
        labels = read_labels(spec.labels, config.storage)
        _check_classes(labels, spec.labels)
    if isinstance(spec.strategy, WarmStart) and labels is None:
        raise InputError(
            f"select.strategy: {spec.strategy.kind} chooses by a classifier that labels train, and there are none; "
            "use `mmcsal next-round --labels FILE`, or set select.labels"
        )
    with_ids(spec, config.storage, labels)
    has_own_columns = config.embeddings is not None and config.manifest is None
    unknown = [quota.column for quota in spec.quotas if quota.column not in MANIFEST.names]
    if unknown and not has_own_columns:
        raise InputError(
            f"select.quotas: no column {unknown[0]!r} in the manifest; found {MANIFEST.names}; ask for one of them"
        )
    num_rows = _num_embedded(config, run_dir)
    if isinstance(spec.budget, int) and num_rows and spec.budget > num_rows:
        raise InputError(f"select.budget: {spec.budget} samples, but only {num_rows} are embedded; lower the budget")


def _num_embedded(config: RunConfig, run_dir: RunDir) -> int | None:
    """Rows of the pool; None = that is not known yet."""
    if config.embeddings is None:
        return (run_dir.committed(EMBED.folder) or {}).get("num_embeddings")
    filesystem, files = embedding_files(config, run_dir)
    return sum(footer.num_rows for footer in read_footers(files, filesystem))
