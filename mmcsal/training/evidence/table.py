"""The EVIDENCE table of some clips."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import pyarrow as pa

from mmcsal.contracts.evidence import EVIDENCE
from mmcsal.contracts.table import conform
from mmcsal.training.evidence.dynamics import Dynamics


def evidence_by_file(
    ids_by_file: Mapping[str, np.ndarray], partner_id_of: Mapping[str, str], dynamics: Dynamics
) -> Iterator[tuple[str, pa.Table]]:
    """EVIDENCE, cut as the clips are: the path of each file of clips, and what is known of its clips.

    Args:
        ids_by_file: of all clips that dynamics were kept of, in that order.
        partner_id_of: the decoys.
    """
    ends = np.cumsum([0, *map(len, ids_by_file.values())])
    for (path, ids_N), (first, end) in zip(ids_by_file.items(), pairwise(ends), strict=True):
        num_seen_N = dynamics.num_seen_N[first:end].numpy()
        partners = pa.array([partner_id_of.get(sample_id) for sample_id in ids_N], pa.string())
        columns = {
            "sample_id": pa.array(ids_N, pa.string()),
            "mean_log_p": pa.array(dynamics.mean_log_p_N[first:end].numpy(), mask=num_seen_N == 0),
            "num_seen": num_seen_N,
            "is_decoy": partners.is_valid(),
            "partner_id": partners,
        }
        yield path, conform(pa.table(columns), EVIDENCE, name="evidence")
