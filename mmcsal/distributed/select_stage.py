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
from mmcsal.rundir import PART_NAME, RunDir
from mmcsal.selection import Selection


def select_clips(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Selects the batch and writes it.

    Raises: InputError, TableError: the embeddings or the budget do not fit.
    """
    folder = config.embeddings or run_dir.path("embeddings")
    filesystem = fs.FileSystem.from_uri(folder)[0] if "://" in folder else run_dir.filesystem
    files = [info.path for info in list_parquet(folder)] if config.embeddings else run_dir.part_paths("embeddings")
    selection = select_over_ray(
        files,
        config.select,
        filesystem=None if isinstance(filesystem, fs.LocalFileSystem) else filesystem,
        seed=config.seed,
        progress=progress,
    )
    selection = selection.with_uris(_uris(run_dir, selection))
    run_dir.write_part("candidates", PART_NAME.format(0), selection.candidates)
    run_dir.write_part("selection", PART_NAME.format(0), selection.table)
    return {"num_selected": selection.table.num_rows, "summary": selection.summary}


def list_parquet(folder: str) -> list[fs.FileInfo]:
    """The Parquet files below a folder, or the one file that it is, sorted by path.

    Raises: InputError: there are none.
    """
    filesystem, root = fs.FileSystem.from_uri(folder) if "://" in folder else (fs.LocalFileSystem(), folder)
    facts = filesystem.get_file_info(root)
    infos = (
        filesystem.get_file_info(fs.FileSelector(root, recursive=True)) if facts.type == fs.FileType.Directory else []
    )
    infos = [facts] if facts.type == fs.FileType.File else infos
    found = [i for i in infos if i.is_file and i.path.endswith(".parquet") and not i.base_name.startswith((".", "_"))]
    if not found:
        what = "does not exist" if facts.type == fs.FileType.NotFound else "holds no .parquet file"
        raise InputError(
            f"embeddings folder {folder!r} {what}; expected Parquet files with `sample_id` and two "
            "`<modality>_embedding` columns of fixed_size_list<float>"
        )
    return sorted(found, key=lambda info: info.path)


def _uris(run_dir: RunDir, selection: Selection) -> pa.Table:
    """Where the picks lie; empty where the run has no manifest, as for embeddings made elsewhere."""
    picked = pc.field("sample_id").isin(pa.array(selection.sample_ids))
    return run_dir.dataset("manifest", MANIFEST).to_table(columns=["sample_id", "uri"], filter=picked)
