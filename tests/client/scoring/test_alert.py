from datetime import UTC, datetime

import pytest

from fieldfare.client.scoring.alert import Disposition, alert_id

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


def test_an_id_says_nothing_without_the_key() -> None:
    one = alert_id(b"a" * 32, "unit", NOW)
    assert one == alert_id(b"a" * 32, "unit", NOW)
    others = {alert_id(b"b" * 32, "unit", NOW), alert_id(b"a" * 32, "unit2", NOW),
              alert_id(b"a" * 32, "unit", NOW.replace(day=2))}  # fmt: skip
    assert len(others | {one}) == 4
