"""What turns a source into a manifest: one dataset a file, each a frozen spec over a function.

To add one: its file, its line in `CorpusSpec` and in `build_manifest`, its test.

Shape suffixes beside those of `mmcsal.contracts`:

=====  ==========================================
T      frames of a clip
C      channels
L      samples of a waveform
=====  ==========================================
"""

from typing import Annotated, assert_never

import pyarrow as pa
from pydantic import Field

from mmcsal.datasets.folder import FolderSpec, read_folder
from mmcsal.datasets.manifest_file import ManifestFileSpec, read_manifest_file
from mmcsal.datasets.synthetic.corpus import SyntheticSpec, read_synthetic
from mmcsal.storage.uri import StorageSpec

CorpusSpec = Annotated[FolderSpec | ManifestFileSpec | SyntheticSpec, Field(discriminator="kind")]

__all__ = ["CorpusSpec", "FolderSpec", "ManifestFileSpec", "SyntheticSpec", "build_manifest"]


def build_manifest(spec: CorpusSpec, storage: StorageSpec | None = None) -> pa.Table:
    """The MANIFEST table of a corpus, sorted by sample_id: the same whatever order files or rows are listed in.

    `storage` says how object stores are reached, where the corpus lies on one.
    A synthetic corpus that is not on disk yet is rendered first (seconds to minutes, in worker processes).

    Raises:
        InputError: the source is missing, empty or malformed; the message names the place and what to do.
    """
    match spec:
        case FolderSpec():
            return read_folder(spec, storage)
        case ManifestFileSpec():
            return read_manifest_file(spec, storage)
        case SyntheticSpec():
            return read_synthetic(spec)
        case _:
            assert_never(spec)
