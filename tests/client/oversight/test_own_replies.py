"""A transcript against the one ledger that knows: every reply as it left, and no other."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.support.runs.transcripts import Recorder

from fieldfare.client.oversight.transcript_check import (
    OwnReplies,
    RecordedReply,
    check_own_key,
    compare_replies,
    recorded_replies,
)
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import Reply, open_envelope
from fieldfare.shared.transcript.file import MisfitError
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

BANK, LOST = "bank-a", "bank-c"  # bank-c was lost at step 1


def ledger_of(run: Recorder, name: str) -> dict[str, RecordedReply]:
    return recorded_replies(run.bench.ledger(name), run.bench.study.id, run.run)


def compare(
    run: Recorder,
    change: Callable[[list[Leaf]], None] = lambda _: None,
    *,
    name: str = BANK,
    held: dict[str, RecordedReply] | None = None,
    epoch: int = 1,
) -> OwnReplies:
    leaves = list(run.leaves)
    change(leaves)
    roster = run.bench.federation.identities.roster
    return compare_replies(
        leaves, roster, name, ledger_of(run, name) if held is None else held, epoch
    )


def without(at: int) -> Callable[[list[Leaf]], None]:
    def drop(leaves: list[Leaf]) -> None:
        del leaves[at]

    return drop


def replies_of(run: Recorder, name: str) -> list[int]:
    """Where a bank's replies stand; the rehearsal's comes first."""
    roster = run.bench.federation.identities.roster
    return [
        index
        for index, leaf in enumerate(run.leaves)
        if leaf.kind is LeafKind.REPLY
        and open_envelope(leaf.content, Reply, roster, Protection.EXACT).signer == name
    ]


def test_an_honest_run_holds_every_reply(recorded: Recorder) -> None:
    # three steps, one of them twice, and the evaluation
    assert compare(recorded) == OwnReplies(recorded=5, rehearsals=1, lost=0, unseen=())
    assert compare(recorded, name=LOST) == OwnReplies(recorded=1, rehearsals=1, lost=0, unseen=())


def test_the_ledger_knows_its_own_runs_alone(recorded: Recorder) -> None:
    ledger, study = recorded.bench.ledger(BANK), recorded.bench.study.id
    assert recorded_replies(ledger, study, "another") == {}
    assert recorded_replies(ledger, "00" * 32, recorded.run) == {}


def test_the_same_bytes_again_are_the_same_reply(recorded: Recorder) -> None:
    """A resumed run may ask for what was answered; the stored bytes are the answer."""
    at = replies_of(recorded, BANK)

    def repeat(leaves: list[Leaf]) -> None:
        leaves += [leaves[at[0]], leaves[at[1]]]

    assert compare(recorded, repeat) == compare(recorded)


def test_another_reply_under_the_same_key_is_found(recorded: Recorder) -> None:
    at = replies_of(recorded, BANK)[2]
    forged = recorded.forged(at, Reply, vector="00" * 32)

    def put(leaves: list[Leaf]) -> None:
        leaves[at] = forged

    with pytest.raises(MisfitError, match="the reply that you sent") as found:
        compare(recorded, put)
    misfit = found.value.misfit
    assert (misfit.line, misfit.leaf, misfit.institution) == (at + 2, at, BANK)
    assert misfit.step is not None


def test_a_reply_that_the_ledger_does_not_hold_is_found(recorded: Recorder) -> None:
    held = ledger_of(recorded, BANK)
    held.popitem()
    with pytest.raises(MisfitError, match="does not hold: another party may have your key"):
        compare(recorded, held=held)


def test_replies_of_a_lost_epoch_are_told_apart(recorded: Recorder) -> None:
    held = ledger_of(recorded, BANK)
    held.popitem()
    held.popitem()
    assert compare(recorded, held=held, epoch=2) == OwnReplies(
        recorded=3, rehearsals=1, lost=2, unseen=()
    )


def test_a_reply_that_came_too_late_is_said_to_be_missing(recorded: Recorder) -> None:
    """The first attempt of step 1 failed: nothing counts what was answered to it."""
    at = replies_of(recorded, BANK)[2]
    found = compare(recorded, without(at))
    assert (found.recorded, len(found.unseen)) == (4, 1)
    assert (found.unseen[0].debit.step, found.unseen[0].debit.attempt) == (1, 0)


def test_a_sum_that_counts_a_reply_that_is_not_there_is_found(recorded: Recorder) -> None:
    at = replies_of(recorded, BANK)[1]
    with pytest.raises(MisfitError, match="a sum of replies that are in the transcript") as found:
        compare(recorded, without(at))
    assert found.value.misfit.kind == "sum"


def test_a_reply_signed_by_one_in_the_name_of_another_is_looked_at(recorded: Recorder) -> None:
    at = replies_of(recorded, "bank-b")[1]
    forged = recorded.forged(at, Reply, institution=BANK, vector="00" * 32)

    def put(leaves: list[Leaf]) -> None:
        leaves.append(forged)

    with pytest.raises(MisfitError, match="another in your name"):
        compare(recorded, put)


def test_the_own_key_must_be_on_the_roster(recorded: Recorder) -> None:
    roster = recorded.bench.federation.identities.roster
    key = next(member.key for member in roster.members if member.id == BANK)
    check_own_key(roster, BANK, ["00" * 32, key])
    with pytest.raises(ProtocolError, match="never had"):
        check_own_key(roster, BANK, ["00" * 32])
    with pytest.raises(ProtocolError, match="does not name it"):
        check_own_key(roster, "bank-x", [key])


def test_recorded_replies_are_what_left(recorded: Recorder) -> None:
    held = ledger_of(recorded, BANK)
    assert {one.stored.reply for one in held.values()} == {
        recorded.leaves[at].content for at in replies_of(recorded, BANK)[1:]
    }
    changed = {
        name: replace(one, stored=replace(one.stored, reply=b"")) for name, one in held.items()
    }
    with pytest.raises(MisfitError):
        compare(recorded, held=changed)
