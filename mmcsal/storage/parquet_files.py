"""The Parquet files below a path or a URI: embeddings, manifests and selections that others may have made."""

from pyarrow import fs

from mmcsal.contracts.errors import InputError
from mmcsal.storage.rundir import is_part
from mmcsal.storage.uri import StorageSpec, explained, open_uri

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

    Raises: InputError: there are none.
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
