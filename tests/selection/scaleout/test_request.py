import numpy as np
import pyarrow as pa
import pytest

from mmcsal.contracts.errors import InputError, TableError
from mmcsal.contracts.ids import hash_ids
from mmcsal.selection.objective.constraints import UNLIMITED
from mmcsal.selection.scaleout.request import Request, make_pool
from mmcsal.selection.spec import Quota, SelectSpec, TotalCost

IDS = [f"s{i}" for i in range(10)]


def pool_of(*, labeled=(), columns=None, **settings):
    """The pool of ten rows, seven of them of source x, two of y, one without a source."""
    table = {"sample_id": IDS, "source": ["x"] * 7 + ["y"] * 2 + [None], **(columns or {})}
    spec = SelectSpec(**{"budget": 4, **settings})
    request = Request(spec, "salt", tuple(labeled), pa.table({n: v for n, v in table.items() if v is not None}))
    return make_pool(request, np.sort(hash_ids(IDS, salt="salt")))


def quota(value, **numbers):
    return Quota(column="source", value=value, **numbers)


def hashes(*ids):
    return np.sort(hash_ids(ids, salt="salt")).tolist()


def test_a_pool_holds_what_was_asked():
    pool = pool_of(
        labeled=["s1"], include=("s2",), exclude=("s3",), quotas=(quota("y", min=1, max=2), quota("x", max=3))
    )
    assert (pool.limits.budget, pool.limits.num_picks) == (4.0, 4)
    assert pool.roles.labeled_hash_L.tolist() == hashes("s1")
    assert pool.roles.forced_hash.tolist() == hashes("s2")
    assert pool.roles.closed_hash.tolist() == hashes("s1", "s3")
    assert pool.hash_N[pool.roles.is_open(pool.hash_N)].tolist() == hashes("s0", "s2", *IDS[4:])
    assert (pool.limits.min_G.tolist(), pool.limits.max_G.tolist()) == ([1, 0], [2, 3])
    assert pool.attributes.codes(hash_ids(["s0", "s8", "s9"], salt="salt")).tolist() == [[1], [0], [-1]]
    assert pool.attributes.cost_N is pool.attributes.weight_N is None


def test_labels_of_the_spec_and_of_the_caller_are_one_list():
    request = Request(SelectSpec(budget=4, labeled=("s2", "s3")), "salt", ("s1", "s2", "s1"))
    pool = make_pool(request, np.sort(hash_ids(IDS, salt="salt")))
    assert pool.roles.labeled_hash_L.tolist() == hashes("s1", "s2", "s3")


def test_a_total_cost_buys_about_as_many_as_its_mean():
    costs = [1.0] * 5 + [3.0] * 5
    pool = pool_of(budget=TotalCost(cost=6), columns={"cost": costs})
    assert (pool.limits.budget, pool.limits.num_picks) == (6.0, 3)
    assert pool.attributes.costs(hash_ids(["s0", "s9"], salt="salt")).tolist() == [1.0, 3.0]
    assert pool_of(columns={"cost": costs}).attributes.cost_N is None  # a count ignores them


def test_rows_of_the_table_may_lie_in_any_order():
    order, weights = np.random.default_rng(0).permutation(10), np.arange(10.0)
    table = {"sample_id": [IDS[i] for i in order], "weight": weights[order], "source": None}
    pool = pool_of(columns=table)
    found = pool.attributes.weights(hash_ids(IDS, salt="salt"))
    assert found.tolist() == [0, 57, 114, 171, 228, 284, 341, 398, 455, 512]  # in units of the mean, 4.5, times 256


def test_quotas_may_be_of_a_column_of_numbers():
    pool = pool_of(
        budget=TotalCost(cost=6),
        columns={"cost": [1.0] * 5 + [3.0] * 5, "weight": list(range(10))},
        quotas=(Quota(column="cost", value="3", min=1), Quota(column="weight", value="9", max=1)),
    )
    assert pool.attributes.codes(hash_ids(["s0", "s9"], salt="salt")).tolist() == [[-1, -1], [0, 1]]
    text = pool_of(columns={"cost": ["low"] * 5 + ["high"] * 5}, quotas=(Quota(column="cost", value="low", max=1),))
    assert text.attributes.cost_N is None
    assert text.limits.max_G.tolist() == [1]
    assert pool_of(quotas=(quota("x", min=1),)).limits.max_G.tolist() == [UNLIMITED]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"labeled": ["s1", "no", "nor"]},
            r"labeled: 2 of 3 ids are not in the pool of 10 rows, first \['no', 'nor'\]; pass the embeddings of the "
            "labeled samples too, or leave these ids out",
        ),
        ({"include": ("s1", "no")}, r"include: 1 of 2 ids are not in the pool .*\['no'\]; leave these ids out"),
        ({"exclude": ("no",)}, r"exclude: 1 of 1 ids are not in the pool .*\['no'\]; leave these ids out"),
        (
            {"labeled": ["s1"], "include": ("s1", "s2")},
            r"1 ids are in `include` and in `labeled`, first \['s1'\]; an id may be in one of the lists",
        ),
        ({"include": ("s1", "s2"), "exclude": ("s2",)}, r"in `include` and in `exclude`, first \['s2'\]"),
        ({"labeled": ["s5"], "exclude": ("s5", "s6")}, r"in `labeled` and in `exclude`, first \['s5'\]"),
        ({"include": "ids.txt"}, r"a path \('ids.txt'\) is read by the `mmcsal` command only"),
        (
            {"budget": 9, "labeled": ["s1"], "exclude": ("s2",)},
            r"budget: 9 samples, but only 8 of 10 rows may be selected \(1 are labeled, 1 excluded\)",
        ),
        ({"include": ("s1", "s2", "s3", "s4", "s5")}, r"include: 5 samples that cost 5 in all, the budget is 4"),
        ({"quotas": (Quota(column="speaker", value="a", min=1),)}, r"columns \['speaker'\] are needed, found .*source"),
        ({"budget": TotalCost(cost=4)}, r"columns \['cost'\] are needed"),
    ],
)
def test_what_does_not_fit_the_pool_is_told(given, message):
    with pytest.raises(InputError, match=message):
        pool_of(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((quota("y", min=3),), "source='y' asks for at least 3 picks, but only 2 samples of it may be selected"),
        ((quota("z", min=1),), "source='z' asks for at least 1 picks, but only 0 samples"),
        (
            (quota("x", min=3), quota("y", min=2)),
            "the least numbers of 'source' add up to 5, the budget is 4; raise the budget or lower them",
        ),
        (
            (quota("x", max=1), quota("y", max=1)),
            "the largest numbers of 'source' leave room for 3 picks, the budget is 4",
        ),
    ],
)
def test_quotas_that_clash_are_told(given, message):
    with pytest.raises(InputError, match=message):
        pool_of(quotas=given)


def test_quotas_that_clash_with_include_are_told():
    with pytest.raises(InputError, match=r"source='y' allows 1 picks, but select.include holds 2 of it"):
        pool_of(quotas=(quota("y", max=1),), include=("s7", "s8"))
    message = "the least numbers of 'source' add up to 3, select.include holds 2 more, the budget is 4"
    with pytest.raises(InputError, match=message):
        pool_of(quotas=(quota("x", min=3),), include=("s0", "s8", "s9"))
    assert pool_of(quotas=(quota("x", min=3),), include=("s0", "s1", "s9")).limits.num_picks == 4
    with pytest.raises(InputError, match="only 1 samples of it may be selected"):
        pool_of(quotas=(quota("y", min=2),), exclude=("s8",))


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf, None])
def test_costs_that_are_none_are_told(bad):
    costs = [1.0] * 9 + [bad]
    with pytest.raises(InputError, match=r"cost: 1 of 10 values are not above 0, such as "):
        pool_of(budget=TotalCost(cost=4), columns={"cost": costs})


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, None])
def test_weights_that_are_none_are_told(bad):
    with pytest.raises(InputError, match=r"weight: 1 of 10 values are not 0 or more, such as "):
        pool_of(columns={"weight": [1.0] * 9 + [bad]})


def test_weights_that_are_all_zero_are_told():
    with pytest.raises(InputError, match="weight: all 10 values are 0; at least one must be above 0"):
        pool_of(columns={"weight": [0.0] * 10})


@pytest.mark.parametrize(("name", "budget"), [("cost", TotalCost(cost=4)), ("weight", 4)])
def test_text_in_place_of_numbers_is_told(name, budget):
    with pytest.raises(InputError, match=rf"{name}: string instead of numbers \(.*dear"):
        pool_of(budget=budget, columns={name: ["1.5"] * 9 + ["dear"]})


def test_total_costs_that_buy_nothing_are_told():
    costs = {"cost": [5.0] * 9 + [2.5]}
    with pytest.raises(InputError, match=r"budget: 2 in all, but the cheapest of 10 samples costs 2.5; raise it"):
        pool_of(budget=TotalCost(cost=2), columns=costs)
    with pytest.raises(InputError, match="the cheapest of 9 samples costs 5"):
        pool_of(budget=TotalCost(cost=3), columns=costs, exclude=("s9",))
    with pytest.raises(InputError, match=r"include: 2 samples that cost 7.5 in all, the budget is 6"):
        pool_of(budget=TotalCost(cost=6), columns=costs, include=("s8", "s9"))


def test_samples_without_a_row_of_columns_are_told():
    table = pa.table({"sample_id": IDS[:8], "source": ["x"] * 8})
    request = Request(SelectSpec(budget=4, quotas=(quota("x", max=4),)), "salt", (), table)
    with pytest.raises(InputError, match=r"2 of 10 samples of the pool have no row with \['source'\]"):
        make_pool(request, np.sort(hash_ids(IDS, salt="salt")))


def test_samples_with_two_rows_of_columns_are_told():
    table = pa.table({"sample_id": [*IDS, "s3"], "source": ["x"] * 11})
    request = Request(SelectSpec(budget=4, quotas=(quota("x", max=4),)), "salt", (), table)
    with pytest.raises(TableError, match=r"columns of the samples.*'s3'"):
        make_pool(request, np.sort(hash_ids(IDS, salt="salt")))
