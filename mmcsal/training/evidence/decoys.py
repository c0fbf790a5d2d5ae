"""Decoys: samples that are trained with another's sound on purpose, to show what a mispaired pair looks like.

Encoders learn mispaired pairs by heart; what such a pair looks like afterwards, only one that was trained on can tell.

Source:
    the threshold samples of Pleiss et al. (AUM), NeurIPS 2020.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from mmcsal.contracts.ids import hash_ids, order_by_hash
from mmcsal.contracts.spec import Spec

SALT = "decoys"
FEWEST = 2  # of a partition: one alone has nobody to change with


class DecoySpec(Spec):
    """How many samples are trained with another's sound."""

    share: float = Field(default=0.0, ge=0, le=0.5)  # of the samples of a partition; 0 = none
    max: int = Field(default=1024, ge=2)  # of the whole corpus: a large one pays nothing


NO_DECOYS = DecoySpec(share=0.0)


def choose_decoys(
    ids_of: Sequence[np.ndarray], trained_of: Sequence[np.ndarray], spec: DecoySpec
) -> dict[int, np.ndarray]:
    """Whose sound each sample of a partition is trained with: its place in the partition, int64 [N].

    In a partition the samples of lowest hash pass their sounds round in a cycle, so that every sound is heard once.
    Partitions take turns by the hash of their first id until the corpus has `max` decoys: others are not in the result.

    Args:
        ids_of: of each partition, its sample ids.
        trained_of: of each partition, the places of the samples that are trained on; others are no decoys.
    """
    partner_of: dict[int, np.ndarray] = {}
    left = spec.max
    for partition in order_by_hash(ids[0] for ids in ids_of) if spec.share else ():
        trained = trained_of[partition]
        number = min(max(round(spec.share * len(trained)), FEWEST), left)
        if min(number, len(trained)) < FEWEST:
            continue
        ids_N = ids_of[partition]
        chosen = trained[np.lexsort((ids_N[trained], hash_ids(ids_N[trained], salt=SALT)))[:number]]
        partner_N = np.arange(len(ids_N))
        partner_N[chosen] = np.roll(chosen, -1)
        partner_of[int(partition)] = partner_N
        left -= number
    return partner_of
