"""YAML that asks for more than a configuration needs, or means another thing than it looks like."""

import pytest
import yaml

from mmcsal.safe_yaml import parse_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", "010"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("no", "no"),
        ("2024-01-01", "2024-01-01"),
        ("", None),
        ("~", None),
        ("true", True),
        ("-3", -3),
        ("1.5", 1.5),
        ("1.0e-05", 1e-5),
        ("{a: [1, 'b'], c: &x 2, d: *x}", {"a": [1, "b"], "c": 2, "d": 2}),
    ],
)
def test_a_value_is_what_it_looks_like(text, value):
    found = parse_yaml(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("value", ["010", "1:30", "no", "1e-3", "0.5", "", "null", "#x", "- a", "2024-01-01", "true"])
def test_what_pyyaml_writes_is_read_back(value):
    assert parse_yaml(yaml.safe_dump({"key": value, "list": [value]})) == {"key": value, "list": [value]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "more than 200000 values"),
        ("[" * 3000, "nested deeper than 32 levels"),
        ("{a: " * 3000, "nested deeper than 32 levels"),
        ("&a [*a]", "stands for nothing"),
        ("x" * (4 << 20) + "y", "are the most that is read"),
        ("{a: 1, a: 2}", "key 'a' is there twice"),
        ("{[1]: 2}", "no plain value"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
        (b"\xff\xfe\x00", "can't decode"),
        ("a: [1", "expected"),
        ("a: 1\n---\nb: 2", "single document"),
    ],
)
def test_what_is_refused_is_told_on_one_line(text, message):
    with pytest.raises(ValueError, match=message) as told:
        parse_yaml(text)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400
