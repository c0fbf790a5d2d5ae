"""What holds for every strategy, found from the unions: a new one is tested here without a new line.

Through `select_pairs`, as its users call it; the last part says what a file of a strategy must hold.
"""

import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from mmcsal import select_pairs
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.spec import Spec
from mmcsal.selection import Quota, Selection, SelectSpec, strategies
from mmcsal.selection.strategies import RANK_ROWS, ColdStart, WarmStart, specs_of
from tests.selection.problems import classifier_of, clusters, problem_of, quick_specs, unit_rows

EVERYONE = quick_specs(ColdStart | WarmStart)
RANKING = {kind: spec for kind, spec in EVERYONE.items() if type(spec) in RANK_ROWS}  # the whole pool at once
every_kind = pytest.mark.parametrize("kind", EVERYONE)
CLASSIFIER = classifier_of(width_a=4, width=9)
NUM_ROWS = 48
IDS = np.array([f"clip-{n:02d}" for n in range(NUM_ROWS)])
CALLERS_ORDER = np.random.default_rng(7).permutation(NUM_ROWS)


def make_views() -> tuple[np.ndarray, np.ndarray]:
    """Rows around six centres, as widths of 4 and 5 see them."""
    x_ND, _ = clusters([16, 12, 8, 6, 4, 2], noise=0.3)
    rng = np.random.default_rng(1)
    a_ND, v_ND = (x_ND @ rng.normal(size=(8, width)) for width in (4, 5))
    return a_ND.astype(np.float32), v_ND.astype(np.float32)


A_ND, V_ND = make_views()


def select(kind: str, budget: float, *, rows: np.ndarray | None = None, views=(A_ND, V_ND), **given) -> Selection:
    """Of the rows in that order; keys of `select_pairs` and, in `spec`, of SelectSpec."""
    rows = np.arange(len(views[0])) if rows is None else rows
    spec = SelectSpec.model_validate({"num_anchors": 16, "strategy": EVERYONE[kind], **given.pop("spec", {})})
    given = {"sample_ids": IDS[rows], "classifier": CLASSIFIER, **given}
    return select_pairs(views[0][rows], views[1][rows], budget, config=spec, **given)


def picks(kind: str, budget: float, **given) -> list[int]:
    """Row numbers, in the order of their ranks."""
    return [IDS.tolist().index(i) for i in select(kind, budget, **given).sample_ids]


# --- what is asked for ---


@every_kind
@pytest.mark.parametrize("budget", [1, 9, NUM_ROWS])
def test_the_budget_is_spent_on_distinct_rows(kind, budget):
    found = select(kind, budget)
    assert len(found.sample_ids) == len(set(found.sample_ids)) == budget
    assert found.table["rank"].to_pylist() == list(range(budget))


@every_kind
def test_a_fraction_is_of_the_rows_that_may_be_picked(kind):
    assert len(picks(kind, 0.25, labeled=IDS[:8])) == 10


@every_kind
def test_more_than_there_is_is_refused(kind):
    with pytest.raises(InputError, match="budget: 48 samples, but only 47 of 48 rows may be selected"):
        select(kind, NUM_ROWS, labeled=IDS[:1])


@every_kind
def test_what_is_labeled_is_never_picked(kind):
    labeled = CALLERS_ORDER[:30]
    assert sorted(picks(kind, 18, labeled=IDS[labeled])) == sorted(set(range(NUM_ROWS)) - set(labeled.tolist()))
    assert not set(picks(kind, 6, labeled=IDS[labeled])) & set(labeled.tolist())


@every_kind
def test_include_and_exclude_are_kept(kind):
    free = picks(kind, 8)
    others = [n for n in range(NUM_ROWS) if n not in free][:2]
    found = picks(kind, 8, spec={"include": tuple(IDS[others]), "exclude": tuple(IDS[free[:3]])})
    assert len(set(found)) == 8
    assert set(others) <= set(found)
    assert not set(free[:3]) & set(found)


@every_kind
def test_quotas_are_kept(kind):
    free = picks(kind, 8)
    speaker_N = np.where(np.isin(np.arange(NUM_ROWS), free), "often", "seldom")
    quotas = (Quota(column="speaker", value="often", max=5), Quota(column="speaker", value="seldom", min=3))
    found = picks(kind, 8, columns={"speaker": speaker_N.tolist()}, spec={"quotas": quotas})
    assert speaker_N[found].tolist().count("often") <= 5
    assert len(set(found)) == 8


@every_kind
def test_a_total_cost_is_kept_and_spent(kind):
    cost_N = np.random.default_rng(2).choice([0.5, 1.0, 2.5], NUM_ROWS)
    found = picks(kind, 9.5, costs=cost_N)
    left = 9.5 - cost_N[found].sum()
    assert len(found) == len(set(found))
    assert 0 <= left < cost_N[np.setdiff1d(np.arange(NUM_ROWS), found)].min()  # nothing more can be bought


# --- what must not matter ---


@every_kind
def test_only_the_ratios_of_weights_matter_and_equal_ones_are_none(kind):
    weight_N = np.random.default_rng(3).integers(1, 9, NUM_ROWS).astype(float)
    assert picks(kind, 9, weights=weight_N) == picks(kind, 9, weights=64 * weight_N)
    if kind != "kmeans_nearest":  # draws its starts by weight, and from equal ones draws others
        assert picks(kind, 9, weights=np.full(NUM_ROWS, 3.0)) == picks(kind, 9)


@every_kind
def test_the_order_of_rows_does_not_matter(kind):
    given = {"labeled": IDS[:3], "weights": np.arange(1, NUM_ROWS + 1)}
    moved = {"labeled": IDS[:3], "weights": given["weights"][CALLERS_ORDER], "rows": CALLERS_ORDER}
    assert select(kind, 9, **moved).table.equals(select(kind, 9, **given).table)


@every_kind
def test_the_lengths_of_vectors_do_not_matter(kind):
    assert picks(kind, 9, views=(4 * A_ND, V_ND / 8)) == picks(kind, 9)


@every_kind
def test_the_same_seed_gives_the_same_batch_and_another_seed_a_whole_one(kind):
    assert select(kind, 9, seed=5).table.equals(select(kind, 9, seed=5).table)
    assert len(set(picks(kind, 9, seed=6))) == 9


@every_kind
def test_what_the_caller_passes_stays_as_it_is(kind):
    views, weight_N = (A_ND.copy(), V_ND.copy()), np.arange(1.0, NUM_ROWS + 1)
    select(kind, 9, views=views, weights=weight_N)
    np.testing.assert_array_equal(views[0], A_ND)
    np.testing.assert_array_equal(views[1], V_ND)
    np.testing.assert_array_equal(weight_N, np.arange(1.0, NUM_ROWS + 1))


# --- pools at the edge ---


@every_kind
def test_copies_are_rows_like_others(kind):
    rows = np.arange(NUM_ROWS) // 6  # eight rows, six times each
    views = (A_ND[rows], V_ND[rows])
    assert sorted(picks(kind, NUM_ROWS, views=views)) == list(range(NUM_ROWS))
    assert not set(picks(kind, 20, views=views, labeled=IDS[::2])) & set(range(0, NUM_ROWS, 2))


@every_kind
@pytest.mark.parametrize("num_rows", [1, 2, 3])
def test_tiny_pools(kind, num_rows):
    rows = np.arange(num_rows)
    assert sorted(picks(kind, num_rows, rows=rows)) == rows.tolist()
    assert len(picks(kind, 1, rows=rows)) == 1


@every_kind
def test_rows_that_are_all_equal(kind):
    views = (np.ones((NUM_ROWS, 4)), np.ones((NUM_ROWS, 5)))
    assert len(set(picks(kind, 9, views=views, labeled=IDS[:2]))) == 9


@pytest.mark.parametrize("kind", RANKING)
def test_a_pool_beyond_the_limit_is_refused_with_the_key_to_change(kind):
    def limited(num_rows: int) -> dict:
        return {"strategy": EVERYONE[kind].model_copy(update={"max_pool_size": num_rows})}

    told = f"{kind} compares all rows .* this one has 48; use strategy.kind=mmcsal, or raise strategy.max_pool_size"
    with pytest.raises(InputError, match=told):
        select(kind, 9, spec=limited(NUM_ROWS - 1))
    assert len(picks(kind, 9, spec=limited(NUM_ROWS))) == 9


@pytest.mark.parametrize("kind", specs_of(ColdStart))
def test_a_cold_start_needs_no_classifier_and_makes_no_use_of_one(kind):
    assert picks(kind, 9, classifier=None) == picks(kind, 9)


@pytest.mark.parametrize("kind", specs_of(WarmStart))
def test_a_warm_start_needs_a_classifier_of_these_embeddings(kind):
    with pytest.raises(InputError, match=f"{kind} chooses by a classifier that earlier labels have trained; label a"):
        select(kind, 9, classifier=None)
    with pytest.raises(InputError, match=rf"{kind}: the classifier was .* widths \(3, 3\), these have \(4, 5\); train"):
        select(kind, 9, classifier=classifier_of())
    assert picks(kind, 9, classifier=classifier_of(width_a=4, width=9, seed=1)) != picks(kind, 9)


# --- the file of a strategy ---


@pytest.mark.parametrize("kind", RANKING)
def test_rank_rows_gives_open_rows_once_and_leaves_the_problem_as_it_is(kind):
    given = {"labeled": [2, 3], "closed": [11], "classifier": classifier_of()}
    problem, untouched = (problem_of(unit_rows(40), 12, **given) for _ in range(2))
    rows = RANK_ROWS[type(EVERYONE[kind])](problem, EVERYONE[kind])
    assert rows.dtype == np.int64
    assert len(rows) == len(set(rows.tolist())) == problem.num_ranked
    assert problem.is_open_N[rows].all()
    for field in fields(problem):
        if isinstance(getattr(problem, field.name), np.ndarray):
            np.testing.assert_array_equal(getattr(problem, field.name), getattr(untouched, field.name), field.name)


@pytest.mark.parametrize("kind", EVERYONE)
def test_a_strategy_is_the_file_of_its_kind(kind):
    spec = type(EVERYONE[kind])
    assert spec.__module__ == f"{strategies.__name__}.{kind}", "name the file as the kind"
    assert ("max_pool_size" in spec.model_fields) == (kind in RANKING), "what compares all rows says up to how many"


@pytest.mark.parametrize("kind", RANKING)
def test_a_strategy_has_a_test_of_its_own(kind):
    others = [path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    imported = re.compile(rf"^from mmcsal\.selection\.strategies(\.{kind} import| import .*\b{kind}\b)", re.MULTILINE)
    assert any(imported.search(path.read_text()) for path in others), f"write test_{kind}.py, with a plain reference"


def test_every_file_with_a_kind_is_in_the_union():
    for path in sorted(Path(strategies.__path__[0]).glob("*.py")):
        module = import_module(f"{strategies.__name__}.{path.stem}".removesuffix(".__init__"))
        here = [x for x in vars(module).values() if isinstance(x, type) and x.__module__ == module.__name__]
        found = [x for x in here if issubclass(x, Spec) and "kind" in x.model_fields]
        assert found == ([specs_of(ColdStart | WarmStart)[path.stem]] if path.stem in EVERYONE else []), (
            f"{path.name}: add its spec to `ColdStart` or `WarmStart` in strategies/__init__.py"
        )
