"""Blame: keys of a failed rehearsal are published, and never those of anything else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest
from tests.support.federations.bench import MakeBench, Run, make_study

from fieldfare.client.custodian.ports import CommitmentReply
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import (
    Commitment,
    LastSum,
    Refusal,
    RehearsalKeys,
    ReleaseKind,
    Reply,
    Request,
    open_envelope,
    statements_hash,
)
from fieldfare.shared.protocol.secure_sum import EphemeralKeys, seed_stream
from fieldfare.shared.ring import WordBits, add, encode, to_ring

A, D = "bank-a", "bank-d"
SEED: Final = bytes(range(32))


def opening_study(**aggregation: Any) -> Any:
    return make_study(aggregation={"opening": "on", "participants": "fixed", **aggregation})


@pytest.fixture
def run(make_bench: MakeBench) -> Run:
    return make_bench(opening_study()).open_run()


def lying(run: Run, request: Request, extra: int = 1, statement: str = "") -> CommitmentReply:
    """What bank-d commits to in place of masked zeros: masks, and something beside them."""
    bits, entries = WordBits(request.word_bits), request.entries
    peers = frozenset(p.institution for p in request.participants) - {D}
    vector = run.bench.run_keys(D, run).mask(D, peers, request.hash, entries, bits)
    added = to_ring(np.full(entries, extra, dtype=np.int64), bits)
    hidden = add(add(vector, added, bits), seed_stream(SEED, entries, bits), bits)
    vector_sent = encode(hidden, bits)
    body = Commitment(
        request=request.hash,
        institution=D,
        answer=run.participant(D).answer,
        vector=bytes_hash(vector_sent),
        seed=bytes_hash(SEED),
    )
    return CommitmentReply(run.bench.party(D).sign(body), vector_sent)


def opened_by_d(
    run: Run, request: Request, promised: CommitmentReply, statements: list[bytes]
) -> bytes:
    position = run.bench.ledger(D).position()
    body = Reply(
        request=request.hash,
        institution=D,
        answer=run.participant(D).answer,
        vector=bytes_hash(promised.vector),
        statements=statements_hash(statements),
        seed=SEED.hex(),
        debit=0,
        ledger_sequence=position.sequence,
        ledger_head=position.head,
        cumulative=position.cumulative,
        debited=position.debited,
        epoch=position.epoch,
    )
    return run.bench.party(D).sign(body)


def failed(run: Run, attempt: int = 0, extra: int = 1) -> LastSum:
    """A rehearsal of all four in which bank-d sends something else than masked zeros."""
    request = run.request(ReleaseKind.REHEARSAL, attempt=attempt)
    honest = [name for name in run.bench.names if name != D]
    promised = [*(run.commit(name, request) for name in honest), lying(run, request, extra)]
    sent = [one.commitment for one in promised]
    opened = [run.reveal(name, request, sent) for name in honest]
    replies = [one for one in opened if isinstance(one, bytes)]
    assert len(replies) == len(honest), opened
    replies.append(opened_by_d(run, request, promised[-1], sent))
    vectors = tuple(one.vector for one in promised)
    return LastSum(run.bench.sign(request), tuple(replies), vectors, tuple(sent))


def publish(run: Run, name: str, rehearsal: LastSum) -> bytes | Refusal:
    return run.bench.custodian(name).publish(rehearsal)


def keys_in(run: Run, content: bytes | Refusal) -> RehearsalKeys:
    assert isinstance(content, bytes), content
    party = run.bench.party(A)
    return open_envelope(content, RehearsalKeys, party.roster, party.protection).body


def answers(run: Run, name: str) -> list[object]:
    """Everything of the run that a coordinator can ask for."""
    bench, opening = run.bench, run.federation.agreed.opening
    custodian, study = bench.custodian(name), bench.study.id
    rehearsal = run.request(ReleaseKind.REHEARSAL, attempt=9)
    return [
        run.ask(name, rehearsal),
        run.ask(name, run.request()),
        custodian.reveal(bench.sign(rehearsal), []),
        custodian.describe(study, run=opening.run, nonce="7" * 64),
        custodian.agree(study, opening.run, []),
    ]


DEAD: Final = Refusal(RefusalCode.REHEARSAL_FAILED)


def test_everybody_publishes_the_keys_of_its_own_answer_and_is_done(run: Run) -> None:
    rehearsal = failed(run)
    for name in run.bench.names[:-1]:
        body = keys_in(run, publish(run, name, rehearsal))
        keys = EphemeralKeys.from_private(body.x25519, body.mlkem768)
        assert body.institution == name
        assert body.answer == run.participant(name).answer
        answer = run.bench.described(name, "other", "7" * 64)
        assert keys.public[0].encode() not in answer.answer  # of this opening, and no other one
        assert answers(run, name) == [DEAD] * 5
        assert run.bench.ledger(name).spent() == 0
    # Who has not published yet is alive, and its keys are all that it has.
    assert publish(run, D, rehearsal) == Refusal(RefusalCode.NOT_RECOMPUTED)  # it opened nothing


def test_a_dead_run_stays_dead_and_sends_the_same_bytes(run: Run) -> None:
    rehearsal = failed(run)
    sent = publish(run, A, rehearsal)
    run.bench.restart(A)
    assert answers(run, A) == [DEAD] * 5
    assert publish(run, A, rehearsal) == sent
    run.bench.custodian(A).finish(run.bench.study.id)
    run.bench.restart(A)  # under a fresh approval
    assert answers(run, A) == [DEAD] * 5
    run.bench.open_run("another")  # the study goes on


def test_a_kill_before_the_keys_leave_leaves_the_run_dead(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsal = failed(run)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run.bench.custodian(A)._decisions, "noted", killed, raising=False)
    with pytest.raises(KeyboardInterrupt):
        publish(run, A, rehearsal)
    run.bench.restart(A)
    assert answers(run, A) == [DEAD] * 5
    assert keys_in(run, publish(run, A, rehearsal)).institution == A


# -- never anything else ------------------------------------------------------------------------

Told = Callable[[Run], LastSum]


def _honest(run: Run) -> LastSum:
    return run.everybody(run.request(ReleaseKind.REHEARSAL))


def _claimed(run: Run) -> LastSum:
    """The rehearsal was fine; the coordinator shows another vector of bank-d."""
    rehearsal = _honest(run)
    return replace(rehearsal, vectors=(*rehearsal.vectors[:3], rehearsal.vectors[0]))


def _another_reply(run: Run) -> LastSum:
    """The rehearsal was fine, and bank-d, which colludes, has signed another vector since."""
    request = run.request(ReleaseKind.REHEARSAL)
    rehearsal, other = run.everybody(request), lying(run, request)
    sent = [*rehearsal.statements[:3], other.commitment]
    replies = (*rehearsal.replies[:3], opened_by_d(run, request, other, sent))
    return LastSum(rehearsal.request, replies, (*rehearsal.vectors[:3], other.vector), tuple(sent))


def _cut(**kept: int) -> Told:
    def told(run: Run) -> LastSum:
        rehearsal = failed(run)
        return replace(rehearsal, **{name: getattr(rehearsal, name)[:3] for name in kept})

    return told


def _older(run: Run) -> LastSum:
    """A rehearsal that failed; the next one, which everybody opened, was fine."""
    rehearsal = failed(run)
    run.everybody(run.request(ReleaseKind.REHEARSAL, attempt=1))
    return rehearsal


def _committed(run: Run) -> LastSum:
    rehearsal = _honest(run)
    run.commit(A, run.request())
    return rehearsal


def _anew(run: Run) -> LastSum:
    rehearsal = failed(run)
    run.open_anew()
    return rehearsal


def _restarted(run: Run) -> LastSum:
    rehearsal = failed(run)
    run.bench.restart(A)
    return rehearsal


def _committed_before(run: Run) -> LastSum:
    """Under a newer opening, in whose keys nothing was masked yet."""
    run.commit(A, run.request())
    run.open_anew()
    return LastSum(run.bench.sign(run.request(ReleaseKind.REHEARSAL)))


def _step(run: Run) -> LastSum:
    return run.everybody(run.request())


REFUSED: Final[dict[str, tuple[Told, RefusalCode]]] = {
    "masks that cancel": (_honest, RefusalCode.NOT_RECOMPUTED),
    "a vector that nobody signed": (_claimed, RefusalCode.MALFORMED),
    "a list that was not opened": (_another_reply, RefusalCode.MALFORMED),
    "a reply is missing": (_cut(replies=3), RefusalCode.MALFORMED),
    "a vector is missing": (_cut(vectors=3), RefusalCode.MALFORMED),
    "a commitment is missing": (_cut(statements=3), RefusalCode.MALFORMED),
    "a later one was fine": (_older, RefusalCode.NOT_RECOMPUTED),
    "a step was committed to": (_committed, RefusalCode.STEP_CLOSED),
    "a step was committed to before": (_committed_before, RefusalCode.STEP_CLOSED),
    "keys of a newer opening": (_anew, RefusalCode.KEYS_GONE),
    "keys that are gone": (_restarted, RefusalCode.KEYS_GONE),
    "a step": (_step, RefusalCode.NOT_IN_PLAN),
}


def test_no_keys_are_published_of_anything_else(make_bench: MakeBench) -> None:
    bench = make_bench(opening_study())
    for what, (told, code) in REFUSED.items():
        run = bench.open_run()
        assert publish(run, A, told(run)) == Refusal(code), what
        assert DEAD not in answers(run, A), what


def test_no_step_is_masked_with_keys_that_a_peer_may_have_published(run: Run) -> None:
    """With the keys of bank-a and bank-d, and a seed from bank-b's disk, its sum could be read."""
    rehearsal = failed(run)
    keys_in(run, publish(run, A, rehearsal))
    for last in (rehearsal, LastSum(), replace(rehearsal, replies=rehearsal.replies[::-1])):
        assert run.ask("bank-b", run.request(), last=last) == Refusal(RefusalCode.NOT_RECOMPUTED)
    waits = run.bench.ledger("bank-b").waiting(run.bench.study.id, run.federation.run)
    assert waits is not None
    assert waits.cost == 0
    # Another rehearsal needs the one that is dead.
    later = run.request(ReleaseKind.REHEARSAL, attempt=1)
    assert isinstance(run.promise("bank-b", later), CommitmentReply)
    assert run.ask(A, later) == DEAD


def test_no_step_is_masked_with_keys_that_were_not_in_the_rehearsal(make_bench: MakeBench) -> None:
    """Where anybody may be left out, the others rehearse without whoever is dead."""
    run = make_bench(opening_study(participants="any")).open_run()
    rehearsal = failed(run)
    keys_in(run, publish(run, A, rehearsal))
    rest = [name for name in run.bench.names if name != A]
    run.everybody(run.request(ReleaseKind.REHEARSAL, attempt=1, names=rest))
    assert run.ask("bank-b", run.request()) == Refusal(RefusalCode.NOT_RECOMPUTED)
    run.everybody(run.request(names=rest))
    # And keys that served a rehearsal of some of them only are nobody's to have.
    smaller = make_bench(opening_study(participants="any")).open_run()
    some = smaller.request(ReleaseKind.REHEARSAL, names=rest)
    assert publish(smaller, "bank-b", smaller.everybody(some)) == Refusal(RefusalCode.NOT_IN_PLAN)


def test_the_rehearsals_of_a_run_are_opened_in_order(run: Run) -> None:
    """What two institutions opened last is the same one, whatever they were asked before."""
    run.everybody(run.request(ReleaseKind.REHEARSAL, attempt=1))
    earlier = run.request(ReleaseKind.REHEARSAL, attempt=0)
    assert run.ask(A, earlier) == Refusal(RefusalCode.ATTEMPT_CLOSED)
    run.everybody(run.request(ReleaseKind.REHEARSAL, attempt=2))


def test_a_rehearsal_opens_for_one_list(run: Run) -> None:
    request = run.request(ReleaseKind.REHEARSAL)
    rehearsal = run.everybody(request)
    other = [*rehearsal.statements[:3], lying(run, request).commitment]
    run.bench.restart(A)
    assert run.reveal(A, request, other) == Refusal(RefusalCode.REPLAY_CHANGED)
    assert run.reveal(A, request, rehearsal.statements) == rehearsal.replies[0]


def test_private_keys_are_held_until_a_step_is_answered(run: Run) -> None:
    held, place = run.bench.held(A), (run.bench.study.id, run.federation.run)
    run.everybody(run.request(ReleaseKind.REHEARSAL))
    assert held._agreed[place].private is not None
    run.commit(A, run.request())
    assert held._agreed[place].private is None
