"""Sentences and numbers."""

import pytest

from mmcsal.contracts.reject import Reason
from mmcsal.report.facts import RunFacts, Series, StageRun
from mmcsal.report.words import (
    REASON_MEANINGS,
    budget_sentences,
    change_sentence,
    duration,
    number,
    pace,
    percent,
    run_sentences,
    summary_rows,
    verdict,
)


def facts_of(num_selected=32, round_number=0, modalities=("video", "audio"), **summary):
    return RunFacts(
        run_name="run",
        picks=(),
        num_selected=num_selected,
        round=round_number,
        selected_at=None,
        summary=summary,
        modalities=modalities,
    )


class TestVerdict:
    @pytest.mark.parametrize(
        ("facts", "sentence"),
        [
            (
                facts_of(random_equivalent_budget=1071),
                "Label these 32 clips first: they cover the pool as well as 1,071 random picks would.",
            ),
            (
                facts_of(random_equivalent_budget=None),
                "Label these 32 clips first: they cover the pool better than any random batch that could be tried.",
            ),
            (
                facts_of(random_equivalent_budget=30),
                "Label these 32 clips first. By coverage alone, 30 random picks would do as well.",
            ),
            (
                facts_of(random_equivalent_budget=400, random_equivalent_is_bound=True),
                "Label these 32 clips first: they cover the pool as well as at least 400 random picks would.",
            ),
            (  # a bound below the budget says nothing against the selection
                facts_of(random_equivalent_budget=20, random_equivalent_is_bound=True),
                "Label these 32 clips first: they cover the pool better than any random batch that could be tried.",
            ),
            (facts_of(), "Label these 32 clips first."),
            (facts_of(round_number=2), "Label these 32 clips next."),
            (
                facts_of(num_selected=1, random_equivalent_budget=4),
                "Label this clip first: it covers the pool as well as 4 random picks would.",
            ),
            (facts_of(modalities=("image", "text")), "Label these 32 images with text first."),
            (facts_of(modalities=("lidar", "radar")), "Label these 32 samples first."),
            (facts_of(modalities=()), "Label these 32 clips first."),
            (facts_of(num_selected=0), "Nothing was selected."),
        ],
    )
    def test_sentence(self, facts, sentence):
        assert verdict(facts).sentence == sentence

    def test_bars_are_drawn_only_where_both_sizes_are_known(self):
        assert verdict(facts_of(random_equivalent_budget=71)).random_budget == 71
        assert verdict(facts_of(random_equivalent_budget=None)).random_budget is None

    def test_support_without_numbers_is_empty(self):
        assert verdict(facts_of()).support == ""


KEEPS = "Stopping after 8 labels would keep 75 % of the gain in coverage: each label after them brings less"


class TestBudgetSentences:
    CURVE = ((0, 0.2), (8, 0.5), (32, 0.6))

    @pytest.mark.parametrize(
        ("facts", "sentences"),
        [
            (facts_of(coverage_curve=CURVE, knee=8), [f"{KEEPS} than the average."]),
            (
                facts_of(coverage_curve=((0, 0.2), (1, 0.4), (32, 0.6)), knee=1),
                [f"{KEEPS} than the average.".replace("8 labels", "1 label").replace("75", "50").replace("them", "it")],
            ),
            (facts_of(coverage_curve=CURVE), []),
            (facts_of(coverage_curve=CURVE, knee=32), []),  # stopping at the end is no choice
            (facts_of(coverage_curve=((0, 0.6), (8, 0.6), (32, 0.6)), knee=8), []),
            (facts_of(knee=8), []),
            (
                facts_of(coverage_curve=CURVE, knee=8, random_equivalent_budget=71),
                [
                    f"{KEEPS} than the average.",
                    "Random picks would need 71 labels for the same coverage, 2.2 times as many.",
                ],
            ),
            (
                facts_of(random_equivalent_budget=4000, random_equivalent_is_bound=True),
                ["Random picks would need at least 4,000 labels for the same coverage."],
            ),
            (facts_of(random_equivalent_budget=30), ["Random picks would need 30 labels for the same coverage."]),
            (facts_of(random_equivalent_budget=33), ["Random picks would need 33 labels for the same coverage."]),
            (facts_of(random_equivalent_budget=1), ["Random picks would need 1 label for the same coverage."]),
            (
                facts_of(random_equivalent_budget=20, random_equivalent_is_bound=True),
                ["No random batch that could be tried reaches the same coverage."],
            ),
            (
                facts_of(random_equivalent_budget=None),
                ["No random batch that could be tried reaches the same coverage."],
            ),
            (facts_of(num_selected=0, coverage_curve=((0, 0.2),), random_equivalent_budget=0), []),
        ],
    )
    def test_say_what_was_measured(self, facts, sentences):
        assert budget_sentences(facts) == sentences


def test_every_reason_of_a_reject_has_a_meaning():
    assert REASON_MEANINGS.keys() == set(Reason)


def test_summary_rows_show_what_there_is():
    rows = summary_rows(
        {"gain_unit": 7.0, "zeta": 3, "coverage": 0.5, "random_equivalent_budget": None, "coverage_curve": [[1, 0.1]]}
    )
    assert [(name, value) for name, value, _ in rows] == [
        ("coverage", "0.500"),
        ("random_equivalent_budget", "more than the pool can tell"),
        ("zeta", "3"),
    ]


def test_summary_rows_tell_the_parts_of_a_mixed_coverage():
    joint = {"joint": {"weight": 1.0, "coverage": 0.5, "bandwidth": 0.1}}
    assert summary_rows({"parts": joint}) == []
    mixed = {"joint": {"weight": 0.5, "coverage": 0.5}, "audio": {"weight": 0.5, "coverage": 0.25}}
    rows = summary_rows({"parts": mixed})
    assert [name for name, _, _ in rows] == ["coverage by joint", "coverage by audio"]
    assert rows[1][1:] == ("0.250", "counts 50 % of the coverage")


def test_summary_rows_say_that_a_bound_is_one():
    rows = summary_rows({"random_equivalent_budget": 4000, "random_equivalent_is_bound": True})
    assert [row[1] for row in rows] == ["4,000 or more"]


def test_summary_rows_explain_every_number_of_a_selection_and_leave_out_its_curves():
    summary = {
        "coverage_curve": [[0, 0.0], [32, 0.6]],
        "random_curve": [],
        "coverage_random": 0.4,
        "gain_over_random": 1 / 3,
        "knee": 8,
        "strategy": "hybrid",
        "num_swaps": 5,
        "swap_gain": 0.0123,
        "num_duplicates": 0,
        "total_cost": 1250.5,
        "num_rejected": 2,
    }
    rows = {name: (value, meaning) for name, value, meaning in summary_rows(summary)}
    assert rows.keys() == summary.keys() - {"coverage_curve", "random_curve"}
    assert all(meaning for _, meaning in rows.values())
    assert [rows[name][0] for name in ("strategy", "gain_over_random", "total_cost")] == ["hybrid", "0.333", "1,250"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345, "12,345"),
        (0.0, "0"),
        (24.0, "24"),
        (1.0234, "1.02"),
        (0.14836, "0.148"),
        (0.00012345, "0.000123"),
        (12345.6, "12,346"),
        (float("nan"), "not finite"),
        (float("inf"), "not finite"),
        (True, "True"),
        ("cells", "cells"),
    ],
)
def test_number(value, text):
    assert number(value) == text


def test_percent_and_duration():
    assert [percent(s) for s in (0.5, 0.084, 0.0012)] == ["50 %", "8.4 %", "0.12 %"]
    assert [duration(s) for s in (1.23, 95, 3600 * 2 + 65)] == ["1.2 s", "1 min 35 s", "2 h 01 min"]


@pytest.mark.parametrize(
    ("values", "epochs", "sentence"),
    [
        ((1.0, 0.2), (-1, 0), "The modality gap fell from 1 before training to 0.200 after it."),
        ((0.2, 1.0), (0, 5), "The modality gap rose from 0.200 in the first epoch to 1 in the last."),
        ((1.0, 1.0), (0, 1), "The modality gap stayed at 1."),
        ((1.0,), (0,), "The modality gap is 1."),
    ],
)
def test_change_sentence(values, epochs, sentence):
    assert change_sentence(Series("pretrain", "gap", epochs, values)) == sentence


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        (StageRun("Scan", "done", 2.0, 500), "250 a second"),
        (StageRun("Pretrain", "done", 600.0, 4, "epochs"), "2 min 30 s each"),
        (StageRun("Scan", "done", 0.0, 500), ""),
        (StageRun("Scan", "done", 2.0, 0), ""),
        (StageRun("Decode", "resumed", 2.0, 500), ""),  # an earlier attempt did a part of them
        (StageRun("Decode", "not finished"), ""),
    ],
)
def test_pace(stage, text):
    assert pace(stage) == text


def test_run_sentences_are_silent_about_what_is_not_known():
    assert run_sentences([StageRun("Scan", "not finished")]) == []
    assert run_sentences([StageRun("Scan", "done", 0.0, num_retries=0)]) == []
    assert run_sentences([StageRun("Scan", "done", 1.0), StageRun("Embed", "not finished")]) == ["Scan took 1.0 s."]
