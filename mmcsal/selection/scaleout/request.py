"""What a caller asks of a selection beside its embeddings, checked against the pool."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.ids import hash_ids, places_of_hashes
from mmcsal.contracts.table import check_unique_ids
from mmcsal.selection.objective.constraints import (
    UNLIMITED,
    Attributes,
    BatchLimits,
    SampleRoles,
    check_quotas,
    quota_codes,
)
from mmcsal.selection.objective.density_weights import normalised
from mmcsal.selection.objective.pair_scores import PairScores
from mmcsal.selection.scaleout.shard import NUM_NAMED
from mmcsal.selection.spec import SelectSpec, TotalCost
from mmcsal.selection.strategies import WarmStart
from mmcsal.selection.strategies.classifier import FusedClassifier

COST, WEIGHT = "cost", "weight"


@dataclass(frozen=True)
class Request:
    """Ids and columns as the caller gave them."""

    spec: SelectSpec
    salt: str
    labeled: tuple[str, ...] = ()
    columns: pa.Table | None = None  # sample_id, and of `cost`, `weight` and the columns of quotas what there is
    classifier: FusedClassifier | None = None  # of the labels so far, for warm-start strategies
    alignment: "GivenAlignment | None" = None  # scores of pairs that were made before selection


@dataclass(frozen=True)
class GivenAlignment:
    """Scores of pairs by id, and those of pairs that do not belong together."""

    sample_ids: Sequence[str]
    scores: PairScores


@dataclass(frozen=True)
class Pool:
    """The pool and what is asked of it; rows in the order of their hashes."""

    hash_N: np.ndarray  # uint64, rising
    roles: SampleRoles
    attributes: Attributes
    limits: BatchLimits
    pair_scores: PairScores | None = None  # where alignment is told by them

    @property
    def num_covering(self) -> int:
        """Samples that share the pool in the end: picks and labeled ones."""
        return self.limits.num_picks + len(self.roles.labeled_hash_L)

    def limit(self, num_rows: int) -> int:
        """The hash up to which `num_rows` rows lie."""
        return int(self.hash_N[min(num_rows, len(self.hash_N)) - 1])

    def num_open(self, limit: int) -> int:
        """Rows up to a hash that may be picked."""
        num_closed = int((self.roles.closed_hash <= np.uint64(limit)).sum())
        return int(np.searchsorted(self.hash_N, np.uint64(limit), side="right")) - num_closed

    def wanted_hash(self) -> np.ndarray:
        """Rows that take part whatever their hash: those that are forced, and the lowest of every quota's minimum."""
        open_N = np.flatnonzero(self.roles.is_open(self.hash_N))
        parts = [self.roles.forced_hash]
        for g, least in enumerate(self.limits.min_G):
            has_value = (self.attributes.code_NQ[open_N] == g).any(axis=1)
            parts.append(self.hash_N[open_N[has_value][:least]])
        return np.unique(np.concatenate(parts))


def make_pool(request: Request, hash_N: np.ndarray) -> Pool:
    """Checks the request against the rows that there are.

    Raises:
        InputError: ids that are unknown or in two lists, columns that are missing, a budget or quotas that no batch can
            keep; with the numbers that clash.
    """
    spec = request.spec
    if spec.labels is not None or spec.earlier:
        raise InputError(
            "select.labels, select.earlier: files are read by the `mmcsal` command only; pass `labeled`, `exclude` and "
            "`classifier`"
        )
    lists = {
        "labeled": sorted({*request.labeled, *_ids(spec.labeled)}),
        "include": sorted(set(_ids(spec.include))),
        "exclude": sorted(set(_ids(spec.exclude))),
    }
    hashes = {name: _known(name, ids, request.salt, hash_N) for name, ids in lists.items()}
    _check_apart(lists)
    roles = SampleRoles(
        labeled_hash_L=np.sort(hashes["labeled"]),
        forced_hash=np.sort(hashes["include"]),
        closed_hash=np.sort(np.concatenate([hashes["labeled"], hashes["exclude"]])),
    )
    attributes = _attributes(request, hash_N)
    is_open_N, is_forced_N = roles.is_open(hash_N), np.isin(hash_N, roles.forced_hash)
    cost_N = attributes.cost_N if isinstance(spec.budget, TotalCost) else None
    attributes = Attributes(hash_N, cost_N, attributes.weight_N, attributes.code_NQ)
    budget, num_picks = _budget(spec, cost_N, is_open_N, len(hashes["labeled"]), len(hashes["exclude"]))
    _check_included(budget, cost_N, is_forced_N)
    min_G = np.array([q.min for q in spec.quotas], np.int64)
    max_G = np.array([UNLIMITED if q.max is None else q.max for q in spec.quotas], np.int64)
    check_quotas(
        _keys(spec), min_G, max_G, attributes.code_NQ, is_open_N, is_forced_N, num_picks, cost_N is None
    )  # fmt: skip
    return Pool(hash_N, roles, attributes, BatchLimits(budget, num_picks, min_G, max_G), _pair_scores(request, hash_N))


def _pair_scores(request: Request, hash_N: np.ndarray) -> PairScores | None:
    """The scores that were given, in the order of the pool; None where the spec or the caller wants none.

    Raises:
        InputError: the spec asks for some, and there are none.
    """
    given = request.alignment
    if given is None and request.spec.align_score == "evidence":
        raise InputError(
            "select.align_score: evidence needs what training has seen of the pairs, with decoys "
            "(pretrain.decoys.share above 0), or `alignment`; there is none, use align_score=auto"
        )
    if given is None or not request.spec.uses_evidence:
        return None
    place_N = places_of_hashes(hash_N, hash_ids(given.sample_ids, salt=request.salt))
    return PairScores(np.append(given.scores.score_N, np.nan)[place_N], given.scores.null_M)


def check_classifier(request: Request, widths: tuple[int, int]) -> None:
    """Raises InputError where the strategy needs a classifier and there is none, or one of other embeddings."""
    kind = request.spec.strategy.kind
    if not isinstance(request.spec.strategy, WarmStart):
        return
    if request.classifier is None:
        raise InputError(
            f"select.strategy: {kind} chooses by a classifier that earlier labels have trained; label a first batch of "
            "a strategy that needs none (mmcsal), then use `mmcsal next-round --labels FILE`, or pass `classifier`"
        )
    found = tuple(len(head.weight_DY) for head in request.classifier.alone)
    if found != widths:
        raise InputError(
            f"select.strategy: {kind}: the classifier was trained on embeddings of widths {found}, "
            f"these have {widths}; train it on these embeddings"
        )


def _keys(spec: SelectSpec) -> list[tuple[str, str]]:
    return [(q.column, q.value) for q in spec.quotas]


def _ids(ids: tuple[str, ...] | str) -> Iterable[str]:
    if isinstance(ids, str):
        raise InputError(f"ids: a path ({ids!r}) is read by the `mmcsal` command only; pass the ids themselves")
    return ids


def _known(name: str, ids: Sequence[str], salt: str, hash_N: np.ndarray) -> np.ndarray:
    hash_L = hash_ids(ids, salt=salt)
    if not len(hash_L):
        return hash_L
    unknown = np.flatnonzero(~np.isin(hash_L, hash_N))
    if len(unknown):
        first = [ids[i] for i in unknown[:NUM_NAMED]]
        hint = "pass the embeddings of the labeled samples too, or " if name == "labeled" else ""
        raise InputError(
            f"{name}: {len(unknown)} of {len(ids)} ids are not in the pool of {len(hash_N)} rows, first {first}; "
            f"{hint}leave these ids out"
        )
    return hash_L


def _check_apart(lists: dict[str, list[str]]) -> None:
    for one, other in (("include", "labeled"), ("include", "exclude"), ("labeled", "exclude")):
        both = sorted(set(lists[one]) & set(lists[other]))
        if both:
            raise InputError(
                f"select: {len(both)} ids are in `{one}` and in `{other}`, first {both[:NUM_NAMED]}; "
                "an id may be in one of the lists"
            )


def _budget(spec: SelectSpec, cost_N, is_open_N: np.ndarray, num_labeled: int, num_excluded: int) -> tuple[float, int]:
    """The total cost, and how many picks it is expected to buy."""
    num_pool, num_open = len(is_open_N), int(is_open_N.sum())
    why = f"{num_labeled} are labeled" + (f", {num_excluded} excluded" if num_excluded else "")
    if isinstance(spec.budget, TotalCost):
        if cost_N is None:
            raise InputError("budget: a total cost needs the cost of each sample: a `cost` column, or `costs`")
        least = float(cost_N[is_open_N].min()) if num_open else np.inf
        if spec.budget.cost < least:
            raise InputError(
                f"budget: {spec.budget.cost:g} in all, but the cheapest of {num_open} samples costs {least:g}; raise it"
            )
        expected = round(spec.budget.cost / float(cost_N[is_open_N].mean()))
        return spec.budget.cost, min(max(expected, 1), num_open)
    budget = spec.budget if isinstance(spec.budget, int) else max(1, round(spec.budget * num_open))
    if budget > num_open:
        raise InputError(
            f"budget: {budget} samples, but only {num_open} of {num_pool} rows may be selected ({why}); "
            "lower the budget"
        )
    return float(budget), budget


def _check_included(budget: float, cost_N, is_forced_N: np.ndarray) -> None:
    spent = float(cost_N[is_forced_N].sum()) if cost_N is not None else float(is_forced_N.sum())
    if spent > budget:
        raise InputError(
            f"select.include: {int(is_forced_N.sum())} samples that cost {spent:g} in all, the budget is {budget:g}; "
            "raise the budget or include fewer"
        )


def _attributes(request: Request, hash_N: np.ndarray) -> Attributes:
    """Costs, weights and quotas by row, checked."""
    spec, table = request.spec, request.columns
    of_quotas = list(dict.fromkeys(q.column for q in spec.quotas))
    wanted = [*of_quotas, *([COST] if isinstance(spec.budget, TotalCost) else [])]
    present = table.column_names if table is not None else ["sample_id"]
    missing = [name for name in wanted if name not in present]
    if missing:
        raise InputError(
            f"select: columns {missing} are needed, found {present}; add them to the manifest, or pass them"
        )
    needed = [*wanted, *([WEIGHT] if WEIGHT in present else [])]
    if not needed or table is None:
        return Attributes(hash_N, None, None, np.zeros((len(hash_N), 0), np.int32))
    check_unique_ids(table["sample_id"], name="columns of the samples")
    place_N = _places(table, request.salt, hash_N, needed)
    picked = {name: pc.take(table[name], pa.array(place_N)) for name in needed}
    texts = {q: np.array(picked[q].cast(pa.string()).to_pylist(), object) for q in of_quotas}
    cost_N = _numbers(picked[COST], COST, smallest=1e-9) if isinstance(spec.budget, TotalCost) else None
    weight_N = normalised(_numbers(picked[WEIGHT], WEIGHT, smallest=0)) if WEIGHT in picked else None
    return Attributes(hash_N, cost_N, weight_N, quota_codes(_keys(spec), texts, len(hash_N)))


def _places(table: pa.Table, salt: str, hash_N: np.ndarray, needed: list[str]) -> np.ndarray:
    """Where the rows of the pool lie in the table of columns."""
    given = hash_ids(table["sample_id"].to_pylist(), salt=salt)
    order = np.argsort(given)
    place_N = np.minimum(np.searchsorted(given[order], hash_N), max(len(given) - 1, 0))
    found_N = given[order][place_N] == hash_N if len(given) else np.zeros(len(hash_N), bool)
    if not found_N.all():
        raise InputError(
            f"select: {int((~found_N).sum())} of {len(hash_N)} samples of the pool have no row with {needed}; "
            "give every sample one"
        )
    return order[place_N]


def _numbers(column: pa.ChunkedArray, name: str, *, smallest: float) -> np.ndarray:
    try:
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{name}: {column.type} instead of numbers ({error})") from error
    bad = ~(np.isfinite(values) & (values >= smallest))
    if bad.any():
        what = "above 0" if smallest else "0 or more"
        raise InputError(
            f"{name}: {int(bad.sum())} of {len(values)} values are not {what}, such as {values[bad][0]:g}; mend them"
        )
    if not values.any():
        raise InputError(f"{name}: all {len(values)} values are 0; at least one must be above 0")
    return values
