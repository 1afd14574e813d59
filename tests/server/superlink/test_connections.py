"""Who may hold a connection: a table of counts, without a socket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.server.superlink.connections import (
    ConnectionLimits,
    Connections,
    Peer,
    RequestState,
    address_of,
)

LIMITS = ConnectionLimits(of_address=3, of_strangers=5, of_key=2, head_seconds=10)


def peers(address: str, many: int) -> list[Peer]:
    return [(address, 1000 + number) for number in range(many)]


def test_the_oldest_of_an_address_goes_for_its_newest() -> None:
    found = Connections(LIMITS)
    gone = [found.enter(peer) for peer in peers("192.0.2.1", 6)]
    assert gone == [None, None, None, *peers("192.0.2.1", 3)]
    assert len(found) == 3


def test_where_all_places_are_taken_the_largest_crowd_gives_one() -> None:
    found = Connections(LIMITS)
    for peer in (*peers("192.0.2.1", 2), *peers("192.0.2.2", 3)):
        assert found.enter(peer) is None
    assert found.enter(("192.0.2.3", 1)) == ("192.0.2.2", 1000)


def test_a_node_has_places_of_its_own() -> None:
    found = Connections(LIMITS)
    node = ("192.0.2.1", 1)
    found.enter(node)
    assert not found.is_vouched(node)
    assert found.vouch(node, b"key") is None
    assert found.is_vouched(node)
    for number in range(50):
        for peer in peers(f"192.0.2.{number}", 20):
            assert found.enter(peer) != node
    assert len(found) == LIMITS.of_strangers + 1


def test_a_key_holds_no_more_than_its_places() -> None:
    found = Connections(LIMITS)
    gone = []
    for peer in peers("192.0.2.1", 4):
        found.enter(peer)
        gone.append(found.vouch(peer, b"key"))
    assert gone == [None, None, *peers("192.0.2.1", 2)]
    assert found.vouch(("192.0.2.9", 9), b"key") is None  # gone before its answer
    assert len(found) == LIMITS.of_key


def test_a_head_that_does_not_come_is_late_and_an_answer_to_a_node_never() -> None:
    found = Connections(LIMITS)
    silent, asking, node = peers("192.0.2.1", 3)
    for peer in (silent, asking, node):
        found.enter(peer)
    found.vouch(node, b"key")
    states = {
        silent: RequestState(None, answering=False),
        asking: RequestState(1, answering=True),
        node: RequestState(2, answering=True),
    }
    assert found.late(states, 0) == []
    assert found.late(states, 9.9) == []
    assert found.late(states, 10) == [silent]
    assert found.late(states | {silent: RequestState(3, answering=False)}, 20) == []
    assert found.late(states, LIMITS.answer_seconds) == [asking]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
def test_an_ipv6_network_is_one_address(one: str, other: str, same: bool) -> None:
    assert (address_of((one, 1)) == address_of((other, 2))) == same


@given(
    st.lists(st.tuples(st.sampled_from("evl"), st.integers(0, 3), st.integers(0, 6)), max_size=60)
)
def test_no_order_of_events_exceeds_a_limit_or_forgets_one(
    events: list[tuple[str, int, int]],
) -> None:
    found, here = Connections(LIMITS), set[Peer]()
    for event, address, port in events:
        peer = (f"192.0.2.{address}", port)
        if event == "e" and peer not in here:
            here.add(peer)
            here.discard(found.enter(peer) or ("", 0))
        elif event == "v" and peer in here and not found.is_vouched(peer):
            here.discard(found.vouch(peer, bytes([address])) or ("", 0))
        elif event == "l":
            found.leave(peer)
            here.discard(peer)
        strangers = [one for one in here if not found.is_vouched(one)]
        assert len(found) == len(here)
        assert len(strangers) <= LIMITS.of_strangers
        for number in range(4):
            mine = [one for one in here if one[0] == f"192.0.2.{number}"]
            assert len([one for one in mine if one in strangers]) <= LIMITS.of_address
            assert len([one for one in mine if one not in strangers]) <= LIMITS.of_key
