"""EMBEDDING -> SELECTION and CANDIDATE: the select stage, from this run's embeddings or from anybody's."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import csv, fs

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.distributed.partitions import Progress
from mmcsal.distributed.select import select_over_ray
from mmcsal.distributed.select_store import Store
from mmcsal.rundir import PART_NAME, RunDir, is_part, open_uri
from mmcsal.selection import Selection, SelectSpec
from mmcsal.selection.request import COST, WEIGHT
from mmcsal.selection.spec import TotalCost

REJECTS = "selection_rejects"  # beside rejects/, which belongs to ingest


def select_clips(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Selects the batch and writes it.

    Raises: InputError, TableError: the embeddings, or what is asked for, do not fit.
    """
    filesystem, files = run_dir.filesystem, run_dir.part_paths("embeddings")
    if config.embeddings:
        filesystem, infos = list_parquet(config.embeddings)
        files = [info.path for info in infos]
    spec, store = with_ids(config.select), Store(run_dir, json.dumps(run_dir.started("selection"), sort_keys=True))
    columns = _columns(config, run_dir, spec, filesystem, files)
    selection = select_over_ray(
        files, spec, filesystem=filesystem, columns=columns, seed=config.seed, progress=progress, store=store
    )
    selection = selection.with_uris(_uris(run_dir, selection))
    if selection.rejects.num_rows:
        run_dir.write_part(REJECTS, PART_NAME.format(0), selection.rejects)
    run_dir.write_part("candidates", PART_NAME.format(0), selection.candidates)
    run_dir.write_part("selection", PART_NAME.format(0), selection.table)
    store.clear()
    return {"num_selected": selection.table.num_rows, "summary": selection.summary}


def with_ids(spec: SelectSpec) -> SelectSpec:
    """The spec with the ids of the files that it names.

    Raises: InputError: a file cannot be read, or has no ids.
    """
    lists = {name: getattr(spec, name) for name in ("labeled", "include", "exclude")}
    read = {name: _read_ids(name, path) for name, path in lists.items() if isinstance(path, str)}
    return spec.model_copy(update=read)


def _read_ids(name: str, path: str) -> tuple[str, ...]:
    """Ids of a text file (one a line), or of the `sample_id` column of a .csv or .parquet file."""
    filesystem, root = open_uri(path, what=f"select.{name}")
    try:
        with filesystem.open_input_file(root) as stream:
            if root.endswith(".parquet"):
                table = pq.read_table(stream)
            elif root.endswith(".csv"):
                strings = csv.ConvertOptions(column_types={"sample_id": pa.string()})
                table = csv.read_csv(stream, convert_options=strings)
            else:
                lines = stream.read().decode().splitlines()
                return tuple(line.strip() for line in lines if line.strip())
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise InputError(
            f"select.{name}: {path!r} cannot be read: {error}; give a .txt, .csv or .parquet file"
        ) from error
    if "sample_id" not in table.column_names:
        raise InputError(f"select.{name}: {path!r} has no column 'sample_id'; found {table.column_names}")
    return tuple(table["sample_id"].cast(pa.string()).to_pylist())


def _columns(
    config: RunConfig, run_dir: RunDir, spec: SelectSpec, filesystem: fs.FileSystem, files: list[str]
) -> pa.Table | None:
    """Costs, weights and the columns of quotas: of the manifest, or of the embeddings' own files."""
    wanted = {q.column for q in spec.quotas} | ({COST} if isinstance(spec.budget, TotalCost) else set())
    source = run_dir.dataset("manifest", MANIFEST)
    if config.embeddings:
        source = ds.dataset(files, filesystem=filesystem, format="parquet")
    wanted |= {WEIGHT} & set(source.schema.names)
    present = [name for name in source.schema.names if name in wanted]
    if not wanted:
        return None
    return source.to_table(columns=["sample_id", *present])


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
