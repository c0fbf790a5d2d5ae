"""Markers of a run directory, as nobody at mmcsal would write them."""

import json

import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.storage.markers import STARTED, Started, checked_receipt, new_attempt, parsed

PATH = f"/runs/x/clips/{STARTED}"


@pytest.mark.parametrize(
    "content",
    [
        {"attempt": "../../x", "settings": {}},
        {"attempt": "attempt-x", "settings": {}},
        {"attempt": 3, "settings": {}},
        {"attempt": None, "settings": {}, "before": "/etc"},
        {"attempt": None, "settings": {}, "owner": "../clips"},
        {"attempt": None, "settings": []},
    ],
)
def test_a_name_that_is_none_is_refused(content):
    with pytest.raises(InputError, match=r"_STARTED\.json is not what mmcsal has written: .*run the stage again"):
        Started.from_json(json.dumps(content).encode(), PATH)


def test_what_was_written_is_read_again_and_older_ones_too():
    started = Started(new_attempt(), {"a": 1}, owner="clips", before=new_attempt())
    assert Started.from_json(started.to_json(), PATH) == started
    assert Started.from_json(b'{"a": 1}', PATH) == Started(None, {"a": 1}, owner="clips")


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_told_in_a_line(data):
    with pytest.raises(
        InputError, match=r"status\.json is not what mmcsal has written: expected .*; delete it"
    ) as told:
        parsed(data, "/runs/x/status.json")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "content", [{"settings": 3}, {"summary": []}, {"contents": {"../x": {}}}, {"contents": {"clips": 3}}, {"digest": 1}]
)
def test_a_receipt_of_other_types_is_refused(content):
    with pytest.raises(InputError, match="is not what mmcsal has written"):
        checked_receipt(content, "/runs/x/clips/_COMMITTED.json")
