"""`select_pairs`: the selection of arrays in this process, without Ray."""

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.ids import as_ids
from mmcsal.selection.objective.pair_scores import PairScores
from mmcsal.selection.pipeline import select
from mmcsal.selection.result import Selection
from mmcsal.selection.runner import LocalRunner
from mmcsal.selection.scaleout.request import COST, WEIGHT, GivenAlignment, Request
from mmcsal.selection.scaleout.shard import Shard
from mmcsal.selection.spec import SelectSpec, TotalCost
from mmcsal.selection.strategies.classifier import FusedClassifier

MIN_SHARD_ROWS, MAX_SHARD_ROWS = 16384, 65536
MAX_THREADS = 16


class Tensor(Protocol):
    """Of PyTorch, which this package does not import."""

    def detach(self) -> Any: ...


Array = np.ndarray | Tensor


def select_pairs(
    a_ND: Array,
    v_ND: Array,
    budget: int | float | TotalCost,
    *,
    sample_ids: Iterable[str] | Iterable[int] | None = None,
    labeled: Iterable[str] | Iterable[int] | None = None,
    costs: Array | None = None,
    weights: Array | None = None,
    columns: Mapping[str, Sequence[str]] | None = None,
    config: SelectSpec | None = None,
    seed: int = 0,
    classifier: FusedClassifier | None = None,
    modalities: tuple[str, str] = ("a", "v"),
    alignment: PairScores | None = None,
) -> Selection:
    """Selects the pairs that are worth labeling first.

    Facility location on the joint embedding with an alignment regularizer, after MMCSAL (Shen et al. 2024,
    arXiv 2412.09126), by greedy and swap search in integers: the same pairs for every order of the rows, on every
    machine.

    Args:
        a_ND: embeddings of the two modalities, [N, Da] and [N, Dv]; the widths may differ. Rows are normalised. Arrays,
            or tensors of PyTorch of any float type, on any device, with or without gradient.
        v_ND: see `a_ND`.
        budget: how many to select: a count, or a fraction in (0, 1) of the samples that may still be selected; with
            `costs`, what they may cost in all (a number, or TotalCost).
        sample_ids: unique ids, in the order of the rows; "0", "1", ... by default. Strings, or integers: the ids are
            then their decimal digits, "17" for 17, in all tables and in the ids of `config`.
        labeled: ids in the pool that have labels already: they cover what lies around them and are never selected.
            Strings, or integers.
        costs: what each sample costs to label, [N], above 0.
        weights: how much each sample of the pool counts, [N], 0 or more; only their ratios matter.
        columns: values by row, for the quotas of `config`.
        config: everything else; its budget is replaced by `budget`.
        seed: of the samples, starts and the random comparison.
        classifier: trained on the labels so far; warm-start strategies need it, the others make no use of it.
        alignment: one's own scores of the pairs, in place of the anchors; of a sync detector, say.
        modalities: what the two are called in `config.modality_weights` and in explanations, such as video and audio.

    Raises:
        InputError: the budget, the lengths, the ids, the costs, the weights or the quotas do not fit the pool.
        TableError: repeated ids, zero vectors, values that are not finite; names the first ids.
    """
    if costs is not None and not isinstance(budget, TotalCost):
        budget = _total_cost(budget)
    spec = with_budget(config or SelectSpec(), budget)
    a_ND, v_ND = _vectors(a_ND, "a_ND"), _vectors(v_ND, "v_ND")
    if len(a_ND) != len(v_ND):
        raise InputError(f"v_ND: {len(v_ND)} rows, but a_ND has {len(a_ND)}; row i of both must be the same sample")
    ids = _ids(sample_ids, len(a_ND))
    given = {COST: costs, WEIGHT: weights, **(columns or {})}
    table = _columns(ids, {name: _array(values) for name, values in given.items() if values is not None})
    request = request_of(spec, labeled, table, seed, classifier, _alignment(alignment, ids))
    num_threads = min(os.cpu_count() or 1, MAX_THREADS)
    shard_rows = int(np.clip(-(-len(ids) // num_threads), MIN_SHARD_ROWS, MAX_SHARD_ROWS))
    whole = Shard("embeddings", ids, a_ND, v_ND, salt_of(seed), ("a_ND", "v_ND"), modalities=modalities)
    shards = [_rows(whole, start, shard_rows) for start in range(0, max(len(ids), 1), shard_rows)]
    return select(LocalRunner(shards, num_threads), request, seed=seed)


def request_of(
    spec: SelectSpec,
    labeled: Iterable[str] | Iterable[int] | None,
    columns: pa.Table | None,
    seed: int,
    classifier: FusedClassifier | None = None,
    alignment: GivenAlignment | None = None,
) -> Request:
    """What `select` is asked; arguments as in `select_pairs`."""
    ids = () if labeled is None else tuple(as_ids(labeled, what="labeled"))
    return Request(spec, salt_of(seed), ids, columns, classifier, alignment)


def salt_of(seed: int) -> str:
    """The salt of the hashes that fix samples and starts."""
    return f"select:{seed}"


def with_budget(spec: SelectSpec, budget: int | float | TotalCost) -> SelectSpec:
    """The spec with another budget, validated.

    Raises:
        InputError: it is neither a count >= 1 nor a fraction in (0, 1).
    """
    try:
        is_plain = isinstance(budget, bool | float | TotalCost)
        number = budget if is_plain else operator.index(budget)  # pyright: ignore[reportArgumentType]
        return SelectSpec.model_validate({**spec.model_dump(), "budget": number})
    except (ValidationError, TypeError) as error:
        raise InputError(f"budget: {budget!r}; expected a count >= 1 or a fraction in (0, 1)") from error


def _total_cost(budget: object) -> TotalCost:
    try:
        return TotalCost(cost=float(budget))  # pyright: ignore[reportArgumentType]
    except (ValidationError, TypeError, ValueError) as error:
        raise InputError(f"budget: {budget!r}; with costs it is what the batch may cost in all, above 0") from error


def _rows(whole: Shard, start: int, num_rows: int) -> Shard:
    rows = slice(start, start + num_rows)
    return replace(whole, ids=whole.ids[rows], a_ND=whole.a_ND[rows], v_ND=whole.v_ND[rows])


def _columns(ids: pa.StringArray, given: Mapping[str, Any]) -> pa.Table | None:
    for name, values in given.items():
        if len(values) != len(ids):
            raise InputError(f"{name}: {len(values)} values for {len(ids)} rows of a_ND; pass one a row")
    return pa.table({"sample_id": ids, **{name: pa.array(values) for name, values in given.items()}}) if given else None


def _alignment(given: PairScores | None, ids: pa.StringArray) -> GivenAlignment | None:
    if given is None:
        return None
    score_N, null_M = (np.asarray(_array(x), np.float64) for x in (given.score_N, given.null_M))
    if score_N.shape != (len(ids),) or null_M.ndim != 1:
        raise InputError(
            f"alignment: scores of shape {score_N.shape}, null sample of shape {null_M.shape}; expected ({len(ids)},), "
            "one score a row of a_ND, and [M]"
        )
    return GivenAlignment(ids.to_pylist(), PairScores(score_N, null_M))


def _ids(sample_ids: Iterable[Any] | None, num_rows: int) -> pa.StringArray:
    if sample_ids is None:
        return pa.array(np.arange(num_rows)).cast(pa.string())
    names = as_ids(sample_ids, what="sample_ids")
    if len(names) != num_rows:
        raise InputError(f"sample_ids: {len(names)} ids for {num_rows} rows of a_ND; pass one id a row")
    return pa.array(names, pa.string())


def _array(values: Any) -> Any:
    """What numpy can read: of a tensor its values, without gradient and from whatever device."""
    if not hasattr(values, "detach"):
        return values
    tensor = values.detach().cpu()
    is_narrow = tensor.is_floating_point() and tensor.element_size() < 4  # numpy has no bfloat16
    return (tensor.float() if is_narrow else tensor).numpy()


def _vectors(x_ND: Array, name: str) -> np.ndarray:
    array = np.asarray(_array(x_ND))
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(f"{name}: shape {array.shape} of {array.dtype}, expected numbers of shape [N, D]")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is reported with its id
        return np.ascontiguousarray(array, dtype=np.float32)
