from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fieldfare.client.alerts.alert import UnitLabel, label_of, latest
from fieldfare.client.alerts.feedback import (
    Confidence,
    Disposition,
    Feedback,
    PartyRole,
    alert_status,
)

OPENED = datetime(2025, 6, 1, tzinfo=UTC)


def decided(*whats: str) -> list[Feedback]:
    """`ana:file` is a decision of ana's; each a day after the one before."""
    found = []
    for day, what in enumerate(whats, start=1):
        user, _, disposition = what.partition(":")
        found.append(
            Feedback("a", OPENED + timedelta(days=day), user, Disposition(disposition),
                     PartyRole.UNKNOWN, Confidence.HIGH)
        )  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("decisions", "state", "label"),
    [
        ([], "new", None),
        (["ana:monitor"], "in_review", None),
        (["ana:edd", "ana:escalate"], "in_review", None),
        (["ana:benign:other"], "closed", 0),
        (["ana:benign:known_persona"], "closed", 0),
        (["ana:file"], "second_review", None),
        (["ana:file", "ana:file"], "second_review", None),  # one person's word, twice
        (["ana:file", "ben:file"], "closed", 1),
        (["ana:file", "ben:edd"], "in_review", None),
        (["ana:file", "ben:edd", "ben:file"], "second_review", None),  # ana's word was before
        (["ana:file", "ben:file", "ben:benign:other"], "closed", 0),  # the last word counts
    ],
)
def test_what_was_decided_last_stands_and_filing_needs_two(
    decisions: list[str], state: str, label: int | None
) -> None:
    found = alert_status(decided(*decisions))
    assert (found.state, found.label) == (state, label)


def test_filing_needs_a_reviewer_among_the_two() -> None:
    first, second = decided("ana:file", "ben:file")
    assert alert_status([first, second]).state == "closed"
    analysts = [replace(one, reviewer=False) for one in (first, second)]
    assert alert_status(analysts).state == "second_review"
    assert alert_status([analysts[0], second]).state == "closed"
    assert alert_status([second, analysts[0]]).state == "closed"
    assert alert_status([second, second]).state == "second_review"


def test_a_label_is_known_from_the_time_it_was_settled() -> None:
    decisions = decided("ana:file", "ben:file")
    settled = decisions[-1].time
    before = label_of("u", "alert", OPENED, decisions, settled - timedelta(seconds=1))
    assert before is None
    assert label_of("u", "alert", OPENED, decisions, settled) == UnitLabel(
        "u", 1, "str_filed", Confidence.HIGH, settled, OPENED, "alert"
    )


def test_of_several_alerts_the_newest_decision_counts() -> None:
    later = OPENED + timedelta(days=9)
    old = UnitLabel("u", 0, "cleared", Confidence.LOW, OPENED, OPENED, "below_line")
    new = UnitLabel("u", 1, "str_filed", Confidence.HIGH, later, OPENED, "alert")
    other = UnitLabel("b", 0, "cleared", Confidence.LOW, OPENED, OPENED, "alert")
    assert latest([new, old, other]) == [other, new]
