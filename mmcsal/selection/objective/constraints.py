"""The limits of a batch: what it may cost in all, and how many picks a value of a column must and may have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmcsal.contracts.errors import InputError

UNLIMITED = np.iinfo(np.int64).max


@dataclass(frozen=True)
class SampleRoles:
    """Hashes of samples that are more than rows of the pool, uint64, rising."""

    labeled_hash_L: np.ndarray  # have labels already: they cover what lies around them
    forced_hash: np.ndarray  # in the batch whatever they are worth
    closed_hash: np.ndarray  # never picked: labeled, or excluded; they still count as pool

    def is_open(self, hash_N: np.ndarray) -> np.ndarray:
        """Rows that may be picked, bool [N]."""
        return ~np.isin(hash_N, self.closed_hash)


@dataclass(frozen=True)
class BatchLimits:
    """What the whole batch may cost, and how many picks each quota must and may have."""

    budget: float  # total cost; the number of picks where every sample costs 1
    num_picks: int  # how many the budget is expected to buy
    min_G: np.ndarray  # int64, by quota
    max_G: np.ndarray


@dataclass(frozen=True)
class Limits:
    """Limits as the solver keeps them."""

    budget: float  # total cost; the number of picks where every sample costs 1
    code_CQ: np.ndarray  # int32: for each candidate and column, the quota that it counts for; -1 = none
    min_G: np.ndarray  # int64, by quota
    max_G: np.ndarray


@dataclass(frozen=True)
class Attributes:
    """What is known of each row of the pool beside its embeddings; rows in the order of their hashes."""

    hash_N: np.ndarray
    cost_N: np.ndarray | None  # float64; None = every sample costs 1
    weight_N: np.ndarray | None  # int64; None = every sample counts once
    code_NQ: np.ndarray  # int32 [N, Q]; no columns where there are no quotas

    def places(self, hash_C: np.ndarray) -> np.ndarray:
        """Where these rows lie."""
        return np.searchsorted(self.hash_N, hash_C)

    def costs(self, hash_C: np.ndarray) -> np.ndarray:
        """float64 [C]."""
        return np.ones(len(hash_C)) if self.cost_N is None else self.cost_N[self.places(hash_C)]

    def codes(self, hash_C: np.ndarray) -> np.ndarray:
        """int32 [C, Q]."""
        if self.code_NQ.shape[1] == 0:
            return np.zeros((len(hash_C), 0), np.int32)
        return self.code_NQ[self.places(hash_C)]

    def weights(self, hash_C: np.ndarray) -> np.ndarray:
        """int64 [C]."""
        return np.ones(len(hash_C), np.int64) if self.weight_N is None else self.weight_N[self.places(hash_C)]


def quota_codes(quotas: Sequence[tuple[str, str]], column_by_name: Mapping[str, np.ndarray], num_rows: int):
    """int32 [N, Q]: the quota that each row counts for in each column, -1 = none.

    Args:
        quotas: column and value of each quota.
        column_by_name: values as strings, in the order of the rows; null where unknown.
    """
    names = list(dict.fromkeys(column for column, _ in quotas))
    code_NQ = np.full((num_rows, len(names)), -1, np.int32)
    for g, (column, value) in enumerate(quotas):
        code_NQ[column_by_name[column] == value, names.index(column)] = g
    return code_NQ


def picks_by_quota(code_PQ: np.ndarray, num_quotas: int) -> np.ndarray:
    """How many of these picks count for each quota, int64 [G]."""
    return np.array([(code_PQ == g).any(axis=1).sum() for g in range(num_quotas)], np.int64)


def check_quotas(
    quotas: Sequence[tuple[str, str]], min_G: np.ndarray, max_G: np.ndarray, code_NQ: np.ndarray, is_open_N: np.ndarray,
    is_forced_N: np.ndarray, num_picks: int, is_count: bool,
) -> None:  # fmt: skip
    """Refuses quotas that no batch can keep.

    Raises:
        InputError: with the numbers that clash.
    """
    may_be_picked_N = is_open_N | is_forced_N
    for g, (column, value) in enumerate(quotas):
        has_value_N = (code_NQ == g).any(axis=1)
        num_found, num_forced = int((has_value_N & may_be_picked_N).sum()), int((has_value_N & is_forced_N).sum())
        if num_found < min_G[g]:
            raise InputError(
                f"select.quotas: {column}={value!r} asks for at least {min_G[g]} picks, but only {num_found} samples "
                "of it may be selected; lower its min"
            )
        if num_forced > max_G[g]:
            raise InputError(
                f"select.quotas: {column}={value!r} allows {max_G[g]} picks, but select.include holds {num_forced} of "
                "it; raise its max or include fewer"
            )
    for q in range(code_NQ.shape[1]):
        if is_count:
            code_N, is_forced = code_NQ[may_be_picked_N, q], is_forced_N[may_be_picked_N]
            _check_column(quotas, min_G, max_G, code_N, code_N[is_forced], num_picks)


def _check_column(quotas, min_G, max_G, code_N: np.ndarray, forced_codes: np.ndarray, num_picks: int) -> None:
    present = np.unique(code_N[code_N >= 0])
    if not len(present):
        return
    column = quotas[present[0]][0]
    forced_G = np.bincount(forced_codes[forced_codes >= 0], minlength=len(min_G))
    num_others = len(forced_codes) - int(np.minimum(forced_G, min_G)[present].sum())
    least = int(min_G[present].sum())
    if least + num_others > num_picks:
        included = f", select.include holds {num_others} more" if num_others else ""
        raise InputError(
            f"select.quotas: the least numbers of {column!r} add up to {least}{included}, the budget is {num_picks}; "
            "raise the budget or lower them"
        )
    counts = np.bincount(code_N[code_N >= 0], minlength=len(min_G))[present]
    most = int((code_N < 0).sum() + np.minimum(counts, max_G[present]).sum())
    if most < num_picks:
        raise InputError(
            f"select.quotas: the largest numbers of {column!r} leave room for {most} picks, the budget is {num_picks}; "
            "lower the budget or raise them"
        )
