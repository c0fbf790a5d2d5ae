import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from mmcsal.contracts.trial import TRIAL
from mmcsal.evaluation.page import ablations_of, preferences_of, render, verdict
from mmcsal.evaluation.statistics import results_of
from mmcsal.evaluation.table import lines_of, text_of


def row(strategy, budget, seed, accuracy, class_picks=(3, 2, 1), agreement=0.0, density=0.5):
    fixed = {"num_picks": 6, "num_pool": 60, "num_test": 30, "macro_f1": 0.5, "calibration_error": 0.1, "seconds": 0.1}
    alone = {"accuracy_a": 0.4, "accuracy_v": 0.3, "class_recall": [1.0, 0.5, 0.0]}
    told = {"class_picks": list(class_picks), "agreement": agreement, "density": density}
    key = {"strategy": strategy, "budget": budget, "seed": seed, "accuracy": accuracy}
    return {**key, **fixed, **alone, **told}


def table_of(gains, num_seeds=8, budgets=(0.05, 0.2)):
    """Trials of strategies that are above random picks by so much."""
    rng = np.random.default_rng(0)
    noise = {(budget, seed): rng.normal() for budget in budgets for seed in range(num_seeds)}
    rows = [
        row(name, budget, seed, 0.5 + gain + 0.02 * noise[budget, seed] + 0.003 * rng.normal())
        for name, gain in gains.items()
        for budget, seed in noise
    ]
    return pa.Table.from_pylist(rows, schema=TRIAL)


class Shown(HTMLParser):
    """What the page shows, and what it loads."""

    def __init__(self, page):
        super().__init__()
        self.text, self.sources = "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_every_strategy_and_loads_nothing():
    trials = table_of({"mmcsal": 0.2, "random": 0.0, "<b>mine</b>": 0.1, "mmcsal_no_alignment": 0.15})
    page = render(trials, num_samples=90)
    assert render(trials, num_samples=90) == page
    shown = Shown(page.decode())
    assert all(source.startswith("data:image/png") for source in shown.sources)
    assert len(shown.sources) == 2
    for word in ("mmcsal_no_alignment", "<b>mine</b>", "90 labeled samples, 8 seeds", "5%", "20%"):
        assert word in shown.text
    assert "<b>mine" not in page.decode()


@pytest.mark.parametrize(
    ("gains", "told"),
    [
        ({"mmcsal": 0.2, "random": 0.0, "other": 0.1}, "mmcsal is first of 3 .* above random picks by \\+19\\.8"),
        ({"mmcsal": -0.2, "random": 0.0, "other": 0.1}, "mmcsal is third of 3 .* below random picks by -20\\."),
        ({"mmcsal": 0.0001, "random": 0.0}, "cannot be told from random picks"),
        ({"other": 0.1, "random": 0.0}, "other has the best average rank of 2"),
    ],
)
def test_the_verdict_claims_no_more_than_the_trials_show(gains, told):
    results = results_of(table_of(gains))
    assert re.search(told, verdict(results, lines_of(results)))


def test_of_one_seed_nothing_is_claimed():
    trials = table_of({"mmcsal": 0.2, "random": 0.0}, num_seeds=1)
    results = results_of(trials)
    assert "cannot be told" in verdict(results, lines_of(results))
    assert "*" not in "".join(text_of(results)[2:-1])
    render(trials, num_samples=90)


def test_ablations_are_what_is_lost_without_a_part():
    ((name, cells),) = ablations_of(results_of(table_of({"mmcsal": 0.2, "random": 0.0, "mmcsal_no_swaps": 0.1})))
    assert name == "mmcsal_no_swaps"
    assert len(cells) == 3
    assert all(9 < float(cell.split()[0]) < 11 for cell in cells)


def test_preferences_are_means_over_seeds():
    rows = [row("random", 0.05, 0, 0.5, (2, 2, 0), 0.1, 0.4), row("random", 0.05, 1, 0.5, (0, 3, 3), 0.3, 0.6)]
    facts = preferences_of(pa.Table.from_pylist(rows, schema=TRIAL), ["random"], 0.05)["random"]
    assert facts["class_share"].tolist() == [0.25, 0.5, 0.25]
    assert facts["agreement"] == pytest.approx(0.2)
    assert facts["density"] == pytest.approx(0.5)


def test_the_text_marks_what_differs_from_random():
    lines = text_of(results_of(table_of({"mmcsal": 0.2, "random": 0.0, "twin": 0.0})))
    assert lines[2].startswith("mmcsal")
    assert lines[2].count("*") == 2
    assert [line.count("*") for line in lines[3:5]] == [0, 0]
    assert re.search(r" \+19\.\d\d \+- 0\.\d\d$", lines[3])  # what mmcsal is ahead
    assert "ahead" not in "".join(text_of(results_of(table_of({"other": 0.2, "random": 0.0}))))


def test_the_text_shows_the_strategies_that_are_ranked_by_their_given_ranks():
    results = results_of(table_of({"mmcsal": 0.2, "random": 0.0, "twin": 0.0}))
    told = [line.split() for line in text_of(results, {"mmcsal": 2.0, "random": 1.5})[2:-1]]
    assert [words[0] for words in told] == ["random", "mmcsal"]
    assert "1.50" in told[0]
    assert "2.00" in told[1]


def test_the_table_says_which_modality_alone_was_the_better():
    names = {"mmcsal": 0.2, "random": 0.0, "mmcsal_a": 0.1, "k_center_a": 0.0, "mmcsal_v": 0.2, "k_center_v": 0.1}
    told = text_of(results_of(table_of(names)))[-1]
    assert "alone the second was the better" in told
    swapped = {name.replace("_v", "_x").replace("_a", "_v").replace("_x", "_a"): gain for name, gain in names.items()}
    assert "alone the first was the better" in text_of(results_of(table_of(swapped)))[-1]
    only_one = {name: gain for name, gain in names.items() if not name.endswith("_v")}
    assert not any("was the better" in line for line in text_of(results_of(table_of(only_one))))
