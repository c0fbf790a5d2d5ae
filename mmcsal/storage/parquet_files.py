"""Parquet files below a folder that anybody may have written: which they are, and what each says of itself."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import fs

from mmcsal.contracts.errors import InputError
from mmcsal.storage.markers import STARTED
from mmcsal.storage.rundir import RunDir, is_part
from mmcsal.storage.tables import damaged, open_parquet
from mmcsal.storage.uri import StorageSpec, explained, is_of_service, open_uri, scheme_of

NUM_FOOTER_READERS = 16


@dataclass(frozen=True)
class Footer:
    """Of one Parquet file, all of whose columns are of plain types."""

    schema: pa.Schema
    num_rows: int
    group_bytes: tuple[int, ...]  # of each row group


EXPECTED_COLUMNS = {
    "embeddings folder": "`sample_id` and two `<modality>_embedding` columns of fixed_size_list<float>",
    "embeddings of a contender": "`sample_id` and two `<modality>_embedding` columns of fixed_size_list<float>",
    "manifest": "the columns of a MANIFEST",
    "select.earlier": "`sample_id`, as a selection has it",
}


def list_parquet(
    folder: str, storage: StorageSpec | None = None, *, what: str = "embeddings folder"
) -> tuple[fs.FileSystem, list[fs.FileInfo]]:
    """The Parquet files below a folder, or the one file that it is, sorted by path, and where they lie.

    Raises:
        InputError: there are none.
    """
    filesystem, root = open_uri(folder, storage, what=what)
    try:
        root = _current(root, filesystem, folder, storage)
        facts = filesystem.get_file_info(root)
        is_folder = facts.type == fs.FileType.Directory
        infos = filesystem.get_file_info(fs.FileSelector(root, recursive=True)) if is_folder else [facts]
    except OSError as error:
        raise explained(error, what, folder) from error
    found = [info for info in infos if is_part(info)]
    if not found:
        fault = "does not exist" if facts.type == fs.FileType.NotFound else "holds no .parquet file"
        raise InputError(f"{what} {folder!r} {fault}; expected Parquet files with {EXPECTED_COLUMNS[what]}")
    return filesystem, sorted(found, key=lambda info: info.path)


def _current(root: str, filesystem: fs.FileSystem, folder: str, storage: StorageSpec | None) -> str:
    """Of a stage's folder in a run directory the attempt that counts: one that has not ended may lie beside it."""
    if filesystem.get_file_info(f"{root}/{STARTED}").type == fs.FileType.NotFound:
        return root
    uri = folder.rstrip("/") if scheme_of(folder) else os.path.realpath(root)
    parent, _, name = uri.rpartition("/")
    return RunDir(parent, storage).place(name)


def read_footers(files: Sequence[str], filesystem: fs.FileSystem | None) -> list[Footer]:
    """What each Parquet file says of itself.

    Raises:
        TableError: a file is not Parquet, not whole, or has a column of an extension type.
    """

    def read(path: str) -> Footer:
        try:
            with open_parquet(path, filesystem) as file:
                groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
                sizes = [group.total_byte_size for group in groups]
                return Footer(file.schema_arrow, file.metadata.num_rows, tuple(sizes))
        except OSError as error:
            if is_of_service(error):
                raise
            raise damaged(path, error) from error

    with ThreadPoolExecutor(NUM_FOOTER_READERS) as readers:
        return list(readers.map(read, files))
