"""Inputs that are named and are not there: told before anything heavy is imported.

Only what a local file system answers at once; what is there, and what lies on object stores, is judged by the stage
that reads it.
"""

import os
from typing import Any

from mmcsal.config_source import Content, corpus_with_kind
from mmcsal.datasets.place import existing_path, is_remote, without_file_scheme
from mmcsal.storage import DEFAULT_RUN_DIR
from mmcsal.storage.parquet_files import list_parquet

RENDERED = "synthetic"  # the kind of corpus that is made where there is none


def check_embeddings_exist(content: Content) -> None:
    """Refuses embeddings that are not there.

    Raises:
        InputError: `embeddings` names a local path that is not there.
    """
    path = content.get("embeddings")
    if isinstance(path, str) and _is_missing(path):
        list_parquet(path)  # which says so


def check_corpus_exists(content: Content) -> None:
    """Refuses a corpus that is not there.

    Raises:
        InputError: `corpus` names a local path that is not there, and the run has no manifest yet.
    """
    match corpus_with_kind(content.get("corpus")):
        case {"kind": str(kind), "path": str(path)} if kind != RENDERED and _is_missing(path):
            if not _may_have_manifest(content.get("run_dir", DEFAULT_RUN_DIR)):
                existing_path(without_file_scheme(path), what="manifest" if kind == "manifest" else "corpus folder")


def _is_missing(path: str) -> bool:
    return not is_remote(path) and not os.path.exists(_local(path))


def _may_have_manifest(run_dir: Any) -> bool:
    """A corpus may go once it is decoded: the run goes on with its manifest."""
    return (
        not isinstance(run_dir, str) or is_remote(run_dir) or os.path.exists(os.path.join(_local(run_dir), "manifest"))
    )


def _local(path: str) -> str:
    return os.path.expanduser(without_file_scheme(path))
