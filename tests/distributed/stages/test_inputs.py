"""What a run, or a folder of embeddings, has to tell alignment by."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from mmcsal.config import load_config
from mmcsal.contracts.evidence import EVIDENCE
from mmcsal.distributed.stages.inputs import given_alignment
from mmcsal.storage.rundir import RunDir

LOCAL = pyarrow.fs.LocalFileSystem()
ROWS = [
    {"sample_id": "a", "mean_log_p": -1.0, "num_seen": 3, "is_decoy": False, "partner_id": None},
    {"sample_id": "b", "mean_log_p": -4.0, "num_seen": 3, "is_decoy": True, "partner_id": "c"},
    {"sample_id": "c", "mean_log_p": -5.0, "num_seen": 3, "is_decoy": True, "partner_id": "b"},
    {"sample_id": "d", "mean_log_p": None, "num_seen": 0, "is_decoy": False, "partner_id": None},
]


@pytest.fixture
def run_dir(tmp_path) -> RunDir:
    return RunDir(str(tmp_path / "run"))


def given(run_dir: RunDir, *overrides: str):
    return given_alignment(load_config(None, [f"run_dir={run_dir.uri}", *overrides]), run_dir, LOCAL, [])


def test_decoys_are_the_null_sample_and_tell_nothing_of_their_own_pairs(run_dir):
    run_dir.write_part("evidence", "part-00000.parquet", pa.Table.from_pylist(ROWS, schema=EVIDENCE))
    found = given(run_dir)
    assert found.sample_ids == ["a", "b", "c", "d"]
    assert found.scores.null_M.tolist() == [-4.0, -5.0]
    assert found.scores.score_N[0] == -1.0
    assert all(map(math.isnan, found.scores.score_N[1:])), "decoys, and a sample that was never trained on"
    assert given(run_dir, "select.align_score=anchors") is None


def test_without_decoys_or_without_evidence_there_is_nothing(run_dir):
    assert given(run_dir) is None
    plain = pa.Table.from_pylist([{**row, "is_decoy": False} for row in ROWS], schema=EVIDENCE)
    run_dir.write_part("evidence", "part-00000.parquet", plain)
    assert given(run_dir) is None


def test_embeddings_made_elsewhere_may_have_columns_for_it(run_dir, tmp_path):
    columns = {"sample_id": ["a", "b"], "alignment": [0.5, None], "alignment_null": [None, 0.1]}
    path = tmp_path / "embeddings.parquet"
    pq.write_table(pa.table(columns), path)
    config = load_config(None, [f"run_dir={run_dir.uri}", f"embeddings={path}"])
    found = given_alignment(config, run_dir, LOCAL, [str(path)])
    assert found.sample_ids == ["a", "b"]
    np.testing.assert_array_equal(found.scores.score_N, [0.5, np.nan])
    assert found.scores.null_M.tolist() == [0.1]
    pq.write_table(pa.table({"sample_id": ["a"]}), path)
    assert given_alignment(config, run_dir, LOCAL, [str(path)]) is None
