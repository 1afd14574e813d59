"""Kinds of lines fit the canonical records."""

import pytest

from fieldfare.client.records.canonical_bank import Channel, CounterpartyType, Direction
from fieldfare.simulations.world.habits import LINES, NUMBER, OTHER_SIDE, Line


@pytest.mark.parametrize("name", LINES)
def test_a_kind_says_what_a_canonical_transaction_may_say(name: str) -> None:
    line = LINES[name]
    assert Direction(line.direction)
    assert Channel(line.channel)
    assert line.party is None or CounterpartyType(line.party)
    assert all(len(code) == 4 and code.isdigit() for code in line.mccs)
    assert (line.party is None) == (line.channel in {"CASH_DEP", "ATM_WD"})


def test_numbers_follow_the_order() -> None:
    assert [NUMBER[name] for name in LINES] == list(range(len(LINES)))


def test_the_other_side_sees_the_other_direction_over_the_same_channel() -> None:
    for name, other in OTHER_SIDE.items():
        assert LINES[name].direction != LINES[other].direction
        assert LINES[name].channel == LINES[other].channel
        assert OTHER_SIDE[other] == name


def test_only_those_who_pay_each_other_share_a_circle() -> None:
    circles: dict[int, set[str]] = {}
    for line in LINES.values():
        circles.setdefault(line.circle, set()).add(line.channel)
    shared = {frozenset(channels) for channels in circles.values() if len(channels) > 1}
    assert shared == {frozenset({"CASH_DEP", "ATM_WD"})}
    assert isinstance(LINES["ads"], Line)
