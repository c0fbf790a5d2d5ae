"""`select_pairs`: the selection of arrays in this process, without Ray."""

import operator
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.ids import hash_ids
from mmcsal.selection.pipeline import LocalRunner, Runner, select
from mmcsal.selection.result import Selection
from mmcsal.selection.shard import Shard
from mmcsal.selection.spec import SelectSpec

SHARD_ROWS = 65536


def select_pairs(
    a_ND: np.ndarray,
    v_ND: np.ndarray,
    budget: int | float,
    *,
    sample_ids: Iterable[str] | None = None,
    labeled: Iterable[str] | None = None,
    costs: np.ndarray | None = None,
    config: SelectSpec | None = None,
    seed: int = 0,
) -> Selection:
    """Selects the pairs that are worth labeling first.

    Facility location on the joint embedding with an alignment regularizer, after MMCSAL (Shen et al. 2024,
    arXiv 2412.09126), by lazy greedy in integers: the same pairs for every order of the rows, on every machine.

    Args:
        a_ND, v_ND: embeddings of the two modalities, [N, Da] and [N, Dv]; the widths may differ. Rows are normalised.
        budget: how many to select: a count, or a fraction in (0, 1) of the samples that may still be selected.
        sample_ids: unique ids, in the order of the rows; "0", "1", ... by default.
        labeled: ids in the pool that have labels already: they cover what lies around them and are never selected.
        costs: not supported yet; anything but None is refused.
        config: everything else; its budget is replaced by `budget`.
        seed: of the samples, starts and the random comparison.

    Raises:
        InputError: the budget, the lengths, the labeled ids or the costs do not fit the pool.
        TableError: repeated ids, zero vectors, values that are not finite; names the first ids.
    """
    if costs is not None:
        raise InputError("costs: budgets in costs are not supported yet; pass costs=None and a count or a fraction")
    spec = with_budget(config or SelectSpec(), budget)
    a_ND, v_ND = _vectors(a_ND, "a_ND"), _vectors(v_ND, "v_ND")
    if len(a_ND) != len(v_ND):
        raise InputError(f"v_ND: {len(v_ND)} rows, but a_ND has {len(a_ND)}; row i of both must be the same sample")
    ids = _ids(sample_ids, len(a_ND))
    runner = LocalRunner([_shard(ids, a_ND, v_ND, start, seed) for start in range(0, max(len(ids), 1), SHARD_ROWS)])
    return select_with(runner, spec, labeled=labeled, seed=seed)


def select_with(runner: Runner, spec: SelectSpec, *, labeled: Iterable[str] | None, seed: int) -> Selection:
    """Selects from the shards of a runner; `labeled` as in `select_pairs`."""
    labeled_ids = sorted(set(labeled or ()))
    labeled_hash_L = hash_ids(labeled_ids, salt=salt_of(seed))
    return select(runner, spec, labeled_ids=labeled_ids, labeled_hash_L=labeled_hash_L, seed=seed)


def salt_of(seed: int) -> str:
    """The salt of the hashes that fix samples and starts."""
    return f"select:{seed}"


def with_budget(spec: SelectSpec, budget: int | float) -> SelectSpec:
    """The spec with another budget, validated.

    Raises: InputError: it is neither a count >= 1 nor a fraction in (0, 1).
    """
    try:
        number = budget if isinstance(budget, bool | float) else operator.index(budget)
        return SelectSpec.model_validate({**spec.model_dump(), "budget": number})
    except (ValidationError, TypeError) as error:
        raise InputError(f"budget: {budget!r}; expected a count >= 1 or a fraction in (0, 1)") from error


def _shard(ids: pa.StringArray, a_ND: np.ndarray, v_ND: np.ndarray, start: int, seed: int) -> Shard:
    rows = slice(start, start + SHARD_ROWS)
    return Shard("embeddings", ids[rows], a_ND[rows], v_ND[rows], salt_of(seed), ("a_ND", "v_ND"))


def _ids(sample_ids: Iterable[str] | None, num_rows: int) -> pa.StringArray:
    names = [str(i) for i in range(num_rows)] if sample_ids is None else list(sample_ids)
    if len(names) != num_rows:
        raise InputError(f"sample_ids: {len(names)} ids for {num_rows} rows of a_ND; pass one id a row")
    try:
        return pa.array(names, pa.string())
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise InputError(f"sample_ids: expected strings ({error})") from error


def _vectors(x_ND: np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(x_ND)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(f"{name}: shape {array.shape} of {array.dtype}, expected numbers of shape [N, D]")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is reported with its id
        return np.ascontiguousarray(array, dtype=np.float32)
