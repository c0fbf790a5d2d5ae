"""EMBEDDING -> SELECTION and CANDIDATE: the select stage, from this run's embeddings or from anybody's."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.distributed.partitions import Progress
from mmcsal.distributed.select import select_over_ray
from mmcsal.rundir import PART_NAME, RunDir, is_part, open_uri
from mmcsal.selection import Selection


def select_clips(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Selects the batch and writes it.

    Raises: InputError, TableError: the embeddings or the budget do not fit.
    """
    filesystem, files = run_dir.filesystem, run_dir.part_paths("embeddings")
    if config.embeddings:
        filesystem, infos = list_parquet(config.embeddings)
        files = [info.path for info in infos]
    selection = select_over_ray(files, config.select, filesystem=filesystem, seed=config.seed, progress=progress)
    selection = selection.with_uris(_uris(run_dir, selection))
    run_dir.write_part("candidates", PART_NAME.format(0), selection.candidates)
    run_dir.write_part("selection", PART_NAME.format(0), selection.table)
    return {"num_selected": selection.table.num_rows, "summary": selection.summary}


def list_parquet(folder: str) -> tuple[fs.FileSystem, list[fs.FileInfo]]:
    """The Parquet files below a folder, or the one file that it is, sorted by path, and where they lie.

    Raises: InputError: there are none.
    """
    filesystem, root = open_uri(folder, what="embeddings folder")
    facts = filesystem.get_file_info(root)
    is_folder = facts.type == fs.FileType.Directory
    infos = filesystem.get_file_info(fs.FileSelector(root, recursive=True)) if is_folder else [facts]
    found = [info for info in infos if is_part(info)]
    if not found:
        what = "does not exist" if facts.type == fs.FileType.NotFound else "holds no .parquet file"
        raise InputError(
            f"embeddings folder {folder!r} {what}; expected Parquet files with `sample_id` and two "
            "`<modality>_embedding` columns of fixed_size_list<float>"
        )
    return filesystem, sorted(found, key=lambda info: info.path)


def _uris(run_dir: RunDir, selection: Selection) -> pa.Table:
    """Where the picks lie; empty where the run has no manifest, as for embeddings made elsewhere."""
    picked = pc.field("sample_id").isin(pa.array(selection.sample_ids))
    return run_dir.dataset("manifest", MANIFEST).to_table(columns=["sample_id", "uri"], filter=picked)
