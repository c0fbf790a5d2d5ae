"""What turns a source into a manifest: one dataset a file, each a frozen spec over a function.

To add one: its file, its line in `CorpusSpec` and in `read_corpus`, its test.

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
from mmcsal.datasets.kinetics_sound import KineticsSoundSpec, read_kinetics_sound
from mmcsal.datasets.manifest_file import ManifestFileSpec, read_manifest_file
from mmcsal.datasets.scan import Scan
from mmcsal.datasets.synthetic.corpus import SyntheticSpec, read_synthetic
from mmcsal.datasets.vggsound import VggSoundSpec, read_vggsound
from mmcsal.storage.uri import StorageSpec

CorpusSpec = Annotated[
    FolderSpec | ManifestFileSpec | VggSoundSpec | KineticsSoundSpec | SyntheticSpec, Field(discriminator="kind")
]

__all__ = [
    "CorpusSpec",
    "FolderSpec",
    "KineticsSoundSpec",
    "ManifestFileSpec",
    "Scan",
    "SyntheticSpec",
    "VggSoundSpec",
    "build_manifest",
    "read_corpus",
]


def read_corpus(spec: CorpusSpec, storage: StorageSpec | None = None, *, has_hashes: bool = True) -> Scan:
    """The MANIFEST of a corpus, sorted by sample_id: the same whatever order files or rows are listed in; and a count
    of what is left out of it.

    A synthetic corpus that is not on disk yet is rendered first (seconds to minutes, in worker processes).

    Args:
        spec: the corpus.
        storage: how object stores are reached, where the corpus lies on one.
        has_hashes: whether media are opened for their content hashes; without, a corpus is only listed.

    Raises:
        InputError: the source is missing, empty or malformed; the message names the place and what to do.
    """
    match spec:
        case FolderSpec():
            return read_folder(spec, storage, has_hashes=has_hashes)
        case ManifestFileSpec():
            return read_manifest_file(spec, storage, has_hashes=has_hashes)
        case VggSoundSpec():
            return read_vggsound(spec, storage, has_hashes=has_hashes)
        case KineticsSoundSpec():
            return read_kinetics_sound(spec, storage, has_hashes=has_hashes)
        case SyntheticSpec():
            return read_synthetic(spec)
        case _:
            assert_never(spec)


def build_manifest(spec: CorpusSpec, storage: StorageSpec | None = None) -> pa.Table:
    """The MANIFEST table of `read_corpus` alone.

    Raises:
        InputError: see `read_corpus`.
    """
    return read_corpus(spec, storage).manifest
