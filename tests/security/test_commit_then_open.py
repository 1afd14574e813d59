"""Commit, then open: nobody chooses by what others sent, and nobody pays for who is missing."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final

import numpy as np
import pytest
from tests.support.federations.bench import MakeBench, Run, make_study

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import (
    Commitment,
    LastSum,
    Refusal,
    ReleaseKind,
    Reply,
    Request,
    open_envelope,
    sign_envelope,
    statements_hash,
)
from fieldfare.shared.protocol.secure_sum import seed_stream
from fieldfare.shared.ring import Word, WordBits, add, centre, decode, encode, subtract, to_ring
from fieldfare.shared.run.replay import add_words

OPENS: Final = {"deadline_seconds": 5}
A, D = "bank-a", "bank-d"
TRIES: Final = 60
BINS: Final = 16


def opening_study(**aggregation: Any) -> Any:
    return make_study(aggregation={**OPENS, "participants": "fixed", **aggregation})


@pytest.fixture
def run(make_bench: MakeBench) -> Run:
    return make_bench(opening_study()).open_run()


def stripped(run: Run, name: str, request: Request, vector: bytes) -> Word:
    """An honest vector without its masks: what all the others together can make of it."""
    bits, terms = WordBits(request.word_bits), run.bench.plan.training
    peers = frozenset(p.institution for p in request.participants) - {name}
    # Each pair's key is known at the other end as well, so all the others have all of these.
    keys = run.bench.run_keys(name, run).at(request.step + 1)
    mask = keys.mask(name, peers, request.hash, terms.vectors.entries, bits)
    return subtract(decode(vector, bits, request.entries), mask, bits)


def chi_square(words: Word, bits: WordBits) -> float:
    """How far the highest four bits are from uniform: about `BINS` where they are."""
    counts = np.bincount((words >> np.uint64(bits.value - 4)).astype(np.int64), minlength=BINS)
    mean = len(words) / BINS
    return float(((counts - mean) ** 2 / mean).sum())


def test_all_the_others_together_learn_nothing_from_a_first_message(run: Run) -> None:
    """H4: given all first messages, and all keys and seeds but its own, a vector is uniform."""
    words, opened = [], []
    for attempt in range(TRIES):
        request = run.request(attempt=attempt)
        bits = WordBits(request.word_bits)
        words.append(stripped(run, A, request, run.commit(A, request).vector))
        waits = run.bench.ledger(A).waiting(request.study, request.run)
        assert waits is not None
        opened.append(subtract(words[-1], seed_stream(waits.seed, request.entries, bits), bits))
    assert chi_square(np.concatenate(words), bits) < 45  # beyond: one in 10,000
    # The same test sees what the seed hid: sums that are small beside the ring.
    assert chi_square(np.concatenate(opened), bits) > 1000
    assert run.bench.ledger(A).spent() == 0


def rushed(
    request: Request, others: Sequence[bytes], wanted: int, seeds: Sequence[str] = ()
) -> bytes:
    """What a colluder sends that has the others' vectors: the sum is what it wants."""
    bits, entries = WordBits(request.word_bits), request.entries
    target = to_ring(np.full(entries, wanted, dtype=np.int64), bits)
    return encode(subtract(target, add_words(others, bits, entries, seeds), bits), bits)


def test_a_rushing_member_would_choose_the_sum_of_vectors_that_it_can_read(run: Run) -> None:
    """What it would do if one message had opened them: the seeds are what it lacks."""
    request = run.request()
    others = [run.answer(name, request) for name in run.bench.names if name != D]
    vectors, seeds = [one.vector for one in others], [one.seed for one in others]
    for known, chosen in ((seeds, True), ((), False)):
        sent = [*vectors, rushed(request, vectors, 1000, known)]
        bits = WordBits(request.word_bits)
        total = centre(add_words(sent, bits, request.entries, seeds), bits)
        assert (set(total.tolist()) == {1000}) is chosen


def test_a_rushing_member_chooses_nothing(run: Run) -> None:
    """H4: its own vector is fixed before any other one can be read."""
    request = run.request()
    bits, entries = WordBits(request.word_bits), request.entries
    honest = [name for name in run.bench.names if name != D]
    promised = {name: run.commit(name, request) for name in honest}
    seed = bytes(32)
    chosen = rushed(request, [one.vector for one in promised.values()], wanted=1000)
    chosen = encode(
        add(decode(chosen, bits, entries), seed_stream(seed, entries, bits), bits), bits
    )
    statements = [*(one.commitment for one in promised.values()), forged(run, request, chosen)]
    replies = [run.reveal(name, request, statements) for name in honest]
    seeds = [_reply(run, one).seed for one in replies] + [seed.hex()]
    total = add_words([*(p.vector for p in promised.values()), chosen], bits, entries, seeds)
    assert chi_square(total, bits) < 60  # not what it wanted, and nothing in range
    assert np.abs(centre(total, bits)).max() > 2.0 ** (bits.value - 6)
    # Now it knows the honest sum, and signs another vector: another L, which nobody follows.
    late = rushed(request, [chosen], wanted=7)
    other = [*statements[:-1], forged(run, request, late)]
    for name in honest:
        assert run.reveal(name, request, other) == Refusal(RefusalCode.REPLAY_CHANGED)


def forged(run: Run, asked: Request, vector: bytes, **changes: object) -> bytes:
    """What a member signs that plays with the coordinator."""
    named = {p.institution: p.answer for p in asked.participants}
    body = Commitment(
        request=asked.hash,
        institution=D,
        answer=named[D],
        vector=bytes_hash(vector),
        seed=bytes_hash(bytes(32)),
    ).model_copy(update=changes)
    return run.bench.party(D).sign(body)


def _reply(run: Run, content: bytes | Refusal) -> Reply:
    assert isinstance(content, bytes), content
    party = run.bench.party(A)
    return open_envelope(content, Reply, party.roster, party.protection).body


@pytest.mark.parametrize("paid", [False, True])
def test_no_rehearsal_destroys_what_a_step_waits_with(run: Run, *, paid: bool) -> None:
    """A newer opening begins its keys again: a rehearsal once took the place of an answer."""
    request = run.request()
    if paid:
        run.everybody(request)
    else:
        run.commit(A, request)
    before = run.bench.ledger(A).waiting(request.study, request.run)
    run.open_anew()
    rehearsal = run.request(ReleaseKind.REHEARSAL)
    assert run.ask(A, rehearsal) == Refusal(RefusalCode.STEP_CLOSED)
    after = run.bench.ledger(A).waiting(request.study, request.run)
    assert (before is None, after is None) == (paid, paid)
    assert before == after


# -- L ------------------------------------------------------------------------------------------

Change = Callable[[Run, Request, list[bytes]], list[bytes]]


def _strangers(run: Run, request: Request, sent: list[bytes]) -> list[bytes]:
    coordinator = run.bench.federation.identities.coordinator
    body = Commitment.model_validate_json(_body(sent[1]))
    return [sent[0], sign_envelope(body, "coordinator", coordinator), *sent[2:]]


def _body(envelope: bytes) -> str:
    return json.dumps(json.loads(envelope)["body"])


def _own_altered(run: Run, request: Request, sent: list[bytes]) -> list[bytes]:
    body = Commitment.model_validate_json(_body(sent[0])).model_copy(update={"seed": "0" * 64})
    return [run.bench.party(A).sign(body), *sent[1:]]


def _of_another_request(run: Run, request: Request, sent: list[bytes]) -> list[bytes]:
    return [*sent[:3], forged(run, request, b"", request="0" * 64)]


def _under_another_answer(run: Run, request: Request, sent: list[bytes]) -> list[bytes]:
    return [*sent[:3], forged(run, request, b"", answer="0" * 64)]


WRONG: Final[dict[str, tuple[Change, RefusalCode]]] = {
    "nothing": (lambda *_: [], RefusalCode.BAD_PARTICIPANTS),
    "one is missing": (lambda _, __, sent: sent[:-1], RefusalCode.BAD_PARTICIPANTS),
    "its own is missing": (lambda _, __, sent: [*sent[1:], sent[-1]], RefusalCode.BAD_PARTICIPANTS),
    "one twice": (lambda _, __, sent: [*sent[:3], sent[0]], RefusalCode.BAD_SIGNATURE),
    "out of order": (lambda _, __, sent: sent[::-1], RefusalCode.BAD_SIGNATURE),
    "one more": (lambda _, __, sent: [*sent, sent[-1]], RefusalCode.BAD_PARTICIPANTS),
    "a stranger's": (_strangers, RefusalCode.BAD_SIGNATURE),
    "its own altered": (_own_altered, RefusalCode.BAD_PARTICIPANTS),
    "of another request": (_of_another_request, RefusalCode.BAD_PARTICIPANTS),
    "under another answer": (_under_another_answer, RefusalCode.BAD_PARTICIPANTS),
    "rubbish": (lambda _, __, sent: [*sent[:3], b"{}"], RefusalCode.MALFORMED),
}


def test_nothing_opens_for_a_list_that_is_not_everybodys(run: Run) -> None:
    request = run.request()
    sent = [run.commit(name, request).commitment for name in run.bench.names]
    for what, (change, code) in WRONG.items():
        answer = run.reveal(A, request, change(run, request, sent))
        assert answer == Refusal(code), what
        assert run.bench.ledger(A).spent() == 0, what
    assert isinstance(run.reveal(A, request, sent), bytes)


def test_an_answer_opens_for_one_list(run: Run) -> None:
    request = run.request()
    sent = [run.commit(name, request).commitment for name in run.bench.names]
    other = [*sent[:3], forged(run, request, b"another")]
    opened = run.reveal(A, request, sent)
    spent = run.bench.ledger(A).spent()
    assert run.reveal(A, request, other) == Refusal(RefusalCode.REPLAY_CHANGED)
    assert run.reveal(A, request, sent) == opened
    assert _reply(run, opened).statements == statements_hash(sent)
    assert run.bench.ledger(A).spent() == spent == run.bench.plan.training.cost


def test_replies_that_name_two_lists_lead_nowhere(run: Run) -> None:
    """Two institutions open for two lists: the step that follows is nobody's."""
    request = run.request()
    promised = [run.commit(name, request) for name in run.bench.names]
    sent = [one.commitment for one in promised]
    other = [*sent[:3], forged(run, request, b"another")]
    replies = [run.reveal(name, request, sent) for name in run.bench.names if name != "bank-b"]
    replies.insert(1, run.reveal("bank-b", request, other))
    told = [one for one in replies if isinstance(one, bytes)]
    vectors = tuple(one.vector for one in promised)
    last = LastSum(run.bench.sign(request), tuple(told), vectors, tuple(sent))
    following = run.request(step=1, parameters=run.bench.parameters())
    answer = run.ask(A, following, run.bench.parameters(), last)
    assert answer == Refusal(RefusalCode.NOT_RECOMPUTED)


# -- who is missing -----------------------------------------------------------------------------


def test_who_is_missing_before_the_list_costs_nobody_anything(run: Run) -> None:
    """L8: a member dies again and again, and the others pay for the one sum that there is."""
    for attempt in range(12):
        request = run.request(attempt=attempt)
        for name in run.bench.names[:-1]:
            run.commit(name, request)
    run.everybody(run.request(attempt=12))
    cost = run.bench.plan.training.cost
    assert {run.bench.ledger(name).spent() for name in run.bench.names} == {cost}


def test_a_later_attempt_destroys_the_seed_of_one_that_was_not_opened(run: Run) -> None:
    first, second = run.request(), run.request(attempt=1)
    sent = [run.commit(name, first).commitment for name in run.bench.names]
    waits = run.bench.ledger(A).waiting(first.study, first.run)
    run.commit(A, second)
    assert run.reveal(A, first, sent) == Refusal(RefusalCode.ATTEMPT_CLOSED)
    assert run.ask(A, first) == Refusal(RefusalCode.ATTEMPT_CLOSED)
    assert waits is not None
    for file in run.bench.path(A).parent.glob(f"{run.bench.path(A).name}*"):
        assert waits.seed not in file.read_bytes(), file.name


def test_an_answer_is_sent_again_once_the_seed_before_it_is_in_no_file(run: Run) -> None:
    """A reader of the ledger's log was in the way of destroying it, and a repeat asked again."""
    bench, first = run.bench, run.request()
    run.commit(A, first)
    waits = bench.ledger(A).waiting(first.study, first.run)
    assert waits is not None
    held = bench.held(A)
    bench.restart(A, busy_timeout=0.05)._hold(held)
    second = run.request(attempt=1)
    with closing(sqlite3.connect(bench.path(A), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT seed FROM pending").fetchall()
        refused = [run.ask(A, second) for _ in range(2)]
        reader.execute("COMMIT")
    assert refused == [Refusal(RefusalCode.LEDGER_UNAVAILABLE)] * 2
    assert waits.seed in bench.files(A)
    run.commit(A, second)
    assert waits.seed not in bench.files(A)
    assert bench.run_keys(A, run).step == second.step + 1  # as if nothing had been in the way


def test_attempts_that_were_opened_are_counted_apart(run: Run) -> None:
    most = run.bench.study.aggregation.attempts
    for attempt in range(most):
        run.everybody(run.request(attempt=2 * attempt))
    late = run.request(attempt=2 * most)
    assert run.ask(A, late) == Refusal(RefusalCode.TOO_MANY_ATTEMPTS)
    assert run.bench.ledger(A).spent() == most * run.bench.plan.training.cost
    far = run.bench.open_run("far")
    assert far.ask(A, far.request(attempt=64)) == Refusal(RefusalCode.TOO_MANY_ATTEMPTS)
    far.commit(A, far.request(attempt=63))


@pytest.mark.parametrize("opened", [False, True])
def test_between_the_two_messages_nothing_is_lost_and_nothing_paid_twice(
    run: Run, *, opened: bool
) -> None:
    request, bench = run.request(), run.bench
    promised = {name: run.commit(name, request) for name in bench.names}
    sent = [one.commitment for one in promised.values()]
    before = run.reveal(A, request, sent) if opened else None
    bench.restart(A)
    assert run.promise(A, request) == promised[A]
    replies = [run.reveal(A, request, sent) for _ in range(2)]
    assert replies[0] == replies[1] == (before or replies[0])
    assert isinstance(replies[0], bytes)
    assert bench.ledger(A).spent() == bench.plan.training.cost
    bench.ledger(A).verify()


def test_a_rehearsal_goes_through_both_messages(run: Run) -> None:
    request = run.request(ReleaseKind.REHEARSAL)
    last = run.everybody(request)
    bits = WordBits(request.word_bits)
    seeds = [_reply(run, one).seed for one in last.replies]
    assert not add_words(last.vectors, bits, request.entries, seeds).any()
    assert add_words(last.vectors, bits, request.entries).any()
    assert run.bench.ledger(A).spent() == 0
    run.everybody(run.request())
    assert run.reveal(A, request, last.statements) == last.replies[0]
    assert run.ask(A, request) == Refusal(RefusalCode.STEP_CLOSED)


# -- differencing by participants ---------------------------------------------------------------


def test_two_attempts_do_not_tell_one_institutions_own_sum(run: Run) -> None:
    """H1: everybody answers, and the coordinator says that bank-d came too late."""
    run.everybody(run.request(ReleaseKind.TRAINING))
    without = run.request(attempt=1, names=run.bench.names[:-1])
    for name in run.bench.names[:-1]:
        assert run.ask(name, without) == Refusal(RefusalCode.BAD_PARTICIPANTS)


def test_the_same_two_attempts_work_where_anybody_may_be_left_out(make_bench: MakeBench) -> None:
    run = make_bench(opening_study(participants="any")).open_run()
    names: list[str] = run.bench.names
    sums = []
    for attempt, chosen in enumerate((names, names[:-1])):
        request = run.request(attempt=attempt, names=chosen)
        last = run.everybody(request)
        seeds = [_reply(run, one).seed for one in last.replies]
        bits = WordBits(request.word_bits)
        sums.append(centre(add_words(last.vectors, bits, request.entries, seeds), bits))
    own = run.bench.sums[D].vector(ReleaseKind.TRAINING, np.frombuffer(run.bench.parameters()))
    noise = run.bench.plan.training.sigma * 2.0**run.bench.plan.training.vectors.gamma_bits
    assert np.abs(sums[0] - sums[1] - own).max() < 8 * noise
