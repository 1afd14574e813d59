import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.homes.reported import reason, reported_alert

from fieldfare.client.alerts.alert import Alert, alert_id
from fieldfare.client.alerts.feedback import (
    Confidence,
    Disposition,
    Feedback,
    PartyRole,
    alert_status,
)

NOW = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("disposition", "closes", "label"),
    [
        (Disposition.BENIGN_OTHER, True, 0),
        (Disposition.BENIGN_PERSONA, True, 0),
        (Disposition.FILE, True, 1),
        (Disposition.EDD, False, None),
        (Disposition.MONITOR, False, None),
        (Disposition.ESCALATE, False, None),
    ],
)
def test_only_what_is_settled_teaches(
    disposition: Disposition, *, closes: bool, label: int | None
) -> None:
    assert (disposition.closes, disposition.label) == (closes, label)


def test_to_file_takes_two_persons_and_not_two_signatures() -> None:
    def files(user: str) -> Feedback:
        said = (Disposition.FILE, PartyRole.CONTROLLER, Confidence.HIGH)
        return Feedback("a" * 16, NOW, user, *said, reviewer=True)

    alone = alert_status([files("ana"), replace(files("ana"), time=NOW + timedelta(hours=1))])
    assert (alone.state, alone.label) == ("second_review", None)
    both = alert_status([files("ana"), files("ben")])
    assert (both.state, both.label) == ("closed", 1)


def test_an_id_says_nothing_without_the_key() -> None:
    one = alert_id(b"a" * 32, "unit", NOW)
    assert one == alert_id(b"a" * 32, "unit", NOW)
    others = {alert_id(b"b" * 32, "unit", NOW), alert_id(b"a" * 32, "unit2", NOW),
              alert_id(b"a" * 32, "unit", NOW.replace(day=2))}  # fmt: skip
    assert len(others | {one}) == 4


def test_an_alert_that_format_1_kept_is_counted_again() -> None:
    """Format 1 called any number of a part of an indicator evidence, and what is usual here."""
    telephones = reason(
        "R16_payments", 0.0, 5.36, indicator="R16", family="ALT_PAY", fires=None, usual=3.0
    )
    at_median = reason("R07", 3.0, 1.0, family="TRAVEL", usual=3.0)
    data = reported_alert(
        families=4, family_names=("FLOW", "TIME", "TRAVEL", "ALT_PAY"),
        reasons=(telephones, at_median, reason("R01", 31.0, 3.0, usual=2.0),
                 reason("R03", 9.0, 0.1, family="TIME", usual=1.0)),
    ).model_dump(mode="json")  # fmt: skip
    for name in ("evidence", "fired"):
        del data[name]
    for one in (*data["reasons"], *data["counter_evidence"]):
        del one["evidence"]
    found = Alert.model_validate_json(json.dumps({**data, "format": 1}))
    assert (found.families, found.family_names, found.evidence) == (1, ("FLOW",), ("R01",))
    assert found.fired == ("R01", "R03", "R07")
    assert [one.evidence for one in found.reasons] == [False, False, True, False]
    assert Alert.model_validate_json(found.model_dump_json()) == found
