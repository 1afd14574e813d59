"""Who answers an attempt, in which order, and what is not an answer to it."""

from collections.abc import Sequence
from typing import Any, Final

import pytest
from tests.support.runs.written_runs import WrittenRun, base

from fieldfare.shared.protocol.messages import Reply, VerifiedMessage, open_envelope
from fieldfare.shared.run.attempt import Attempt
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.state import RunState
from fieldfare.shared.study.study import Study
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

H: Final = "0" * 64


@pytest.fixture
def run() -> WrittenRun:
    """A run that was rehearsed, and whose first step everybody committed to."""
    found = asked(base())
    commit(found, *found.names)
    return found


def asked(study: Study, names: Sequence[str] | None = None) -> WrittenRun:
    """A run that was rehearsed, and asked for its first step."""
    found = WrittenRun(study)
    found.collect()
    found.put(Leaf(LeafKind.REQUEST, found.signed(found.request(names))))
    return found


def commit(run: WrittenRun, *names: str) -> None:
    for name in names:
        run.put(run.commitment(name, open_attempt(run).request, b""))


def open_attempt(run: WrittenRun) -> Attempt:
    assert run.state.attempt is not None
    return run.state.attempt


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": H}, "a reply to the request before it"),
        ({"answer": H}, "a reply under the answer"),
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
    run = asked(base(), ["bank-a", "bank-b", "bank-c"])
    commit(run, "bank-a", "bank-b", "bank-c")
    with pytest.raises(MismatchError, match="a participant of the request"):
        run.state.after(run.reply("bank-d", open_attempt(run).request, b""))


def first_replies() -> tuple[RunState, tuple[VerifiedMessage[Reply], VerifiedMessage[Reply]]]:
    """A run before the replies to its rehearsal, and the first two of these."""
    run = WrittenRun(base()).finish()
    kinds = [leaf.kind for leaf in run.leaves]
    at, state = kinds.index(LeafKind.REPLY), run.state.begin(run.state.run, run.roster)
    for leaf in run.leaves[kinds.index(LeafKind.REQUEST) : at]:
        state = state.after(leaf)
    one, other = (
        open_envelope(leaf.content, Reply, run.roster, run.state.protection)
        for leaf in run.leaves[at : at + 2]
    )
    return state, (one, other)


def test_the_same_request_again_keeps_what_was_answered() -> None:
    state, (reply, _) = first_replies()
    assert state.attempt is not None
    answered = state.attempt.with_reply(reply)
    again = answered.again(answered.asked)
    assert (again.replies, again.hash) == ({}, answered.hash)
    assert not again.is_new(reply)
    assert state.attempt.is_new(reply)
    assert again.again(again.asked).before == again.before


def test_replies_together_are_those_one_by_one_up_to_the_first_that_does_not_fit() -> None:
    state, (one, other) = first_replies()
    assert state.attempt is not None
    together = state.attempt.with_replies([one, other])
    by_one = state.attempt.with_reply(one).with_reply(other)
    assert list(together.replies.items()) == list(by_one.replies.items())
    assert (together.answers, together.statements) == (by_one.answers, by_one.statements)
    for wrong in ([other, one], [one, one]):
        with pytest.raises(MismatchError, match="in the order of institutions"):
            state.attempt.with_replies(wrong)
    assert not state.attempt.replies


# -- commit, then open --------------------------------------------------------------------------


@pytest.fixture
def opens() -> WrittenRun:
    """A run that was rehearsed, and asked for its first step: nobody has committed yet."""
    return asked(base())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": H}, "a commitment to the request before it"),
        ({"answer": H}, "a commitment under the answer"),
        ({"institution": "bank-c"}, "a signature by the commitment's institution"),
    ],
)
def test_only_a_commitment_to_this_request_is_one(
    opens: WrittenRun, changes: dict[str, Any], reason: str
) -> None:
    leaf = opens.commitment("bank-b", open_attempt(opens).request, b"", **changes)
    with pytest.raises(MismatchError, match=reason):
        opens.state.after(leaf)


def test_nobody_replies_before_everybody_committed(opens: WrittenRun) -> None:
    commit(opens, "bank-a", "bank-b", "bank-c")
    assert (open_attempt(opens).opened, opens.state.opened) == (False, 0)
    reply = opens.reply("bank-a", open_attempt(opens).request, b"")
    with pytest.raises(MismatchError, match="a commitment of every participant before a reply"):
        opens.state.after(reply)
    commit(opens, "bank-d")
    assert (open_attempt(opens).opened, opens.state.opened) == (True, 1)
    opens.put(opens.reply("bank-a", open_attempt(opens).request, b""))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"statements": H}, "a reply that names these commitments"),
        ({"vector": H}, "the vector of the commitment"),
        ({"seed": H}, "the seed of the commitment"),
        ({"statements": "", "seed": ""}, "a reply that names these commitments"),
    ],
)
def test_a_reply_opens_what_was_committed_to(
    opens: WrittenRun, changes: dict[str, Any], reason: str
) -> None:
    commit(opens, *opens.names)
    reply = opens.reply("bank-a", open_attempt(opens).request, b"", **changes)
    with pytest.raises(MismatchError, match=reason):
        opens.state.after(reply)


def test_whoever_is_asked_again_commits_to_the_same(opens: WrittenRun) -> None:
    commit(opens, *opens.names)
    request = open_attempt(opens).request
    opens.put(Leaf(LeafKind.REQUEST, opens.signed(request)))
    with pytest.raises(MismatchError, match="the same commitment to the same request"):
        opens.state.after(opens.commitment("bank-a", request, b"another"))
    commit(opens, *opens.names)
    assert opens.state.opened == 1  # it is the same attempt


def test_attempts_that_nobody_opened_are_counted_apart(opens: WrittenRun) -> None:
    most = opens.study.aggregation.attempts
    for _ in range(2 * most):
        opens.put(Leaf(LeafKind.REQUEST, opens.signed(opens.request())))
    for _ in range(most):
        commit(opens, *opens.names)
        assert opens.state.attempt is not None
        if opens.state.opened < most:
            opens.put(Leaf(LeafKind.REQUEST, opens.signed(opens.request())))
    with pytest.raises(MismatchError, match=f"at most {most} attempts"):
        opens.state.after(Leaf(LeafKind.REQUEST, opens.signed(opens.request())))
