"""Who answers an attempt, in which order, and what is not an answer to it."""

from typing import Any, Final

import pytest
from tests.shared.run.conftest import MakeRun
from tests.support.runs.written_runs import STUDIES, WrittenRun

from fieldfare.shared.protocol.messages import Reply, open_envelope
from fieldfare.shared.run.attempt import Attempt
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

H: Final = "0" * 64


@pytest.fixture
def run() -> WrittenRun:
    """A run that was rehearsed, and asked for its first step."""
    found = WrittenRun(STUDIES["training"]())
    found.collect()
    found.ask(found.request(), silent=found.names)
    return found


def open_attempt(run: WrittenRun) -> Attempt:
    assert run.state.attempt is not None
    return run.state.attempt


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": H}, "a reply to the request before it"),
        ({"approval": H}, "a reply under the approval"),
        ({"institution": "bank-c"}, "a signature by the reply's institution"),
    ],
)
def test_only_an_answer_to_this_request_is_one(
    run: WrittenRun, changes: dict[str, Any], reason: str
) -> None:
    leaf = run.reply("bank-b", open_attempt(run).request, b"", **changes)
    with pytest.raises(MismatchError, match=reason):
        run.state.after(leaf)


def test_replies_come_in_order_and_once(run: WrittenRun) -> None:
    request = open_attempt(run).request
    run.put(run.reply("bank-b", request, b""))
    for name in ("bank-a", "bank-b"):
        with pytest.raises(MismatchError, match="in the order of institutions"):
            run.state.after(run.reply(name, request, b""))
    assert open_attempt(run).missing == ["bank-a", "bank-c", "bank-d"]


def test_only_participants_answer() -> None:
    run = WrittenRun(STUDIES["training"]())
    run.collect()
    run.ask(run.request(["bank-a", "bank-b", "bank-c"]), silent=run.names)
    with pytest.raises(MismatchError, match="a participant of the request"):
        run.state.after(run.reply("bank-d", open_attempt(run).request, b""))


def test_the_same_request_again_keeps_what_was_answered(written: MakeRun) -> None:
    run = written("training")
    at = [leaf.kind for leaf in run.leaves].index(LeafKind.REPLY)
    leaf: Leaf = run.leaves[at]
    reply = open_envelope(leaf.content, Reply, run.roster, run.state.assurance)
    state = run.state.begin(run.state.run, run.roster).after(run.leaves[at - 1])
    assert state.attempt is not None
    answered = state.attempt.with_reply(reply)
    again = answered.again(answered.asked)
    assert (again.replies, again.hash) == ({}, answered.hash)
    assert not again.is_new(reply)
    assert state.attempt.is_new(reply)
    assert again.again(again.asked).before == again.before
