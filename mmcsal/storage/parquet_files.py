"""Parquet files below a folder that anybody may have written: which they are, and what each says of itself."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from mmcsal.contracts.errors import InputError, TableError, on_one_line
from mmcsal.storage.rundir import is_part
from mmcsal.storage.uri import StorageSpec, explained, is_of_service, open_uri

NUM_FOOTER_READERS = 16
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


def read_footers(files: Sequence[str], filesystem: fs.FileSystem | None) -> list[pq.FileMetaData]:
    """What each Parquet file says of itself.

    Raises:
        TableError: a file is not Parquet, or not whole.
    """

    def read(path: str) -> pq.FileMetaData:
        try:
            return pq.read_metadata(path, filesystem=filesystem)
        except (OSError, pa.ArrowInvalid) as error:
            if is_of_service(error):
                raise
            raise damaged(path, error) from error

    with ThreadPoolExecutor(NUM_FOOTER_READERS) as readers:
        return list(readers.map(read, files))


def damaged(path: str, error: Exception) -> TableError:
    """What is said of a file that cannot be read."""
    return TableError(f"{path}: cannot be read as Parquet: {on_one_line(error)}; write it again, or take it away")
