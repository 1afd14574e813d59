"""Parameters that do not follow from what the participants signed are refused, every one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest
from tests.support.federations.bench import (
    NAMES,
    STEPS,
    Bench,
    MakeBench,
    OpenedVector,
    Poison,
    Run,
    make_study,
    make_sums,
    seeds_in,
)
from tests.support.rows import night
from tests.support.runs.grouped import grouped_study, grouped_sums
from tests.support.runs.steps import replay_step

from fieldfare.client.custodian import recomputation
from fieldfare.client.custodian.noise_stock import NoiseStock
from fieldfare.client.custodian.recomputation import recomputed_model
from fieldfare.client.ledger.run_states import PROGRESS_STATE
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import LedgerError, PolicyRefusal, RefusalCode
from fieldfare.shared.evaluation.score_table import prevalence_log_odds
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    Commitment,
    LastSum,
    Refusal,
    ReleaseKind,
    Reply,
    Request,
    open_envelope,
    parameters_to_bytes,
    sign_envelope,
    statements_hash,
)
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import initial_state, model_hash
from fieldfare.simulations.federation.federation import LocalFederation

NAME: Final = "bank-b"
TRAINING: Final = ReleaseKind.TRAINING
EVALUATION: Final = ReleaseKind.EVALUATION
REHEARSAL: Final = ReleaseKind.REHEARSAL
NOT_RECOMPUTED: Final = Refusal(RefusalCode.NOT_RECOMPUTED)
# Every step's iterate is averaged, so that the model is no iterate.
AVERAGED: Final[dict[str, Any]] = {"training": {"steps": STEPS, "average_last": 1.0}}
PLACES: Final = (
    (REHEARSAL, 0),
    *((TRAINING, step) for step in range(STEPS)),
    (EVALUATION, STEPS),
)


def kept(bench: Bench, run: Run, name: str = NAME) -> TrainingState | None:
    state = bench.ledger(name).run_state(bench.study.id, PROGRESS_STATE + run.federation.run)
    return None if state is None else TrainingState.from_bytes(state)


def forbid_records(patch: pytest.MonkeyPatch) -> None:
    def used(*_: Any) -> Any:
        raise AssertionError("records were used for a request that was refused")

    patch.setattr(StudySums, "vector", used)
    patch.setattr(StudySums, "local_change", used)


# -- honest ------------------------------------------------------------------------------------


def test_an_honest_run_is_answered_to_its_end_and_followed(make_bench: MakeBench) -> None:
    bench = make_bench(make_study(**AVERAGED))
    run = bench.open_run()
    for kind, step in PLACES:
        for name in NAMES:
            run.answer(name, run.request(kind, step))
        if kind is not REHEARSAL:
            state = kept(bench, run)
            assert state is not None
            assert state.to_bytes() == run.state(step).to_bytes()
    assert run.state(STEPS).tail_count == STEPS
    model = recomputed_model(bench.ledger(NAME), bench.study, run.federation.run)
    assert model is not None
    assert model.tobytes() == run.state(STEPS).model.tobytes()
    assert model_hash(run.state(STEPS)) == bytes_hash(model.tobytes())


def test_a_whole_run_by_the_real_coordinator_is_followed(bench: Bench) -> None:
    outcome = bench.federation.run(bench.federation.job("r"))
    for name in NAMES:
        model = recomputed_model(bench.ledger(name), bench.study, "r")
        assert model is not None
        assert model.tobytes() == outcome.parameters.tobytes()


@pytest.mark.parametrize("left_after", range(STEPS))
def test_who_left_before_the_end_has_no_model_of_its_own(left_after: int, bench: Bench) -> None:
    """Where it stands is not where the run ended."""
    run = bench.open_run()
    run.answer(NAME, run.request(step=left_after))
    assert recomputed_model(bench.ledger(NAME), bench.study, run.federation.run) is None
    assert recomputed_model(bench.ledger(NAME), bench.study, "another-run") is None


@pytest.mark.parametrize("bits", [*night(-2, -1, 1), 2])
def test_a_start_that_another_machine_rounded_is_answered_and_followed(
    bits: int, bench: Bench
) -> None:
    """It holds a logarithm, which is computed once and bound (docs/design.md, "Recomputation")."""
    log_odds = prevalence_log_odds(bench.study)
    for _ in range(abs(bits)):
        log_odds = float(np.nextafter(log_odds, np.copysign(np.inf, bits)))
    run = bench.open_run()
    run.states[0] = TrainingState.start(model_for(bench.study).initial(log_odds))
    for kind, step in PLACES:
        run.everybody(run.request(kind, step))
    again = initial_state(bench.study).parameters
    content = parameters_to_bytes(again)
    other = run.request(attempt=1, parameters=content)
    assert run.ask(NAME, other, content) == Refusal(RefusalCode.STEP_CLOSED)


def test_once_answered_a_step_has_one_start(bench: Bench) -> None:
    """The tolerance is for the first request: afterwards what it bound counts, bit for bit."""
    run = bench.open_run()
    run.answer(NAME, run.request())
    log_odds = float(np.nextafter(prevalence_log_odds(bench.study), np.inf))
    content = parameters_to_bytes(model_for(bench.study).initial(log_odds))
    other = run.request(attempt=1, parameters=content)
    assert run.ask(NAME, other, content) == NOT_RECOMPUTED


# -- crafted parameters ----------------------------------------------------------------------


def one_bit(honest: bytes) -> bytes:
    values = np.frombuffer(honest).copy()
    values[-1] = np.nextafter(values[-1], np.inf)
    return parameters_to_bytes(values)


CRAFTED: Final[dict[str, Callable[[Run, bytes], bytes]]] = {
    "one bit": lambda _, honest: one_bit(honest),
    "a zero with a sign": lambda _, honest: parameters_to_bytes(
        np.where(np.frombuffer(honest) == 0, -0.0, np.frombuffer(honest) + 0.5)
    ),
    "all zero": lambda _, honest: bytes(len(honest)),
    "a spike": lambda _, honest: parameters_to_bytes(np.eye(1, len(honest) // 8).ravel() * 100),
    "somebody's bias": lambda run, _: run.bench.parameters(-1.0),
    "its reverse": lambda _, honest: parameters_to_bytes(-np.frombuffer(honest)),
}


@pytest.mark.parametrize("craft", CRAFTED)
@pytest.mark.parametrize("place", [PLACES[0], *night(*PLACES[1:-1]), PLACES[-1]])
def test_crafted_parameters_are_refused_at_every_step(
    place: tuple[ReleaseKind, int], craft: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kind, step), run = place, bench.open_run()
    content = CRAFTED[craft](run, run.parameters(kind, step))
    request = run.request(kind, step, parameters=content)
    before, state = bench.ledger(NAME).position(), kept(bench, run)
    with monkeypatch.context() as patch:
        forbid_records(patch)
        assert run.ask(NAME, request, content) == NOT_RECOMPUTED
    assert bench.ledger(NAME).position() == before
    assert bench.ledger(NAME).stored(request.hash) is None
    after = kept(bench, run)
    assert (state and state.to_bytes()) == (after and after.to_bytes())
    run.answer(NAME, run.request(kind, step))  # the honest ones still are


@pytest.mark.parametrize(("kind", "step"), PLACES[1:])
def test_a_local_average_is_followed_and_nothing_else(
    kind: ReleaseKind, step: int, make_bench: MakeBench
) -> None:
    bench = make_bench(make_study(training={"mode": "local", "steps": STEPS, "local_steps": 2}))
    run = bench.open_run()
    content = one_bit(run.parameters(kind, step))
    assert run.ask(NAME, run.request(kind, step, parameters=content)) == NOT_RECOMPUTED
    run.answer(NAME, run.request(kind, step))
    found = kept(bench, run)
    assert found is not None
    expected = run.state(step)
    assert found.to_bytes() == expected.to_bytes()


@pytest.mark.parametrize("step", range(1, STEPS))
def test_parameters_of_an_earlier_step_are_refused(step: int, bench: Bench) -> None:
    run = bench.open_run()
    run.state(step)
    for earlier in range(step):
        content = run.parameters(TRAINING, earlier)
        assert run.ask(NAME, run.request(step=step, parameters=content)) == NOT_RECOMPUTED


def test_an_evaluation_is_of_the_average_and_of_nothing_else(make_bench: MakeBench) -> None:
    bench = make_bench(make_study(**AVERAGED))
    run = bench.open_run()
    content = parameters_to_bytes(run.state(STEPS).parameters)
    assert content != parameters_to_bytes(run.state(STEPS).model)
    assert run.ask(NAME, run.request(EVALUATION, STEPS, parameters=content)) == NOT_RECOMPUTED
    run.answer(NAME, run.request(EVALUATION, STEPS))


def test_a_second_attempt_is_for_the_same_parameters(bench: Bench) -> None:
    run = bench.open_run()
    run.answer(NAME, run.request(step=1))
    content = one_bit(run.parameters(TRAINING, 1))
    assert run.ask(NAME, run.request(step=1, attempt=1, parameters=content)) == NOT_RECOMPUTED
    # Whatever comes with it, where the run stands is known already.
    for last in (NO_LAST_SUM, LastSum(b"rubbish", (b"",), (b"",)), run.last(1)):
        assert run.ask(NAME, run.request(step=1, attempt=1), last=last) != NOT_RECOMPUTED
    assert bench.ledger(NAME).position().sequence == 3


@pytest.mark.parametrize(("kind", "step"), PLACES[2:])
def test_no_step_can_be_left_out(kind: ReleaseKind, step: int, bench: Bench) -> None:
    """A run in which nothing was answered is asked for what follows from another's sums."""
    run, other = bench.open_run(), bench.open_run()
    request = other.moved(run.request(kind, step))
    content, last = run.parameters(kind, step), run.last(step)
    assert other.ask(NAME, request, content, last) == NOT_RECOMPUTED
    own = bench.sign(other.moved(run.answered[step - 1]))
    assert other.ask(NAME, request, content, replace(last, request=own)) == NOT_RECOMPUTED


# -- sums that are none ------------------------------------------------------------------------


def resigned(
    run: Run,
    envelope: bytes,
    name: str,
    signer: str,
    body: type[Commitment | Reply] = Reply,
    **changes: object,
) -> bytes:
    """A reply or a commitment, changed, in somebody's name and with somebody's key."""
    party = run.bench.party(name)
    found = open_envelope(envelope, body, party.roster, party.protection).body
    return sign_envelope(
        found.model_copy(update=changes), name, run.bench.federation.identities.signers[signer]
    )


def asked(run: Run, step: int = 0, **changes: object) -> bytes:
    """The request of a step, changed, with the coordinator's signature."""
    return run.bench.sign(run.answered[step].model_copy(update=changes))


def put(items: tuple[bytes, ...], index: int, item: bytes) -> tuple[bytes, ...]:
    return (*items[:index], item, *items[index + 1 :])


def swap(items: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return (items[1], items[0], *items[2:])


def other_run(run: Run, last: LastSum) -> LastSum:
    del last
    return run.bench.open_run().last(1)


def of_rehearsal(run: Run, last: LastSum) -> LastSum:
    del last
    other = run.bench.open_run()
    request = other.request(REHEARSAL)
    answers = [other.answer(name, request) for name in NAMES]
    body = request.model_copy(update={"run": run.federation.run})
    return run.as_last(body, answers)


def without_itself(run: Run, last: LastSum) -> LastSum:
    """Three others sign whatever the coordinator likes: no word of the victim's is in it."""
    others = [name for name in NAMES if name != NAME]
    request = run.request(names=others, attempt=1)
    return run.as_last(request, [run.answer(name, request) for name in others])


def of_two_attempts(run: Run, last: LastSum) -> LastSum:
    """Everybody's reply to the attempt, but one of another attempt: noise drawn anew."""
    answer = run.answer("bank-c", run.request(attempt=1))
    at = NAMES.index("bank-c")
    return replace(
        last,
        replies=put(last.replies, at, answer.reply),
        vectors=put(last.vectors, at, answer.vector),
    )


def replayed(run: Run, last: LastSum, **changes: object) -> LastSum:
    """A request that binds something else, and everybody else's signature under it: collusion."""
    request = run.answered[0].model_copy(update=changes)
    hashed = request.hash
    statements = tuple(
        one if name == NAME else resigned(run, one, name, name, Commitment, request=hashed)
        for name, one in zip(NAMES, last.statements, strict=True)
    )
    listed = statements_hash(statements)
    replies = tuple(
        envelope
        if name == NAME
        else resigned(run, envelope, name, name, request=hashed, statements=listed)
        for name, envelope in zip(NAMES, last.replies, strict=True)
    )
    return LastSum(run.bench.sign(request), replies, last.vectors, statements)


def poisoned(run: Run, last: LastSum) -> LastSum:
    """A member signs a vector that takes the sum of another attempt out of range."""
    del last
    custodian, bits = run.bench.custodian("bank-d"), run.bench.plan.training.word_bits
    door, honest = custodian._door, custodian._noise
    door._noise = NoiseStock(Poison(honest._source, 1 << (bits.value - 2)))
    try:
        return run.everybody(run.request(attempt=1))
    finally:
        door._noise = honest


def short(run: Run, last: LastSum) -> LastSum:
    """A member committed to a vector that is too short, and everybody opened under its word."""
    at, vector = NAMES.index("bank-d"), last.vectors[3][:-8]
    own = {"vector": bytes_hash(vector)}
    word = resigned(run, last.statements[at], "bank-d", "bank-d", Commitment, **own)
    statements = put(last.statements, at, word)
    listed = {"statements": statements_hash(statements)}
    replies = tuple(
        resigned(run, reply, name, name, Reply, **listed | (own if name == "bank-d" else {}))
        for name, reply in zip(NAMES, last.replies, strict=True)
    )
    return LastSum(last.request, replies, put(last.vectors, at, vector), statements)


Misfit = Callable[[Run, LastSum], LastSum]
MISFITS: Final[dict[str, Misfit]] = {
    "nothing": lambda _, __: NO_LAST_SUM,
    "rubbish for a request": lambda _, last: replace(last, request=b"rubbish"),
    "no replies": lambda _, last: replace(last, replies=(), vectors=()),
    "a reply dropped": lambda _, last: replace(last, replies=last.replies[:-1]),
    "a vector dropped": lambda _, last: replace(last, vectors=last.vectors[:-1]),
    "a participant dropped": lambda _, last: replace(
        last, replies=last.replies[:-1], vectors=last.vectors[:-1]
    ),
    "a reply twice": lambda _, last: replace(
        last,
        replies=put(last.replies, 0, last.replies[1]),
        vectors=put(last.vectors, 0, last.vectors[1]),
    ),
    "a participant more": lambda _, last: replace(
        last, replies=(*last.replies, last.replies[0]), vectors=(*last.vectors, last.vectors[0])
    ),
    "replies swapped": lambda _, last: replace(last, replies=swap(last.replies)),
    "vectors swapped": lambda _, last: replace(last, vectors=swap(last.vectors)),
    "participants swapped": lambda _, last: replace(
        last, replies=swap(last.replies), vectors=swap(last.vectors)
    ),
    "a vector changed": lambda _, last: replace(
        last, vectors=put(last.vectors, 2, bytes([last.vectors[2][0] ^ 1]) + last.vectors[2][1:])
    ),
    "one's own vector changed": lambda _, last: replace(
        last, vectors=put(last.vectors, 1, bytes([last.vectors[1][0] ^ 1]) + last.vectors[1][1:])
    ),
    "an empty reply": lambda _, last: replace(last, replies=put(last.replies, 0, b"")),
    "a reply in another's name": lambda run, last: replace(
        last, replies=put(last.replies, 2, resigned(run, last.replies[2], "bank-c", "bank-a"))
    ),
    "a reply by another signer": lambda run, last: replace(
        last, replies=put(last.replies, 2, resigned(run, last.replies[2], "bank-a", "bank-a"))
    ),
    "one's own reply, forged": lambda run, last: replace(
        last, replies=put(last.replies, 1, resigned(run, last.replies[1], NAME, "bank-a"))
    ),
    "a reply by the coordinator": lambda run, last: replace(
        last,
        replies=put(
            last.replies,
            2,
            sign_envelope(
                open_envelope(
                    last.replies[2], Reply, run.bench.party(NAME).roster, Protection.EXACT
                ).body,
                COORDINATOR,
                run.bench.federation.identities.coordinator,
            ),
        ),
    ),
    "a reply to another request": lambda run, last: replace(
        last,
        replies=put(
            last.replies, 2, resigned(run, last.replies[2], "bank-c", "bank-c", request="0" * 64)
        ),
    ),
    "a reply under another answer": lambda run, last: replace(
        last,
        replies=put(
            last.replies, 2, resigned(run, last.replies[2], "bank-c", "bank-c", answer="0" * 64)
        ),
    ),
    "a reply that names another": lambda run, last: replace(
        last,
        replies=put(
            last.replies,
            2,
            resigned(run, last.replies[2], "bank-c", "bank-c", institution="bank-d"),
        ),
    ),
    "a request by a member": lambda run, last: replace(
        last,
        request=sign_envelope(
            run.answered[0], "bank-a", run.bench.federation.identities.signers["bank-a"]
        ),
    ),
    "a reply for a request": lambda _, last: replace(last, request=last.replies[0]),
    "a request for another step": lambda run, last: replace(
        last, request=run.bench.sign(run.request(step=1))
    ),
    "a request for another attempt": lambda run, last: replace(last, request=asked(run, attempt=1)),
    "a request of another study": lambda run, last: replace(
        last, request=asked(run, study="0" * 64)
    ),
    "a request under another roster": lambda run, last: replace(
        last, request=asked(run, roster="0" * 64)
    ),
    "a request of another kind": lambda run, last: replayed(run, last, kind=REHEARSAL),
    "a request that others answered": lambda run, last: replayed(run, last, parameters="0" * 64),
    "a vector out of range": poisoned,
    "a vector of another length": short,
    "the sum of another run": other_run,
    "the sum of a rehearsal": of_rehearsal,
    "a sum without oneself": without_itself,
    "a sum of two attempts": of_two_attempts,
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_sum_that_is_none_leads_nowhere(
    misfit: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever parameters are bound: the true ones too are only recomputed from a true sum."""
    run = bench.open_run()
    request, honest = run.request(step=1), run.last(1)
    last = MISFITS[misfit](run, honest)
    before = bench.ledger(NAME).position()
    with monkeypatch.context() as patch:
        forbid_records(patch)
        assert run.ask(NAME, request, last=last) == NOT_RECOMPUTED
    assert bench.ledger(NAME).position() == before
    assert isinstance(run.ask(NAME, request, last=honest), OpenedVector)


@pytest.mark.parametrize(
    ("misfit", "reason"),
    [
        ("a sum of two attempts", "expected a reply to the request before it"),
        ("a vector of another length", "expected a vector of 80 bytes"),
        ("a vector changed", "expected each participant's own signed vector"),
        ("a vector out of range", "out of range"),
    ],
)
def test_a_sum_that_is_none_is_refused_for_what_it_is(
    misfit: str, reason: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for its commitments, where these are as they were: each check stands alone."""
    found: list[str] = []

    def noted(text: str) -> PolicyRefusal:
        found.append(text)
        return refused(text)

    refused = recomputation._refused
    run = bench.open_run()
    request, last = run.request(step=1), MISFITS[misfit](run, run.last(1))
    monkeypatch.setattr(recomputation, "_refused", noted)
    assert run.ask(NAME, request, last=last) == NOT_RECOMPUTED
    assert [reason in text for text in found] == [True], found


def test_the_sum_of_another_step_leads_nowhere(bench: Bench) -> None:
    run = bench.open_run()
    request = run.request(step=2)
    assert run.ask(NAME, request, last=run.last(1)) == NOT_RECOMPUTED
    run.answer(NAME, request, last=run.last(2))


def test_an_invented_sum_gives_no_parameters_of_ones_choice(bench: Bench) -> None:
    """Everybody but one colludes with the coordinator, and a step is made up to the last bit."""
    run = bench.open_run()
    run.request(step=1)
    changed = np.frombuffer(run.last(1).vectors[1], dtype=bench.plan.training.word_bits.dtype) + 1
    forged = replace(run.last(1), vectors=put(run.last(1).vectors, 1, changed.tobytes()))
    seeds = seeds_in(forged)
    state = replay_step(bench.plan, run.state(0), bench.plan.training, forged.vectors, seeds)
    content = parameters_to_bytes(state.parameters)
    assert run.ask(NAME, run.request(step=1, parameters=content), content, forged) == NOT_RECOMPUTED


# -- attempts that failed ----------------------------------------------------------------------


def subset(run: Run, names: tuple[str, ...], attempt: int) -> Request:
    request = run.request(names=names, attempt=attempt)
    for name in names:
        run.answer(name, request)
    return request


def test_the_sum_of_those_who_were_left_is_followed(bench: Bench) -> None:
    """bank-d fails at step 0: the others answer a second attempt, and go on from its sum."""
    run, rest = bench.open_run(), NAMES[:3]
    first = run.request()
    for name in rest:
        run.answer(name, first)
    subset(run, rest, 1)
    for step in range(1, STEPS):
        request = run.request(step=step, names=rest)
        for name in rest:
            run.answer(name, request)
    for name in rest:
        run.answer(name, run.request(EVALUATION, STEPS, names=rest))
        assert bench.ledger(name).position().sequence == STEPS + 2
    # Who left is in no sum any more, and cannot follow.
    back = run.request(step=1)
    assert run.ask("bank-d", back) == NOT_RECOMPUTED
    assert bench.ledger("bank-d").position().sequence == 0


def test_of_two_sums_of_one_step_one_is_followed(bench: Bench) -> None:
    """Both are everybody's; what was answered for first is where the run stands."""
    one = bench.open_run()
    first, second = one.request(), one.request(attempt=1)
    for request in (first, second):
        for name in NAMES:
            one.answer(name, request)
    two = replace(one, states={}, lasts={}, answered={0: first})
    assert one.parameters(TRAINING, 1) != two.parameters(TRAINING, 1)
    one.answer(NAME, one.request(step=1))
    other = two.request(step=1, attempt=1)
    assert two.ask(NAME, other) == NOT_RECOMPUTED
    assert two.ask("bank-a", two.request(step=1)) != NOT_RECOMPUTED


# -- where nothing has to be shown -------------------------------------------------------------


def test_what_was_answered_is_sent_again_without_evidence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.open_run()
    requests = [run.request(step=step) for step in range(STEPS)]
    answers = [run.answer(NAME, request) for request in requests]
    bench.restart(NAME)
    forbid_records(monkeypatch)
    before = bench.ledger(NAME).position()
    again = [run.ask(NAME, request, last=NO_LAST_SUM) for request in requests]
    assert again == answers
    assert bench.ledger(NAME).position() == before


def test_where_a_run_stands_is_known_after_a_restart(bench: Bench) -> None:
    run = bench.open_run()
    run.answer(NAME, run.request(step=1))
    bench.restart(NAME)
    run.open_anew()
    request = run.request(step=1, attempt=1)
    run.answer(NAME, request, last=NO_LAST_SUM)
    run.everybody(request)
    bench.restart(NAME)
    run.open_anew()
    content = one_bit(run.parameters(TRAINING, 2))
    assert run.ask(NAME, run.request(step=2, parameters=content), content) == NOT_RECOMPUTED
    assert run.ask(NAME, run.request(step=2), last=NO_LAST_SUM) == NOT_RECOMPUTED
    run.answer(NAME, run.request(step=2))


def test_a_sum_that_is_too_large_to_send_is_not_recomputed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = bench.plan.training.vectors.entries * len(NAMES)
    monkeypatch.setattr("fieldfare.shared.protocol.plan.MOST_WORDS", words)
    run, content = bench.open_run(), bench.parameters(-1.0)
    crafted = run.request(parameters=content)
    assert run.ask(NAME, crafted, content) == NOT_RECOMPUTED
    # Those who opened the run count, not those who are left: everybody decides alike.
    fewer = run.request(names=NAMES[:3], parameters=content)
    assert run.ask(NAME, fewer, content) == NOT_RECOMPUTED
    monkeypatch.setattr("fieldfare.shared.protocol.plan.MOST_WORDS", words - 1)
    run.answer(NAME, crafted, content, NO_LAST_SUM)
    assert kept(bench, run) is None
    run.answer(NAME, fewer.model_copy(update={"attempt": 1}), content, NO_LAST_SUM)


@pytest.mark.parametrize("more", [-1, 0])
def test_what_travels_is_settled_by_the_first_opening(
    more: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four are above the line and three below: nobody begins to follow in the middle of a run."""
    words = bench.plan.training.vectors.entries * len(NAMES)
    monkeypatch.setattr("fieldfare.shared.protocol.plan.MOST_WORDS", words + more)
    run = bench.open_run()
    run.state(1)
    bench.restart(NAME)
    run.open_anew(NAMES[:3])
    content = one_bit(run.parameters(TRAINING, 1))
    asked = run.request(step=1, names=NAMES[:3])
    crafted = run.request(step=1, names=NAMES[:3], parameters=content)
    if more:
        run.answer(NAME, asked, last=NO_LAST_SUM)
    else:
        assert run.ask(NAME, asked, last=NO_LAST_SUM) == NOT_RECOMPUTED
        assert run.ask(NAME, crafted, content) == NOT_RECOMPUTED
        run.answer(NAME, asked)


def test_a_table_that_is_too_large_to_send_hides_no_step(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What travels is settled for each kind: the table by group follows from no step."""
    study = grouped_study(evaluation={"score_bins": 64})
    sums = {name: grouped_sums(study, 100, seed=index) for index, name in enumerate(NAMES)}
    bench = make_bench(study, sums)
    most = bench.plan.training.vectors.entries * len(NAMES)
    assert bench.plan.evaluation.vectors.entries * len(NAMES) > most
    monkeypatch.setattr("fieldfare.shared.protocol.plan.MOST_WORDS", most)
    run, content = bench.open_run(), bench.parameters(-1.0)
    assert run.ask(NAME, run.request(parameters=content), content) == NOT_RECOMPUTED
    outcome = bench.federation.run(bench.federation.job("whole"))  # also what no sum leads to
    assert outcome.released_groups is not None
    model = recomputed_model(bench.ledger(NAME), study, "whole")
    assert model is not None
    assert model.tobytes() == outcome.parameters.tobytes()


def test_a_simulation_recomputes_nothing(tmp_path: Any) -> None:
    study = make_study()
    sums = {name: make_sums(study, 20, seed=index) for index, name in enumerate(NAMES)}
    with LocalFederation(
        study, sums, Protection.SIMULATED, seed=9, directory=tmp_path
    ) as federation:
        bench = Bench(federation, sums)
        run, content = bench.open_run(), bench.parameters(-1.0)
        run.answer(NAME, run.request(step=2, parameters=content), content, NO_LAST_SUM)
        assert kept(bench, run) is None


# -- what is kept ------------------------------------------------------------------------------


def test_no_request_reaches_what_is_kept(bench: Bench) -> None:
    """A run's id holds no colon: `progress:` names no run."""
    run = bench.open_run()
    run.answer(NAME, run.request())
    for name in (PROGRESS_STATE, f"{PROGRESS_STATE}{run.federation.run}"):
        answer = bench.custodian(NAME).agree(bench.study.id, name, [])
        assert answer == Refusal(RefusalCode.UNKNOWN_RUN)


def test_what_was_kept_ends_with_the_study(bench: Bench) -> None:
    run = bench.open_run()
    run.answer(NAME, run.request())
    assert kept(bench, run) is not None
    bench.custodian(NAME).finish(bench.study.id)
    assert kept(bench, run) is None


def test_what_was_kept_and_cannot_be_read_stops_the_run(bench: Bench) -> None:
    run = bench.open_run()
    run.answer(NAME, run.request())
    state = PROGRESS_STATE + run.federation.run
    bench.ledger(NAME).put_run_state(bench.study.id, state, b"rubbish")
    broken = Refusal(RefusalCode.LEDGER_UNAVAILABLE)
    assert run.ask(NAME, run.request(attempt=1)) == broken
    with pytest.raises(LedgerError, match="kept progress"):
        recomputed_model(bench.ledger(NAME), bench.study, run.federation.run)


def test_a_refused_or_failed_release_keeps_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state goes to the disk with the debit, or not at all."""
    run = bench.open_run()
    request = run.request(step=1)
    forbid_records(monkeypatch)
    with pytest.raises(AssertionError):
        run.ask(NAME, request)
    state = kept(bench, run)
    assert state is not None
    assert state.step == 0
