import json

import numpy as np
import pyarrow as pa
import pytest
import yaml
from scipy import stats

from mmcsal.config import load_config
from mmcsal.contracts.tuning import TUNING
from mmcsal.tuning.outcome import CHECK, PRESENT, SEARCH, finalists_of, fragment_of, lines_of, outcome_of
from mmcsal.tuning.page import render
from mmcsal.tuning.text import text_of

VALUES = {PRESENT: 0.5, 1: 0.0, 2: 1.0, 3: 2.0, 4: 0.5}


def rows(phase, gains, seeds, *, has_labels=True, coverage=None, noise=0.01):
    """Settings that gain so much over .8, each seed shifting all alike, with some noise of their own."""
    rng = np.random.default_rng(0)
    shift = {seed: rng.normal(scale=0.05) for seed in seeds}
    return [
        {
            "setting": number,
            "settings": json.dumps({"select.lambda_align": VALUES[number]}),
            "phase": phase, "budget": budget, "seed": seed, "num_picks": 10, "num_pool": 200, "num_test": 100,
            "accuracy": 0.8 + gain + shift[seed] + noise * rng.normal() if has_labels else None,
            "macro_f1": None,
            "coverage": 0.6 + (coverage or gains)[number] + shift[seed] / 10, "seconds": 0.1,
        }
        for number, gain in gains.items() for seed in seeds for budget in (0.05, 0.1)
    ]  # fmt: skip


def table(*parts):
    return pa.Table.from_pylist([row for part in parts for row in part], TUNING)


GAINS = {PRESENT: 0.0, 1: -0.1, 2: 0.05, 3: 0.03, 4: 0.0}


def test_lines_come_best_first_and_gains_are_paired_by_seed():
    early = [
        row for row in rows(SEARCH, {PRESENT: 0.0, 1: 0.3}, range(6)) if row["setting"] == PRESENT or row["seed"] < 2
    ]
    lines = lines_of(table(early, rows(SEARCH, {2: 0.05, 3: 0.03, 4: 0.0}, range(6))))
    assert [line.setting for line in lines][-1] == 1  # given up early: behind all others, whatever it promised
    assert lines[-1].num_seeds == 2
    exact = lines_of(table(rows(SEARCH, GAINS, range(6), noise=0)))
    assert [line.setting for line in exact] == [2, 3, PRESENT, 4, 1]
    assert [line.gain for line in exact] == pytest.approx([0.05, 0.03, 0, 0, -0.1])


def test_finalists_are_neither_the_present_settings_nor_given_up_nor_twice_the_same():
    found = rows(SEARCH, GAINS, range(6), noise=0)
    assert finalists_of(table(found), 5) == [2, 3, 1]  # 4 has the present values under another number
    assert finalists_of(table(found), 1) == [2]
    found = [row for row in found if row["setting"] != 2 or row["seed"] < 3]
    assert finalists_of(table(found), 5) == [3, 1]


def test_a_gain_beyond_chance_changes_the_settings():
    outcome = outcome_of(table(rows(SEARCH, GAINS, range(6)), rows(CHECK, {PRESENT: 0.0, 2: 0.05}, range(6, 18))))
    assert (outcome.objective, outcome.chosen, outcome.finalist) == ("accuracy", 2, 2)
    assert outcome.gain.mean == pytest.approx(0.05, abs=0.01)
    told = text_of(outcome)
    assert any("setting 2 is better than the present one by +5." in line for line in told)
    content = yaml.safe_load(fragment_of(outcome, ["why"]))
    assert content == {"select": {"lambda_align": 1.0}}


def test_a_key_that_the_present_strategy_has_not_is_left_out_of_the_fragment():
    found = rows(SEARCH, GAINS, range(6)) + rows(CHECK, {PRESENT: 0.0, 2: -0.1}, range(6, 18))
    for row in found:
        if row["setting"] == PRESENT:
            row["settings"] = json.dumps({"select.strategy.temperature": None, "select.lambda_align": 0.5})
    assert yaml.safe_load(fragment_of(outcome_of(table(found)), [])) == {"select": {"lambda_align": 0.5}}


def test_a_gain_within_chance_keeps_them():
    small = {PRESENT: 0.0, 2: 0.001, 3: -0.002}
    outcome = outcome_of(table(rows(SEARCH, GAINS, range(6)), rows(CHECK, small, range(6, 18), noise=0.02)))
    assert outcome.chosen == PRESENT
    assert "the present settings are kept" in " ".join(text_of(outcome))
    assert yaml.safe_load(fragment_of(outcome, [])) == {"select": {"lambda_align": 0.5}}


def test_the_best_in_the_search_has_to_win_again_on_fresh_seeds():
    outcome = outcome_of(
        table(rows(SEARCH, GAINS, range(6)), rows(CHECK, {PRESENT: 0.0, 2: -0.04, 3: 0.04}, range(6, 18)))
    )
    assert outcome.chosen == 3


def test_without_labels_a_gain_of_coverage_has_to_be_large_as_well():
    def chosen(gain):
        kinds = {"has_labels": False, "coverage": {**GAINS, 2: gain}}
        found = table(
            rows(SEARCH, GAINS, range(6), **kinds), rows(CHECK, {PRESENT: 0.0, 2: gain}, range(6, 18), **kinds)
        )
        outcome = outcome_of(found)
        assert outcome.objective == "coverage"
        assert outcome.correlation is None
        assert "there are no labels" in " ".join(text_of(outcome))
        return outcome.chosen

    assert chosen(0.008) == PRESENT  # 1.3% more: certain over seeds, and says nothing
    assert chosen(0.03) == 2


def test_a_winner_that_covers_less_is_warned_of():
    covers = {**GAINS, 2: -0.05}
    parts = (
        rows(SEARCH, GAINS, range(6), coverage=covers),
        rows(CHECK, {PRESENT: 0.0, 2: 0.05}, range(6, 18), coverage=covers),
    )
    outcome = outcome_of(table(*parts))
    assert outcome.chosen == 2
    assert "warning: setting 2 covers" in " ".join(text_of(outcome))


def test_the_rank_correlation_of_coverage_with_accuracy():
    covers = {PRESENT: 0.0, 1: 0.02, 2: 0.01, 3: -0.01, 4: 0.03}
    outcome = outcome_of(
        table(
            rows(SEARCH, GAINS, range(6), coverage=covers, noise=0), rows(CHECK, {PRESENT: 0.0, 2: 0.0}, range(6, 18))
        )
    )
    expected = stats.spearmanr([line.coverage for line in outcome.lines], [line.accuracy for line in outcome.lines])
    assert outcome.correlation == pytest.approx(float(expected.statistic))
    assert any("rank correlation" in line and f"{outcome.correlation:+.2f}" in line for line in text_of(outcome))


def test_the_fragment_is_a_configuration(tmp_path):
    outcome = outcome_of(table(rows(SEARCH, GAINS, range(6)), rows(CHECK, {PRESENT: 0.0, 2: 0.05}, range(6, 18))))
    (tmp_path / "best.yaml").write_text(fragment_of(outcome, ["a heading", "of two lines"]))
    assert load_config(str(tmp_path / "best.yaml")).select.lambda_align == 1.0


@pytest.mark.parametrize(
    "keys",
    [
        {"select.lambda_align": [0.0, 0.5], "select.lambda_div": [0.0, 0.1]},  # a grid
        {"select.lambda_align": [0.1, 0.2, 0.5], "select.lambda_div": [0.0, 0.3, 0.1]},  # a map
        {"select.lambda_align": [0.1, 0.5], "select.align_form": ["hinge", "gate"], "select.num_anchors": [64, 512]},
        {"select.strategy": [{"kind": "random"}, {"kind": "k_center"}]},
    ],
)
@pytest.mark.parametrize("has_labels", [True, False])
def test_the_page_shows_every_setting_and_is_the_same_each_time(keys, has_labels):
    import itertools

    is_grid = all(len(values) == 2 for values in keys.values())
    combinations = list(itertools.product(*keys.values()) if is_grid else zip(*keys.values(), strict=True))
    found = []
    for number, values in enumerate([combinations[0], *combinations]):
        for phase, seeds in ((SEARCH, range(3)), (CHECK, range(3, 7))):
            for row in rows(phase, {PRESENT: 0.01 * number}, seeds, has_labels=has_labels):
                found.append(row | {"setting": number, "settings": json.dumps(dict(zip(keys, values, strict=True)))})
    outcome = outcome_of(table(found))
    page = render(table(found), outcome)
    assert page == render(table(found), outcome)
    text = page.decode()
    assert text.count('<tr><th scope="row">') == len(combinations) + 1
    assert text.count("data:image/png") == (2 if has_labels else 1)
    assert "http" not in text.split("</head>")[1]
