import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from tests.training.clips import make_clips


@pytest.fixture
def filesystem():
    return pyarrow.fs.LocalFileSystem()


@pytest.fixture
def clip_table():
    """A CLIP table of the given ids."""
    return make_clips


@pytest.fixture
def clip_files(tmp_path):
    """Writes partitions of the given ids, returns their paths."""

    def write(partitions: list[list[str]], folder: str = "clips", names: list[str] | None = None) -> list[str]:
        (tmp_path / folder).mkdir(exist_ok=True)
        paths = []
        for i, ids in enumerate(partitions):
            path = tmp_path / folder / (names[i] if names else f"part-{i}.parquet")
            pq.write_table(make_clips(ids) if ids else make_clips(["s0"]).slice(0, 0), path)
            paths.append(str(path))
        return paths

    return write
