"""One secure sum: who drops, refuses, lies or poisons, and what it costs whom."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.server.conftest import (
    BANKS,
    MakeSetting,
    Setting,
    exact_gradient,
    make_study,
    to_bank,
)

from fieldfare.client.release import Released
from fieldfare.server.opening import open_federation
from fieldfare.server.rounds import SecureSums
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import LedgerError, RefusalCode, RunError
from fieldfare.shared.grid import WordBits
from fieldfare.shared.messages import Assurance, Refusal, Reply, Request, seal, unseal
from fieldfare.shared.models import model_for
from fieldfare.shared.plan import ReleaseKind
from fieldfare.shared.secure_sum import RunKeys

TRAINING = ReleaseKind.TRAINING
EXACT = Assurance.EXACT
LONG = make_study(training={"steps": 5})


def open_sums(setting: Setting, lose: Callable[..., bool] | None = None) -> SecureSums:
    channel = setting.channel(lose)
    return SecureSums(channel, open_federation(channel, setting.federation.job("run").terms))


def start(setting: Setting) -> NDArray[np.float64]:
    return model_for(setting.federation.study).initial(-1.0)


def request_of(setting: Setting, envelope: bytes) -> Request:
    federation = setting.federation
    return unseal(envelope, Request, federation.identities.roster, federation.assurance).body


def is_near(setting: Setting, values: NDArray[np.float64], names: tuple[str, ...]) -> bool:
    """Whether a sum is that of these institutions, up to noise, and of no others."""
    noise = values - exact_gradient(setting, names, start(setting))
    return bool(np.abs(noise).max() < 6 * setting.federation.plan.training.sigma)


@pytest.mark.parametrize("assurance", Assurance)
def test_a_sum_is_that_of_all_records_with_noise(
    make_setting: MakeSetting, assurance: Assurance
) -> None:
    generous = make_study(privacy={"epsilon": 50.0})  # little noise, so that every bank shows
    setting = make_setting(generous, assurance)
    total = open_sums(setting).collect(TRAINING, 0, start(setting))
    assert is_near(setting, total.values, BANKS)
    for name in BANKS:
        assert not is_near(setting, total.values, tuple(set(BANKS) - {name}))
    assert total.participants == BANKS
    assert (total.attempt, total.debits) == (0, dict.fromkeys(BANKS, 1))
    assert request_of(setting, total.request).n == len(BANKS)
    replies = {name: reply_in(setting, envelope) for name, envelope in total.replies.items()}
    hashes = {reply.request for reply in replies.values()}
    assert hashes == {request_of(setting, total.request).hash}
    assert {name: reply.institution for name, reply in replies.items()} == {b: b for b in BANKS}


def reply_in(setting: Setting, envelope: bytes) -> Reply:
    federation = setting.federation
    return unseal(envelope, Reply, federation.identities.roster, federation.assurance).body


def test_a_lost_question_is_asked_again_and_costs_nothing(make_setting: MakeSetting) -> None:
    setting = make_setting(LONG, EXACT)
    lost = to_bank("bank-b", times=1)
    sums = open_sums(setting, lost)
    total = sums.collect(TRAINING, 0, start(setting))
    assert (total.attempt, total.participants) == (0, BANKS)
    assert setting.debits() == dict.fromkeys(BANKS, 1)
    assert sums.lost == {}
    deadline = LONG.aggregation.deadline_seconds
    assert deadline <= setting.clock.now <= deadline + 0.1


def test_a_lost_answer_is_sent_again_as_it_left(make_setting: MakeSetting) -> None:
    """The institution has paid already: its stored bytes come back, with no second noise."""
    setting = make_setting(LONG, EXACT)
    left: list[Released] = []

    def lose_once(answer: Released) -> Released:
        left.append(answer)
        if len(left) == 1:
            raise LedgerError("the connection broke")
        return answer

    setting.bend("bank-c", release=lose_once)
    total = open_sums(setting).collect(TRAINING, 0, start(setting))
    assert total.participants == BANKS
    assert left[0] == left[1]
    assert setting.debits() == dict.fromkeys(BANKS, 1)


def test_who_stays_away_is_left_out_and_the_others_pay_once_more(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(LONG, EXACT)
    sums = open_sums(setting, to_bank("bank-d", after=1))
    told: list[tuple[int, int, dict[str, str]]] = []
    sums.on_attempt = lambda step, attempt, lost: told.append((step, attempt, dict(lost)))
    sums.collect(TRAINING, 0, start(setting))
    total = sums.collect(TRAINING, 1, start(setting))
    assert total.attempt == 1
    assert total.participants == BANKS[:3]
    assert total.debits == dict.fromkeys(BANKS[:3], 2)
    assert setting.debits() == {**dict.fromkeys(BANKS[:3], 3), "bank-d": 1}
    assert told == [(1, 0, {"bank-d": "no answer in time"})]
    assert is_near(setting, total.values, BANKS[:3])
    # Fewer share the same noise out, so each adds more; R says how many they are.
    request = request_of(setting, total.request)
    assert (request.n, request.attempt) == (3, 1)
    later = sums.collect(TRAINING, 2, start(setting))
    assert (later.attempt, later.participants) == (0, BANKS[:3])


def test_too_few_end_the_run_and_the_error_says_who_left_and_why(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(LONG)
    sums = open_sums(setting, to_bank("bank-d"))
    setting.bend("bank-a", release=lambda _: Refusal(RefusalCode.LEDGER_UNAVAILABLE))
    with pytest.raises(RunError) as caught:
        sums.collect(TRAINING, 0, start(setting))
    assert str(caught.value) == (
        "training step 0: at least 3 institutions expected, 2 left "
        "(bank-a: refused: ledger_unavailable, bank-d: no answer in time)"
    )


def test_a_refusal_is_taken_at_once_and_told(
    make_setting: MakeSetting, caplog: pytest.LogCaptureFixture
) -> None:
    setting = make_setting(LONG)
    sums = open_sums(setting)
    setting.federation.custodians["bank-b"].finish(LONG.id)
    with caplog.at_level(logging.WARNING, "fieldfare.server"):
        total = sums.collect(TRAINING, 0, start(setting))
    assert total.participants == ("bank-a", "bank-c", "bank-d")
    assert sums.lost == {"bank-b": "refused: unknown_study"}
    assert "bank-b left step 0: refused: unknown_study" in caplog.text
    assert setting.clock.now == 0.0  # a refusal does not change by asking again


def resealed(setting: Setting, name: str, **changes: object) -> Callable[[Released], Released]:
    """Change what an institution signs, with its own signature on it."""
    federation = setting.federation

    def change(answer: Released) -> Released:
        reply = reply_in(setting, answer.reply).model_copy(update=changes)
        vector = changes.get("content", answer.vector)
        assert isinstance(vector, bytes)
        reply = reply.model_copy(update={"vector": bytes_hash(vector)})
        return Released(seal(reply, name, federation.identities.signers[name]), vector)

    return change


LIES: dict[str, Callable[[Setting], Callable[[Released], Released]]] = {
    "another's signature": lambda s: (
        lambda a: Released(
            seal(reply_in(s, a.reply), "bank-b", s.federation.identities.signers["bank-a"]),
            a.vector,
        )
    ),
    "another signer": lambda s: (
        lambda a: Released(
            seal(reply_in(s, a.reply), "bank-a", s.federation.identities.signers["bank-a"]),
            a.vector,
        )
    ),
    "a changed vector": lambda _: (
        lambda a: replace(a, vector=bytes([a.vector[0] ^ 1]) + a.vector[1:])
    ),
    "another request": lambda s: resealed(s, "bank-b", request="0" * 64),
    "another institution": lambda s: resealed(s, "bank-b", institution="bank-a"),
    "another approval": lambda s: resealed(s, "bank-b", approval="0" * 64),
    "another price": lambda s: resealed(s, "bank-b", debit=1),
    "a vector of another length": lambda s: resealed(s, "bank-b", content=bytes(8)),
    "rubbish": lambda _: lambda a: Released(b"rubbish", a.vector),
    "nothing": lambda _s: lambda _a: Released(b"", b""),
    "an approval": lambda s: (
        lambda a: Released(
            s.federation.custodians["bank-b"].describe(s.federation.study.id),  # type: ignore[arg-type]
            a.vector,
        )
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_reply_that_is_not_what_was_asked_for_leaves_its_sender_out(
    make_setting: MakeSetting, lie: str
) -> None:
    setting = make_setting(LONG, EXACT)
    sums = open_sums(setting)
    setting.bend("bank-b", release=LIES[lie](setting))
    total = sums.collect(TRAINING, 0, start(setting))
    assert total.participants == ("bank-a", "bank-c", "bank-d")
    assert sums.lost["bank-b"].startswith("bad reply: ")
    assert is_near(setting, total.values, total.participants)


def test_a_custodian_that_answers_rubbish_in_place_of_a_refusal_is_left_out(
    make_setting: MakeSetting,
) -> None:
    class Rubbish(Refusal):
        def to_bytes(self) -> bytes:
            return b"fieldfare.refusal.v1\x00because"

    setting = make_setting(LONG)
    sums = open_sums(setting)
    setting.bend("bank-b", release=lambda _: Rubbish(RefusalCode.MALFORMED))
    assert sums.collect(TRAINING, 0, start(setting)).participants == BANKS[:1] + BANKS[2:]
    assert sums.lost["bank-b"] == "bad reply: a refusal with a known code expected"


def test_failed_attempts_that_use_the_budget_up_end_the_run_with_the_reason(
    make_setting: MakeSetting,
) -> None:
    """No spare release: a second attempt takes what evaluation and the last step were to cost."""
    study = make_study(privacy={"spare_releases": 0}, evaluation={"spare_releases": 0})
    setting = make_setting(study)
    sums = open_sums(setting, to_bank("bank-a", after=1))
    sums.collect(TRAINING, 0, start(setting))
    sums.collect(TRAINING, 1, start(setting))  # two attempts
    paid = setting.debits()
    with pytest.raises(RunError, match=r"training step 2: at least 3 .* 0 left") as caught:
        sums.collect(TRAINING, 2, start(setting))
    for name in BANKS[1:]:
        assert f"{name}: refused: budget_exhausted" in str(caught.value)
    assert setting.debits() == paid
    limit = setting.federation.plan.study_limit
    assert all(ledger.spent() <= limit for ledger in setting.federation.ledgers.values())


def test_attempts_are_counted_and_end(make_setting: MakeSetting) -> None:
    study = make_study(aggregation={"attempts": 2, "minimum_institutions": 3})
    setting = make_setting(study, banks=(*BANKS, "bank-e"))
    one, two = to_bank("bank-a"), to_bank("bank-b", after=2)  # twice in attempt 0, then silent
    sums = open_sums(setting, lambda m: one(m) or two(m))
    answered = [0]

    def only_once(answer: Released) -> Released:
        answered[0] += 1
        if answered[0] > 1:
            raise LedgerError("broken")
        return answer

    setting.bend("bank-c", release=only_once)
    with pytest.raises(RunError, match=r"2 failed \(.*bank-c: no answer in time") as caught:
        sums.collect(TRAINING, 0, start(setting))
    assert "bank-a: no answer in time" in str(caught.value)
    assert setting.debits()["bank-e"] == 2


@pytest.mark.parametrize("assurance", Assurance)
def test_a_poisoned_sum_stops_the_run(make_setting: MakeSetting, assurance: Assurance) -> None:
    setting = make_setting(LONG, assurance)
    terms = setting.federation.plan.training
    sums = open_sums(setting)
    words = np.zeros(terms.vectors.entries, dtype=terms.word_bits.dtype)
    words[0] = 1 << (terms.word_bits.value - 2)

    def poison(answer: Released) -> Released:
        honest = np.frombuffer(answer.vector, dtype=terms.word_bits.dtype)
        return resealed(setting, "bank-d", content=(honest + words).tobytes())(answer)

    setting.bend("bank-d", release=poison)
    with pytest.raises(RunError, match="out of range found: masks did not cancel"):
        sums.collect(TRAINING, 0, start(setting))


def test_a_small_study_travels_in_small_words(make_setting: MakeSetting) -> None:
    """The poison above must be out of range in the ring that is used."""
    terms = make_setting(LONG).federation.plan.training
    assert terms.word_bits is WordBits.K64 or terms.largest_entry * 2**28 < 2**31


def test_a_rehearsal_costs_nothing(make_setting: MakeSetting) -> None:
    setting = make_setting(LONG, EXACT)
    open_sums(setting).rehearse(start(setting))
    assert setting.debits() == dict.fromkeys(BANKS, 0)


def test_a_rehearsal_finds_keys_that_differ_before_anything_is_paid(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(LONG, EXACT)
    sums = open_sums(setting)
    ledger = setting.federation.ledgers["bank-c"]
    state = ledger.run_state(LONG.id, "run")
    assert state is not None
    keys = RunKeys.from_bytes(state)
    broken = {**keys.keys, "bank-a": bytes(32)}
    ledger.put_run_state(LONG.id, "run", RunKeys(keys.step, broken).to_bytes())
    with pytest.raises(RunError, match=r"do not share the same keys.*no budget was spent"):
        sums.rehearse(start(setting))
    assert setting.debits() == dict.fromkeys(BANKS, 0)


def test_who_misses_the_rehearsal_is_left_out_from_the_start(make_setting: MakeSetting) -> None:
    setting = make_setting(LONG, EXACT)
    sums = open_sums(setting, to_bank("bank-b", times=2))
    sums.rehearse(start(setting))
    total = sums.collect(TRAINING, 0, start(setting))
    assert total.participants == ("bank-a", "bank-c", "bank-d")
    assert (total.attempt, setting.debits()["bank-b"]) == (0, 0)


def test_all_get_the_same_request_and_the_same_parameters(make_setting: MakeSetting) -> None:
    setting = make_setting(LONG, EXACT)
    seen: set[tuple[bytes, bytes]] = set()

    def watch(message: Any) -> None:
        if (
            message.metadata.message_type == "query.release"
            and not message.metadata.reply_to_message_id
        ):
            record = message.content["fieldfare"]
            seen.add((record["request"], record["parameters"]))

    channel = setting.over(setting.federation.grid(tap=watch))
    sums = SecureSums(channel, open_federation(channel, setting.federation.job("run").terms))
    sums.collect(TRAINING, 0, start(setting))
    assert len(seen) == 1
