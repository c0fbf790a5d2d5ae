"""Numbers, times and paths as people write them."""

from pathlib import Path

import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.datasets.written import numbers, to_uris

NONE = (None, "", "  ")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["10.50", " 2 ", "1e2"], [10.5, 2.0, 100.0]),
        (["10,5", "1,250", "3"], [10.5, 1.25, 3.0]),  # the first cell says that the comma is a decimal mark
        (["0,250", "1,250"], [0.25, 1.25]),
        (["0:01:02.500", "00:01:02,500", "1:02", "75:00", "2:00:00"], [62.5, 62.5, 62.0, 4500.0, 7200.0]),
        (["0:01", "1,25", "1:00:00"], [1.0, 1.25, 3600.0]),
    ],
)
def test_times_are_seconds_or_clocks_with_points_or_commas(texts, expected):
    assert numbers([*texts, *NONE], "x", is_time=True).to_pylist() == [*expected, None, None, None]


@pytest.mark.parametrize(
    ("texts", "rows"),
    [
        (["1", "1,250"], "rows 2 "),  # thousands, or a fraction
        (["1.5", "1,250"], "rows 2 "),
        (["1.5", "2,5"], "rows 2 "),  # two kinds of decimal mark in one column
        (["1,234,567"], "rows 1 "),
        (["1,234.5"], "rows 1 "),
        (["0:61"], "rows 1 "),
        (["1:60:00"], "rows 1 "),
        (["1:2:3:4"], "rows 1 "),
        (["10s", "-1", "nan", "inf", "ten"], "rows 1, 2, 3, 4, 5 "),
    ],
)
def test_what_may_mean_something_else_is_refused_by_row(texts, rows):
    with pytest.raises(InputError, match=rf"^column 'start' is \[.*\] in {rows}.*; expected "):
        numbers(texts, "column 'start'", is_time=True)


def test_costs_are_no_clocks_and_durations_are_above_zero():
    with pytest.raises(InputError, match=r"'1:30'.*expected a number of at least 0"):
        numbers(["1:30"], "x")
    with pytest.raises(InputError, match=r"'0'.*expected seconds or h:mm:ss above 0"):
        numbers(["0"], "x", is_time=True, is_positive=True)


def test_paths_start_at_the_folder_or_at_home_and_backslashes_are_slashes(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    (tmp_path / "odd\\name.mp4").write_bytes(b"x")
    written = [
        "sub\\deep\\a.mp4",
        "odd\\name.mp4",
        "~/b.mp4",
        "../c.mp4",
        "/d.mp4",
        "file:///e%20f.mp4",
        " g.mp4",
        None,
        " ",
    ]
    expected = ["sub/deep/a.mp4", "odd\\name.mp4", "/home/someone/b.mp4", "../c.mp4", "/d.mp4", "/e f.mp4", "g.mp4"]
    found = to_uris(written, str(tmp_path), "x")
    assert found == [*(str((tmp_path / e).resolve().absolute()) for e in expected), None, None]
    assert Path(found[1] or "").exists()
    assert to_uris(["sub\\a.mp4"], "s3://bucket/lists", "x") == ["s3://bucket/lists/sub/a.mp4"]


@pytest.mark.parametrize("written", ["C:\\clips\\a.mp4", "d:/a.mp4", "\\\\server\\share\\a.mp4"])
def test_places_on_a_windows_machine_are_refused_by_row(written):
    with pytest.raises(InputError, match=r"column 'path' is \[.*\] in rows 2 .*no drives of Windows; write paths from"):
        to_uris(["a.mp4", written], "/lists", "column 'path'")
