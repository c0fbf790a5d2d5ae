"""What several stages read: embeddings, manifest and labels, of this run or of whatever the configuration names."""

from pyarrow import fs

from mmcsal.config import RunConfig
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.evaluation.joins import labeled_samples
from mmcsal.evaluation.samples import Samples
from mmcsal.labeling.label_file import labels_of
from mmcsal.storage.parquet_files import list_parquet
from mmcsal.storage.rundir import RunDir
from mmcsal.storage.tables import Rows, rows_of


def embedding_files(config: RunConfig, run_dir: RunDir) -> tuple[fs.FileSystem, list[str]]:
    """The files of this run's embeddings, or of those made elsewhere, and where they lie.

    Raises:
        InputError: there are none.
    """
    if not config.embeddings:
        return run_dir.filesystem, run_dir.part_paths("embeddings")
    filesystem, infos = list_parquet(config.embeddings, config.storage)
    return filesystem, [info.path for info in infos]


def manifest_of(config: RunConfig, run_dir: RunDir) -> Rows:
    """The run's own manifest, or the one that is named; empty where there is none.

    Raises:
        InputError: what is named holds no Parquet files.
    """
    if config.manifest is None:
        return run_dir.dataset("manifest", MANIFEST)
    filesystem, infos = list_parquet(config.manifest, config.storage, what="manifest")
    return rows_of([info.path for info in infos], filesystem, schema=MANIFEST, where=config.manifest)


def samples_with_labels(config: RunConfig, run_dir: RunDir) -> Samples:
    """The embedded samples that have a label, in `evaluate.labels` or in the manifest.

    Raises:
        InputError, TableError: see `labeled_samples`.
    """
    spec = config.evaluate
    table, where = labels_of(
        spec.labels,
        config.storage,
        label=spec.label_column,
        aligned=spec.aligned_column,
        section="evaluate",
        manifest=lambda: manifest_of(config, run_dir),
    )
    filesystem, files = embedding_files(config, run_dir)
    return labeled_samples(table, files, filesystem, where=where)
