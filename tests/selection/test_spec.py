import pytest
from pydantic import ValidationError

from mmcsal.selection import SelectSpec


@pytest.mark.parametrize("budget", [1, 500, 0.001, 0.999])
def test_a_budget_is_a_count_or_a_fraction(budget):
    assert SelectSpec(budget=budget).budget == budget
    assert type(SelectSpec(budget=budget).budget) is type(budget)


@pytest.mark.parametrize("budget", [0, -1, 1.5, 1.0, 2.0, 0.0, True, "many", None, float("nan")])
def test_other_budgets_are_refused(budget):
    with pytest.raises(ValidationError):
        SelectSpec(budget=budget)


def test_defaults_are_those_of_the_method():
    spec = SelectSpec()
    assert (spec.lambda_align, spec.lambda_div, spec.align_threshold, spec.num_anchors) == (0.5, 0.0, "auto", 512)


def test_unknown_keys_are_refused():
    with pytest.raises(ValidationError, match="lamda"):
        SelectSpec.model_validate({"lamda_align": 1})
