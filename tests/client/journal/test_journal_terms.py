"""Only short details from a closed set may stand in the log, and refusals repeat none."""

import math
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.client.custodian.ports import RunEvent
from fieldfare.client.journal.entries import (
    MAX_SENTENCE,
    MAX_TEXT,
    Event,
    check_actor,
    check_details,
    printable,
)
from fieldfare.shared.errors import UsageError

MARKER: Final = "MARKER-4711"


def test_the_events_are_the_agreed_ones() -> None:
    assert {event.value for event in Event} == {
        *("request", "refusal", "release", "run opened", "keys agreed", "transcript co-signed"),
        "rehearsal keys published",
        *("approval", "rejection", "withdrawal", "roster"),
        *("first of two approvals", "policy widened"),
        *("key", "ledger", "clock", "start", "stop", "in force"),
        *("peers told", "ledger forked"),
        *("study received", "model received", "repair"),
        *("scored", "model tuned", "feedback", "words read", "labels exported", "report drafted"),
        "alert act",
        "console",
        "backup",
        "deleted",
    }


def test_what_a_custodian_notes_of_a_run_is_an_event() -> None:
    assert {event.value for event in RunEvent} <= {event.value for event in Event}


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"study": "a" * MAX_TEXT, "reason": "b" * MAX_SENTENCE, "rule": "de l'été «» 日本 😀"},
        {"step": 0, "attempt": 2**53 - 1},
        {"asked": 1, "limit": 0.5, "version": "1.2"},
        {"asked": True, "limit": -3, "version": 4},
    ],
)
def test_what_may_stand_in_the_log(details: dict[str, Any]) -> None:
    check_details(details)


@pytest.mark.parametrize(
    "details",
    [
        {MARKER: 1},
        {"name": MARKER},
        {"": MARKER},
        {"study": f"{MARKER}\n"},
        {"study": ""},
        {"study": MARKER + "a" * MAX_TEXT},
        {"reason": MARKER + "a" * MAX_SENTENCE},
        {"user": MARKER + "\x1b[2J"},
        {"user": MARKER + "\u202e"},
        {"user": MARKER + "\ud800"},
        {"study": MARKER.encode()},
        {"study": [MARKER]},
        {"study": {"deep": MARKER}},
        {"study": None},
        {"study": 5},
        {"step": MARKER},
        {"step": 1.0},
        {"step": True},
        {"step": -1},
        {"step": 2**53},
        {"asked": [MARKER]},
        {"asked": None},
        {"asked": math.nan},
        {"asked": math.inf},
        {"asked": 2**53},
        {"asked": 1e300},
        {"limit": MARKER + "\r"},
    ],
)
def test_what_may_not(details: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected") as caught:
        check_details(details)
    assert MARKER not in str(caught.value)


@pytest.mark.parametrize("actor", ["", "a" * 257, "a\tb", None, 5])
def test_an_actor_is_a_short_name(actor: Any) -> None:
    check_actor("anna@bank")
    with pytest.raises(UsageError, match="actor"):
        check_actor(actor)


@given(st.text())
def test_whatever_others_wrote_can_be_made_to_stand_in_the_log(text: str) -> None:
    cleaned = printable(text)
    check_details({"study": cleaned})
    if 0 < len(text) <= MAX_TEXT and text.isprintable():
        assert cleaned == text


def test_what_is_cleaned_keeps_its_place() -> None:
    assert printable("a\nb\x00c") == "a?b?c"
    assert printable("abc", 2) == "ab"
    assert printable("") == "?"
