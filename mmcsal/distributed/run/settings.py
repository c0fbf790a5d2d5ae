"""What the result of each stage depends on: with other settings it is not taken for the same result.

A key that changes nothing but time, or the last digits, is left out.
"""

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from pyarrow import fs

from mmcsal.config import RunConfig
from mmcsal.contracts.spec import Spec
from mmcsal.storage.parquet_files import list_parquet
from mmcsal.storage.uri import open_uri
from mmcsal.training.batch_spec import NOT_IN_RESULT

Settings = dict[str, Any]
JUDGED_BY = {"labels", "label_column", "aligned_column", "test_fraction", "probe_c"}  # keys of `evaluate` that tune has


def of_manifest(config: RunConfig) -> Settings:
    """Segments depend on how a file is read; else the manifest does not."""
    settings = {"corpus": _dump(config.corpus), "samples_per_partition": config.ingest.samples_per_partition}
    return {**settings, **of_ingest(config)} if config.media.window == "segments" else settings


def of_ingest(config: RunConfig) -> Settings:
    """How long to wait for a file, and when to start a fresh decoder, do not change a clip."""
    return {"media": config.media.model_dump(exclude={"timeout_s", "recycle_after_clips"})}


def of_pretrain(config: RunConfig) -> Settings:
    """A run may go on with other workers, and is not redone for them: they change the last digits alone."""
    return {
        "model": _dump(config.model),
        "pretrain": config.pretrain.settings(),
        "seed": config.seed,
    }


def of_embed(config: RunConfig) -> Settings:
    return {"embed": config.embed.model_dump(exclude={"num_workers"})}


def of_select(config: RunConfig) -> Settings:
    spec = config.select
    id_files = [path for path in (spec.labeled, spec.include, spec.exclude, spec.labels) if isinstance(path, str)]
    return {"select": _dump(spec), "seed": config.seed, **_named_files(config, id_files, spec.earlier)}


def of_report(config: RunConfig) -> Settings:
    return {"report": _dump(config.report)}


def of_evaluate(config: RunConfig) -> Settings:
    return {"evaluate": _dump(config.evaluate), **_named_files(config, [config.evaluate.labels])}


def of_tune(config: RunConfig) -> Settings:
    return {
        "tune": _dump(config.tune),
        "evaluate": config.evaluate.model_dump(mode="json", include=JUDGED_BY),
        "select": _dump(config.select),
        "seed": config.seed,
        **_named_files(config, [config.evaluate.labels]),
    }


def of_finetune(config: RunConfig) -> Settings:
    return {
        "finetune": config.finetune.model_dump(mode="json", exclude=set(NOT_IN_RESULT)),
        "seed": config.seed,
        **_named_files(config, [config.finetune.labels]),
    }


def digest_of_embeddings(config: RunConfig) -> str:
    """Tells a changed folder by names, sizes and times: reading embeddings twice would cost as much as selecting."""
    return _digest_of_files(list_parquet(config.embeddings or "", config.storage)[1])


def digest(settings: Settings) -> str:
    """Of settings; equal for equal ones."""
    return blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16).hexdigest()


def _named_files(config: RunConfig, paths: Sequence[str | None], folders: Sequence[str] = ()) -> Settings:
    """Tells changed files of ids and labels; nothing where none are named."""
    infos = []
    for path in filter(None, paths):
        filesystem, place = open_uri(path, config.storage, what="file of ids or labels")
        infos.append(filesystem.get_file_info(place))
    for folder in folders:
        infos += list_parquet(folder, config.storage, what="select.earlier")[1]
    return {"files": _digest_of_files(infos)} if infos else {}


def _digest_of_files(infos: Sequence[fs.FileInfo]) -> str:
    return digest({"files": [(info.path, info.size, info.mtime_ns) for info in infos]})


def _dump(spec: Spec | None) -> Any:
    return spec.model_dump(mode="json") if spec is not None else None
