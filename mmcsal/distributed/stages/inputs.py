"""What several stages read: embeddings, manifest and labels, of this run or of whatever the configuration names."""

import numpy as np
import pyarrow as pa
from pyarrow import fs

from mmcsal.config import RunConfig
from mmcsal.contracts.evidence import EVIDENCE
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.evaluation.joins import labeled_samples
from mmcsal.evaluation.samples import Samples
from mmcsal.labeling.label_file import labels_of
from mmcsal.selection.objective.pair_scores import PairScores
from mmcsal.selection.scaleout.request import GivenAlignment
from mmcsal.storage.parquet_files import list_parquet, read_footers
from mmcsal.storage.rundir import RunDir
from mmcsal.storage.tables import Rows, rows_of

# Of embeddings made elsewhere: the score of a pair, and that of one of its modalities with another pair's.
OWN_SCORE, NULL_SCORE = "alignment", "alignment_null"


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


def given_alignment(
    config: RunConfig, run_dir: RunDir, filesystem: fs.FileSystem, files: list[str]
) -> GivenAlignment | None:
    """What there is to tell alignment by, besides the embeddings: evidence with decoys, or columns of the embeddings.

    Raises:
        TableError: the columns are no numbers, or not in every file.
    """
    if not config.select.uses_evidence:
        return None
    if config.embeddings is None:
        evidence = run_dir.dataset("evidence", EVIDENCE).to_table(columns=["sample_id", "mean_log_p", "is_decoy"])
        is_decoy_N = evidence["is_decoy"].to_numpy()
        log_p_N = evidence["mean_log_p"].to_numpy()
        if not is_decoy_N.any():
            return None
        # A decoy's log p is that of the wrong pair: of its own pair nothing is known.
        scores = PairScores(np.where(is_decoy_N, np.nan, log_p_N), log_p_N[is_decoy_N])
        return GivenAlignment(evidence["sample_id"].to_pylist(), scores)
    if not all(OWN_SCORE in footer.schema.names for footer in read_footers(files, filesystem)):
        return None
    schema = pa.schema([("sample_id", pa.string()), (OWN_SCORE, pa.float64()), (NULL_SCORE, pa.float64())])
    given = rows_of(files, filesystem, schema=schema, where=str(config.embeddings)).to_table()
    scores = PairScores(given[OWN_SCORE].to_numpy(), given[NULL_SCORE].drop_null().to_numpy())
    return GivenAlignment(given["sample_id"].to_pylist(), scores)
