"""EMBEDDING -> SELECTION and CANDIDATE: the select stage, from this run's embeddings or from anybody's."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from mmcsal.config import RunConfig
from mmcsal.contracts.embedding import SUFFIX
from mmcsal.contracts.errors import InputError, RejectLimitError, TableError, on_one_line
from mmcsal.contracts.progress import Progress
from mmcsal.contracts.selection import SELECTION
from mmcsal.distributed.selection.checkpoint import Store
from mmcsal.distributed.selection.ray_runner import select_over_ray
from mmcsal.distributed.stages.inputs import embedding_files, given_alignment, manifest_of
from mmcsal.evaluation.joins import labeled_samples
from mmcsal.evaluation.probe import cross_validated, fit_samples
from mmcsal.labeling.id_file import read_ids
from mmcsal.labeling.label_file import read_labels
from mmcsal.selection import Selection, SelectSpec
from mmcsal.selection.scaleout.request import COST, WEIGHT
from mmcsal.selection.spec import TotalCost
from mmcsal.selection.strategies import WarmStart
from mmcsal.storage.parquet_files import list_parquet, read_footers
from mmcsal.storage.rundir import PART_NAME, RunDir
from mmcsal.storage.tables import rows_of
from mmcsal.storage.uri import StorageSpec, is_of_service

PICKS = pa.schema([SELECTION.field("sample_id")])  # what of an earlier selection is read
REJECTS = "selection_rejects"  # beside rejects/, which belongs to ingest


def select_clips(config: RunConfig, run_dir: RunDir, progress: Progress) -> dict[str, Any]:
    """Selects the batch and writes it.

    Raises:
        InputError, TableError: the embeddings, or what is asked for, do not fit.
        RejectLimitError: more than `max_reject_fraction` of the rows have bad vectors.
    """
    filesystem, files = embedding_files(config, run_dir)
    labels = read_labels(config.select.labels, config.storage) if config.select.labels is not None else None
    spec = with_ids(config.select, config.storage, labels)
    classifier, learned = None, {}
    if labels is not None:
        samples = labeled_samples(labels, files, filesystem, where=repr(config.select.labels))
        learned = {"num_labels": len(samples), "accuracy": cross_validated(samples)}
        if isinstance(spec.strategy, WarmStart):
            classifier = fit_samples(samples)
    store = Store(run_dir, json.dumps(run_dir.started("selection"), sort_keys=True))
    columns = _columns(config, run_dir, spec, filesystem, files)
    selection = select_over_ray(
        files,
        spec,
        filesystem=filesystem,
        columns=columns,
        seed=config.seed,
        classifier=classifier,
        alignment=given_alignment(config, run_dir, filesystem, files),
        progress=progress,
        store=store,
    )
    selection = selection.with_uris(_uris(config, run_dir, selection))
    num_rejects = selection.rejects.num_rows
    if num_rejects:
        run_dir.write_part(REJECTS, PART_NAME.format(0), selection.rejects)
    _check_rejects(num_rejects, num_rejects + selection.summary["num_pool"], config, run_dir)
    run_dir.write_part("candidates", PART_NAME.format(0), selection.candidates)
    run_dir.write_part("selection", PART_NAME.format(0), selection.table)
    store.clear()
    counts = {"num_rejects": num_rejects} if num_rejects else {}
    return {"num_selected": selection.table.num_rows, **counts, **learned, "summary": selection.summary}


def _check_rejects(num_rejects: int, num_rows: int, config: RunConfig, run_dir: RunDir) -> None:
    if num_rejects > config.max_reject_fraction * num_rows:
        raise RejectLimitError(
            f"select: {num_rejects} of {num_rows} rows have vectors that are missing, zero or not finite; "
            f"max_reject_fraction is {config.max_reject_fraction:g}; see {run_dir.path(REJECTS)}, then embed these "
            "samples again or raise max_reject_fraction, and run the same command"
        )


def with_ids(spec: SelectSpec, storage: StorageSpec | None = None, labels: pa.Table | None = None) -> SelectSpec:
    """The spec with the ids of the files that it names.

    Args:
        labels: of `select.labels`.

    Raises:
        InputError: see `read_ids`.
    """
    lists = {name: getattr(spec, name) for name in ("labeled", "include", "exclude")}
    ids = {
        name: read_ids(given, storage, key=f"select.{name}") if isinstance(given, str) else given
        for name, given in lists.items()
    }
    known = labels.filter(labels["label"].is_valid())["sample_id"].to_pylist() if labels is not None else []
    ids["labeled"] = tuple(dict.fromkeys([*ids["labeled"], *known]))
    picked = [i for folder in spec.earlier for i in _read_picks(folder, storage)]
    named = {*ids["labeled"], *ids["include"], *ids["exclude"]}
    ids["exclude"] = (*ids["exclude"], *(i for i in dict.fromkeys(picked) if i not in named))
    return spec.model_copy(update={**ids, "labels": None, "earlier": ()})


def _read_picks(folder: str, storage: StorageSpec | None) -> list[str]:
    """The ids of an earlier selection.

    Raises:
        InputError, TableError: it is none.
    """
    filesystem, infos = list_parquet(folder, storage, what="select.earlier")
    rows = rows_of([info.path for info in infos], filesystem, schema=PICKS, where=f"select.earlier {folder!r}")
    ids = rows.to_table()["sample_id"]
    if ids.null_count:
        raise TableError(f"{rows.where}: {ids.null_count} rows have no sample_id; expected a selection's own folder")
    return ids.to_pylist()


def _columns(
    config: RunConfig, run_dir: RunDir, spec: SelectSpec, filesystem: fs.FileSystem, files: list[str]
) -> pa.Table | None:
    """Costs, weights and the columns of quotas: of the manifest, or of the embeddings' own files.

    Raises:
        InputError: a column that is asked for is not there.
        TableError: the files disagree on its type.
    """
    wanted_by = {q.column: "select.quotas" for q in spec.quotas}
    if isinstance(spec.budget, TotalCost):
        wanted_by[COST] = "select.budget"
    has_own_columns = config.embeddings is not None and config.manifest is None
    where = config.embeddings if has_own_columns else config.manifest or run_dir.path("manifest")
    names = {"sample_id", WEIGHT, *wanted_by}
    source = manifest_of(config, run_dir)
    try:
        if has_own_columns:
            schemas = [footer.schema for footer in read_footers(files, filesystem)]
            narrow = [pa.schema([field for field in schema if field.name in names]) for schema in schemas]
            common = pa.unify_schemas(narrow, promote_options="permissive")
            source = rows_of(files, filesystem, schema=common, where=str(where))
        else:
            schemas = [source.schema]
        missing = [name for name in wanted_by if name not in source.schema.names]
        if missing:
            found = [name for name in schemas[0].names if name != "sample_id" and not name.endswith(SUFFIX)]
            raise InputError(
                f"{wanted_by[missing[0]]}: no column {missing[0]!r} in {where}; found {found or 'none'}; "
                "add it for every sample, or ask for one that is there"
            )
        present = [name for name in source.schema.names if name in names]
        return source.to_table(columns=present) if len(present) > 1 else None
    except (OSError, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        if is_of_service(error):
            raise
        raise TableError(
            f"columns {sorted(names)} of {where} cannot be read: {on_one_line(error)}; "
            "every file must be whole and hold them with one type"
        ) from error


def _uris(config: RunConfig, run_dir: RunDir, selection: Selection) -> pa.Table:
    """Where the picks lie; empty where the run has no manifest, as for embeddings made elsewhere."""
    picked = pc.field("sample_id").isin(pa.array(selection.sample_ids))
    return manifest_of(config, run_dir).to_table(columns=["sample_id", "uri"], filter=picked)
