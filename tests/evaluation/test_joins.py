"""Labels and embeddings, joined by their ids whatever their order."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from mmcsal.contracts.embedding import vector_column
from mmcsal.contracts.errors import InputError, TableError
from mmcsal.evaluation.joins import embedded_samples, in_other_embeddings, labeled_samples

LOCAL = fs.LocalFileSystem()


def write(path, ids: list[str], width: int = 2) -> list[str]:
    """Vectors that say the number of their id."""
    vectors_ND = np.array([[float(i[1:])] * width for i in ids], np.float32)
    columns = {f"{modality}_embedding": vector_column(vectors_ND) for modality in ("video", "audio")}
    pq.write_table(pa.table({"sample_id": ids, **columns}), path)
    return [str(path)]


@pytest.fixture
def files(tmp_path) -> list[str]:
    return write(tmp_path / "e.parquet", ["s3", "s1", "s2", "s4"])


def test_labels_meet_their_own_vectors(files):
    labels = pa.table(
        {"sample_id": ["s2", "s9", "s3", "s1"], "label": ["b", "b", None, "a"], "aligned": [False, True, True, None]}
    )
    samples = labeled_samples(labels, files, LOCAL, where="labels.csv")
    assert (samples.ids.tolist(), samples.labels) == (["s1", "s2"], ["a", "b"])
    assert samples.a_ND[:, 0].tolist() == samples.v_ND[:, 1].tolist() == [1, 2]
    assert samples.is_misaligned_N.tolist() == [False, True]
    with pytest.raises(InputError, match=r"labels: 1 of 4 embedded samples have a label in labels.csv, of 1 classes"):
        labeled_samples(labels.filter(pa.array([True, False, False, False])), files, LOCAL, where="labels.csv")


def test_another_encoder_sees_the_same_samples(files, tmp_path):
    samples = embedded_samples(files, LOCAL, limit=3)
    assert len(samples) == 3
    assert not samples.has_labels
    other = in_other_embeddings(samples, write(tmp_path / "o.parquet", ["s4", "s3", "s2", "s1"], 5), LOCAL, where="o")
    assert other.ids.tolist() == samples.ids.tolist()
    assert np.array_equal(other.a_ND[:, 4], samples.a_ND[:, 0])
    with pytest.raises(InputError, match=r"embeddings 'o': . of 3 labeled samples are not there"):
        in_other_embeddings(samples, write(tmp_path / "few.parquet", ["s1"]), LOCAL, where="o")


def test_files_without_two_embeddings_are_refused(tmp_path):
    pq.write_table(pa.table({"sample_id": ["s1"]}), tmp_path / "bare.parquet")
    with pytest.raises(TableError, match="two columns <modality>_embedding, found"):
        embedded_samples([str(tmp_path / "bare.parquet")], LOCAL, limit=3)
