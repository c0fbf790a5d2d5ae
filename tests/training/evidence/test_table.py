import math

import numpy as np
import torch

from mmcsal.contracts.evidence import EVIDENCE
from mmcsal.training.evidence.dynamics import Dynamics
from mmcsal.training.evidence.table import evidence_by_file


def test_each_file_of_clips_has_the_evidence_of_its_clips():
    dynamics = Dynamics(3)
    dynamics.add(torch.tensor([0, 2]), torch.tensor([-1.0, -4.0]))
    files = {"x/part-1.parquet": np.array(["a", "b"], object), "x/part-0.parquet": np.array(["c"], object)}
    (path1, one), (path0, other) = evidence_by_file(files, {"c": "d"}, dynamics)
    assert (path1, path0) == tuple(files)
    assert one.schema == EVIDENCE
    assert one.to_pydict() == {
        "sample_id": ["a", "b"],
        "mean_log_p": [-1.0, None],
        "num_seen": [1, 0],
        "is_decoy": [False, False],
        "partner_id": [None, None],
    }
    row = other.to_pylist()[0]
    assert math.isclose(row["mean_log_p"], -4.0)
    assert (row["is_decoy"], row["partner_id"]) == (True, "d")
