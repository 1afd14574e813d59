"""A card as data adds up, and tells nobody that an alert was drawn before it is closed."""

from dataclasses import asdict
from decimal import Decimal

import pytest
from tests.client.alerts.test_alert_text import kept

from fieldfare.client.alerts.card import card_of, parties_of, weeks_of
from fieldfare.client.alerts.feedback import Disposition
from fieldfare.client.alerts.kept_entries import Entry, KeptEntries
from fieldfare.client.alerts.store import StoredAlert


def entry(
    day: str, party: str | None, minor: int, *, out: bool = False, counted: str = ""
) -> Entry:
    return Entry(
        day, "12:00", out, minor, "CAD", "P2P", party, "person", None, None, tuple(counted.split())
    )


STATEMENT = KeptEntries(
    "2026-03-31",
    5,
    (
        entry("2026-03-31", "a", 1_000, counted="R01"),
        entry("2026-03-30", "b", 90_000, out=True),
        entry("2026-03-20", "a", 2_000, counted="R01 R02"),
        entry("2026-03-20", "a", 500, out=True),
        entry("2026-03-01", None, 100),
    ),
)


def test_reasons_add_up_to_the_score() -> None:
    card = card_of(kept())
    up, down = card.sums
    assert card.base + up + down + card.others == pytest.approx(card.score)
    assert [(one.contribution, one.share) for one in card.raises] == [(1.25, 1.0)]
    assert [(one.contribution, one.share) for one in card.lowers] == [(-0.25, 0.2)]
    assert card.raises[0].source == "FIN-2020-A008"


def test_a_blind_card_is_the_same_for_who_was_drawn_until_it_is_closed() -> None:
    top = kept()
    drawn = kept(selected="below_line", rank=900, probability=0.001, likely=(0.0, 0.01))
    assert asdict(card_of(top, blind=True)) == asdict(card_of(drawn, blind=True))
    assert card_of(top) != card_of(drawn)
    (said,) = drawn.decisions
    closed = type(said)(**{**vars(said), "disposition": Disposition.BENIGN_OTHER})
    shown = card_of(StoredAlert(drawn.alert, (closed,)), blind=True)
    assert shown.place is not None
    assert (shown.place.rank, shown.place.sampled) == (900, True)


def test_other_sides_that_are_counted_come_first() -> None:
    first, second, third = parties_of(STATEMENT)
    assert (first.party, first.entries, first.came, first.went) == (
        "a",
        3,
        Decimal("30.00"),
        Decimal("5.00"),
    )
    assert first.counted == ("R01", "R02")
    assert (first.first, first.last) == ("2026-03-20", "2026-03-31")
    assert (second.party, third.party) == ("b", "unknown")


def test_weeks_end_with_the_last_day_and_leave_none_out() -> None:
    weeks = weeks_of(STATEMENT)
    assert [(one.entries, one.counted) for one in weeks] == [(1, 0), (0, 0), (0, 0), (2, 1), (2, 1)]
    assert weeks[-1].first == "2026-03-25"
    assert weeks_of(KeptEntries("2026-03-31", 0, ())) == ()
