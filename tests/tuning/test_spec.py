import re

import pytest
from pydantic import ValidationError

from mmcsal.selection.spec import SelectSpec
from mmcsal.tuning.spec import Choice, Range, TuneSpec, settings_of, simulated, takes_whole_numbers, with_settings


def test_settings_go_into_a_spec_and_come_out_again():
    settings = {"select.lambda_align": 0.7, "select.strategy.max_swap_passes": 2, "select.align_form": "gate"}
    spec = with_settings(SelectSpec(budget=9, lambda_div=0.1), settings)
    assert settings_of(spec, list(settings)) == settings
    assert (spec.budget, spec.lambda_div) == (9, 0.1)
    assert settings_of(SelectSpec(), ["select.strategy.temperature"]) == {"select.strategy.temperature": None}
    whole = with_settings(SelectSpec(), {"select.strategy": {"kind": "k_center"}})
    assert settings_of(whole, ["select.strategy"])["select.strategy"]["kind"] == "k_center"


def test_trials_leave_out_what_is_said_of_the_samples_of_this_pool():
    quota = {"column": "source", "value": "x", "max": 3}
    select = SelectSpec.model_validate(
        {"budget": 40, "labeled": ["a"], "exclude": "gone.txt", "quotas": [quota], "lambda_align": 0.2, "round": 2}
    )
    assert simulated(select) == SelectSpec(budget=1, lambda_align=0.2)


def test_a_range_of_a_whole_number_is_told_from_one_of_any_number():
    assert takes_whole_numbers("select.num_anchors", Range(low=64, high=512))
    assert not takes_whole_numbers("select.lambda_align", Range(low=0, high=1))


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"pretrain.epochs": {"values": [3]}}, "only keys of `select` can be tuned"),
        ({"select.budget": {"values": [3]}}, "says what to select, not how"),
        ({"select.lambda_algin": {"low": 0, "high": 1}}, "select.lambda_algin=0"),
        ({"select.lambda_align": {"low": -1, "high": 1}}, "greater than or equal to 0"),
        ({"select.lambda_align": {"low": 1, "high": 1}}, "low 1 is not below high 1"),
        ({"select.lambda_align": {"low": 0, "high": 1, "log": True}}, "begins above 0"),
        ({"select.align_form": {"values": ["hinge", "none"]}}, "select.align_form='none'"),
        ({"select.align_form": {"values": []}}, "at least 1 item"),
        ({}, "at least 1 item"),
    ],
)
def test_a_space_that_cannot_be_searched(space, told):
    with pytest.raises(ValidationError, match=re.escape(told)):
        TuneSpec.model_validate({"space": space})


def test_a_grid_needs_values():
    with pytest.raises(ValidationError, match=r"needs `values`.*select.lambda_align has a range"):
        TuneSpec(search="grid")
    TuneSpec(search="grid", space={"select.lambda_align": Choice(values=(0.0, 1.0))})
