"""One exchange with a deadline: what is late, broken, foreign or double counts for nothing."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from tests.support.federations.settings import Clock

from fieldfare.server.run.channel import (
    AFTER_ERROR_SECONDS,
    MOST_POLL_SECONDS,
    POLL_SECONDS,
    POLL_SHARE,
    SILENT_SHARE,
    UNLISTED,
    GridChannel,
)
from fieldfare.shared.errors import RunError
from fieldfare.shared.protocol.flower_record import RECORD, Call, Content
from fieldfare.simulations.federation.grid import InProcessGrid

NODES = {"a": 1, "b": 2, "c": 3}
ASKED: dict[int, Content] = {node: {"question": b"%d" % node} for node in NODES.values()}


def echo_app() -> ClientApp:
    """Nodes that answer with their own id and what they were asked."""
    app = ClientApp()

    @app.query(Call.HELLO.value)
    def hello(message: Message, context: Context) -> Message:
        asked: Any = message.content[RECORD]
        record: Any = ConfigRecord({"asked": asked["question"], "by": context.node_id})
        return Message(RecordDict({RECORD: record}), reply_to=message)

    @app.query(Call.OPEN.value)
    def no_record_of_ours(message: Message, context: Context) -> Message:
        return Message(RecordDict(), reply_to=message)

    @app.query(Call.AGREE.value)
    def fail(message: Message, context: Context) -> Message:
        if context.node_id == NODES["b"]:
            raise RunError("broken on purpose")
        return hello(message, context)

    return app


class SlowGrid(InProcessGrid):
    """Replies that arrive when a test's clock says so, and as often as it says."""

    def __init__(
        self, clock: Clock, arrivals: Mapping[int, float], *, copies: int = 1, strangers: int = 0
    ) -> None:
        super().__init__(echo_app(), NODES)
        self._clock, self._arrivals = clock, arrivals
        self._copies, self._strangers = copies, strangers
        self._held: list[Message] = []
        self.pulls = 0

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self.pulls += 1
        self._held += super().pull_messages(message_ids)
        due = [m for m in self._held if self._arrival(m) <= self._clock.now]
        self._held = [m for m in self._held if m not in due]
        foreign = [m for m in due[: self._strangers] if self._foreign(m)]
        return due * self._copies + foreign

    def _arrival(self, message: Message) -> float:
        return self._arrivals.get(message.metadata.src_node_id, 0.0)

    @staticmethod
    def _foreign(message: Message) -> bool:
        """Turn a message into the answer to a question that nobody asked."""
        message.metadata.__dict__["_reply_to_message_id"] = "0" * 32
        return True


def channel_of(grid: InProcessGrid, clock: Clock) -> GridChannel:
    return GridChannel(grid, clock.monotonic, clock.sleep)


def test_everybody_is_asked_its_own_question_and_nobody_waits() -> None:
    clock = Clock()
    answers = channel_of(InProcessGrid(echo_app(), NODES), clock).ask(Call.HELLO, ASKED, 60.0)
    assert answers == {n: {"asked": b"%d" % n, "by": n} for n in NODES.values()}
    assert clock.now == 0.0


def test_nobody_to_ask_is_no_reason_to_wait() -> None:
    clock = Clock()
    assert channel_of(InProcessGrid(echo_app(), NODES), clock).ask(Call.HELLO, {}, 60.0) == {}
    assert clock.now == 0.0


def test_a_silent_node_costs_the_deadline_and_nothing_more() -> None:
    clock = Clock()
    grid = InProcessGrid(echo_app(), NODES, drop=lambda m: m.metadata.dst_node_id == NODES["b"])
    answers = channel_of(grid, clock).ask(Call.HELLO, ASKED, 5.0)
    assert sorted(answers) == [NODES["a"], NODES["c"]]
    assert 5.0 <= clock.now <= 5.0 + 2 * POLL_SECONDS


@pytest.mark.parametrize(("arrival", "in_time"), [(4.9, True), (5.5, False)])
def test_a_slow_node_is_waited_for_until_the_deadline(arrival: float, in_time: bool) -> None:
    clock = Clock()
    answers = channel_of(SlowGrid(clock, {2: arrival}), clock).ask(Call.HELLO, ASKED, 5.0)
    assert (2 in answers) is in_time
    expected = arrival if in_time else 5.0
    assert expected <= clock.now <= min(5.0, arrival * (1 + 2 * POLL_SHARE)) + 2 * POLL_SECONDS


def test_it_looks_often_at_first_and_then_by_shares_of_the_time_that_passed() -> None:
    """A look costs the SuperLink milliseconds; a hundred nodes take their time."""
    looks = {}
    for arrival in (0.3, 3.0, 30.0):
        clock = Clock()
        grid = SlowGrid(clock, {2: arrival})
        assert sorted(channel_of(grid, clock).ask(Call.HELLO, ASKED, 200.0)) == [1, 2, 3]
        looks[arrival] = grid.pulls
        assert clock.now - arrival <= max(POLL_SECONDS, 2 * POLL_SHARE * arrival)
    assert looks[0.3] == pytest.approx(0.3 / POLL_SECONDS, abs=2)
    assert looks[3.0] < 60
    assert looks[30.0] < 60 + 30.0 / MOST_POLL_SECONDS


def test_a_late_answer_is_not_taken_for_the_answer_to_the_next_question() -> None:
    clock = Clock()
    grid = SlowGrid(clock, {2: 5.5})
    channel = channel_of(grid, clock)
    assert sorted(channel.ask(Call.HELLO, ASKED, 5.0)) == [1, 3]
    clock.now = 6.0
    second = channel.ask(Call.HELLO, {node: {"question": b"second"} for node in ASKED}, 5.0)
    assert {node: answer["asked"] for node, answer in second.items()} == dict.fromkeys(
        ASKED, b"second"
    )


def test_an_answer_that_comes_twice_counts_once() -> None:
    clock = Clock()
    answers = channel_of(SlowGrid(clock, {3: 1.0}, copies=2), clock).ask(Call.HELLO, ASKED, 5.0)
    assert sorted(answers) == [1, 2, 3]


def test_an_answer_to_another_question_is_ignored() -> None:
    clock = Clock()
    grid = SlowGrid(clock, {}, strangers=1)
    answers = channel_of(grid, clock).ask(Call.HELLO, ASKED, 1.0)
    assert sorted(answers) == [2, 3]  # node 1's reply names a message that nobody sent


class FaultyGrid(InProcessGrid):
    """Nodes that answer with errors, or not at all, until they are well again."""

    def __init__(
        self, clock: Clock, *, codes: Mapping[int, int] | None = None, well_after: int = 10**9
    ) -> None:
        super().__init__(echo_app(), NODES)
        self._clock, self._codes, self._well_after = clock, codes or {}, well_after
        self.sent: list[tuple[float, int, Mapping[str, Any]]] = []

    def times(self, node: int) -> list[float]:
        return [round(moment, 1) for moment, asked, _ in self.sent if asked == node]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        return [self._push(message) for message in messages]

    def _push(self, message: Message) -> str:
        node = message.metadata.dst_node_id
        record: Any = message.content[RECORD]
        self.sent.append((self._clock.now, node, dict(record)))
        (name,) = super().push_messages([message])
        ill = node in self._codes and len(self.times(node)) <= self._well_after
        if ill and self._codes[node] < 0:
            del self._replies[name]
        elif ill:
            fault = Error(self._codes[node], "a fixed text")
            self._replies[name] = Message(fault, reply_to=message)
        return name


CUSTODIAN_STARTS = 2  # Flower's CLIENT_APP_RAISED_EXCEPTION
INVALID_FAB = 7
SILENCE = -1


def test_after_an_error_the_same_is_asked_again_a_second_later() -> None:
    clock = Clock()
    grid = FaultyGrid(clock, codes={2: CUSTODIAN_STARTS}, well_after=2)
    answers = channel_of(grid, clock).ask(Call.HELLO, ASKED, 60.0)
    assert answers == {n: {"asked": b"%d" % n, "by": n} for n in NODES.values()}
    assert grid.times(2) == pytest.approx([0.0, 1.0, 2.0], abs=0.11)
    assert grid.times(1) == grid.times(3) == [0.0]  # who answered is left alone
    assert clock.now == pytest.approx(2 * AFTER_ERROR_SECONDS, abs=4 * POLL_SECONDS)
    assert {tuple(content.items()) for _, node, content in grid.sent if node == 2} == {
        (("question", b"2"),)
    }


def test_a_node_that_only_fails_is_asked_until_the_deadline_and_absent() -> None:
    clock = Clock()
    answers = channel_of(InProcessGrid(echo_app(), NODES), clock).ask(Call.AGREE, ASKED, 5.0)
    assert sorted(answers) == [1, 3]
    assert clock.now == pytest.approx(5.0, abs=2 * POLL_SECONDS)


def test_after_silence_the_same_is_asked_again_by_quarters_of_the_deadline() -> None:
    clock = Clock()
    grid = FaultyGrid(clock, codes={2: SILENCE}, well_after=2)
    answers = channel_of(grid, clock).ask(Call.HELLO, ASKED, 60.0)
    assert sorted(answers) == [1, 2, 3]
    assert grid.times(2) == pytest.approx([0.0, 15.0, 30.0], abs=0.11)
    assert SILENT_SHARE == 0.25


def test_a_question_is_not_asked_when_its_answer_would_come_too_late() -> None:
    """An institution that answers pays; nobody would take what it sends."""
    for code in (SILENCE, CUSTODIAN_STARTS):
        clock = Clock()
        grid = FaultyGrid(clock, codes={2: code})
        assert sorted(channel_of(grid, clock).ask(Call.HELLO, ASKED, 4.0)) == [1, 3]
        assert len(grid.times(2)) == 4
        assert max(grid.times(2)) < 4.0


def test_a_bundle_that_is_not_listed_is_final() -> None:
    """The institution's list will not have it a second later: nobody waits."""
    clock = Clock()
    grid = FaultyGrid(clock, codes={2: INVALID_FAB}, well_after=1)
    channel = channel_of(grid, clock)
    assert sorted(channel.ask(Call.HELLO, ASKED, 60.0)) == [1, 3]
    assert (grid.times(2), clock.now) == ([0.0], 0.0)
    assert channel.refused == {2: UNLISTED}  # in this side's words


def test_an_error_says_nothing_after_an_answer() -> None:
    """Asked twice, answered twice, in whatever order: an answer stays an answer."""

    class Late(FaultyGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
            if self._clock.now < 20.0:
                return []
            found = super().pull_messages(message_ids)
            return sorted(found, key=lambda message: message.has_error())

    clock = Clock()
    grid = Late(clock, codes={2: CUSTODIAN_STARTS}, well_after=1)
    answers = channel_of(grid, clock).ask(Call.HELLO, ASKED, 60.0)
    assert answers[2] == {"asked": b"2", "by": 2}
    assert grid.times(2) == pytest.approx([0.0, 15.0], abs=0.11)


def test_a_late_answer_to_the_first_asking_counts_and_its_copy_is_nothing() -> None:
    clock = Clock()
    grid = SlowGrid(clock, {2: 40.0})  # asked at 0, 15 and 30; all three answers come at 40
    answers = channel_of(grid, clock).ask(Call.HELLO, ASKED, 60.0)
    assert answers[2] == {"asked": b"2", "by": 2}
    assert clock.now == pytest.approx(40.0, abs=2 * POLL_SECONDS)
    again = channel_of(grid, clock).ask(Call.HELLO, {1: {"question": b"new"}}, 60.0)
    assert again == {1: {"asked": b"new", "by": 1}}


def test_why_a_node_failed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.INFO, "fieldfare.server"):
        channel_of(FaultyGrid(clock, codes={2: INVALID_FAB}), clock).ask(Call.HELLO, ASKED, 1.0)
    assert "node 2: error 7: a fixed text" in caplog.text


def test_a_reply_without_our_record_is_empty() -> None:
    answers = channel_of(InProcessGrid(echo_app(), NODES), Clock()).ask(Call.OPEN, ASKED, 1.0)
    assert answers == {1: {}, 2: {}, 3: {}}


def test_a_deadline_of_nothing_still_looks_once() -> None:
    clock = Clock()
    grid = SlowGrid(clock, {2: 1.0})
    assert sorted(channel_of(grid, clock).ask(Call.HELLO, ASKED, 0.0)) == [1, 3]
    assert grid.pulls == 1
