"""One secure sum: who drops, refuses, lies or poisons, and what it costs whom."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.federations.bench import Poison
from tests.support.federations.settings import (
    BANKS,
    MakeSetting,
    Setting,
    collect,
    exact_gradient,
    hostile_node,
    make_study,
    rehearse,
    to_bank,
)
from tests.support.runs.steps import open_federation

from fieldfare.client.custodian.noise_stock import NoiseStock
from fieldfare.client.custodian.ports import CommitmentReply, HelloAnswer
from fieldfare.server.run.channel import AFTER_ERROR_SECONDS, SILENT_SHARE, GridChannel
from fieldfare.server.run.opening import Opener
from fieldfare.server.run.record import Record, RunCheckpoint
from fieldfare.server.run.rounds import SecureSums
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import LedgerError, RefusalCode, RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import REFUSAL, Call
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    Commitment,
    LastSum,
    MessageBody,
    Refusal,
    ReleaseKind,
    Reply,
    Request,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.secure_sum import RunKeys
from fieldfare.shared.ring import WordBits
from fieldfare.shared.run.replay import initial_state
from fieldfare.simulations.federation.grid import Tap

TRAINING = ReleaseKind.TRAINING
EXACT = Protection.EXACT
Body = TypeVar("Body", bound=MessageBody)
LONG = make_study(training={"steps": 5})


def open_sums(
    setting: Setting, lose: Callable[..., bool] | None = None, tap: Tap | None = None
) -> SecureSums:
    channel = setting.channel(lose, tap)
    return SecureSums(channel, open_federation(channel, setting.federation.job("run").terms))


def join_sums(setting: Setting, before: SecureSums, **checkpoint: Any) -> SecureSums:
    """Go on with a run that was opened before, as a fresh process does."""
    found = RunCheckpoint(openings=before.federation.openings, **checkpoint)
    opener = Opener(setting.channel(), setting.federation.job("run").terms, Record())
    federation = opener.begin(found)
    return SecureSums(opener.channel, federation, checkpoint=found, anew=opener.anew)


def start(setting: Setting) -> NDArray[np.float64]:
    return initial_state(setting.federation.study).parameters


def request_of(setting: Setting, envelope: bytes) -> Request:
    federation = setting.federation
    return open_envelope(
        envelope, Request, federation.identities.roster, federation.protection
    ).body


def is_near(
    setting: Setting,
    values: NDArray[np.float64],
    names: tuple[str, ...],
    parameters: NDArray[np.float64] | None = None,
) -> bool:
    """Whether a sum is that of these institutions, up to noise, and of no others."""
    at = start(setting) if parameters is None else parameters
    noise = values - exact_gradient(setting, names, at)
    return bool(np.abs(noise).max() < 6 * setting.federation.plan.training.sigma)


@pytest.mark.parametrize("protection", Protection)
def test_a_sum_is_that_of_all_records_with_noise(
    make_setting: MakeSetting, protection: Protection
) -> None:
    generous = make_study(privacy={"epsilon": 50.0})  # little noise, so that every bank shows
    setting = make_setting(generous, protection)
    total = collect(open_sums(setting), TRAINING, 0, start(setting))
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


def opened(setting: Setting, envelope: bytes, body: type[Body]) -> Body:
    federation = setting.federation
    return open_envelope(envelope, body, federation.identities.roster, federation.protection).body


def reply_in(setting: Setting, envelope: bytes) -> Reply:
    return opened(setting, envelope, Reply)


def test_a_lost_question_is_asked_again_and_costs_nothing(make_setting: MakeSetting) -> None:
    setting = make_setting(LONG, EXACT)
    lost = to_bank("bank-b", times=1)
    sums = open_sums(setting, lost)
    total = collect(sums, TRAINING, 0, start(setting))
    assert (total.attempt, total.participants) == (0, BANKS)
    assert setting.debits() == dict.fromkeys(BANKS, 1)
    assert sums.lost == {}
    silence = SILENT_SHARE * LONG.aggregation.deadline_seconds
    assert silence <= setting.clock.now <= silence + 0.1


def test_a_lost_answer_is_sent_again_as_it_left(make_setting: MakeSetting) -> None:
    """The institution has paid already: its stored bytes come back, with no second noise."""
    setting = make_setting(LONG, EXACT)
    left: list[bytes] = []

    def lose_once(answer: bytes) -> bytes:
        left.append(answer)
        if len(left) == 1:
            raise LedgerError("the connection broke")
        return answer

    setting.bend("bank-c", reveal=lose_once)
    total = collect(open_sums(setting), TRAINING, 0, start(setting))
    assert total.participants == BANKS
    assert left[0] == left[1]
    assert setting.debits() == dict.fromkeys(BANKS, 1)
    assert AFTER_ERROR_SECONDS <= setting.clock.now <= AFTER_ERROR_SECONDS + 0.1


def test_who_stays_away_is_left_out_and_the_others_pay_once_more(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(LONG, EXACT)
    sums = open_sums(setting, to_bank("bank-d", after=1, call="reveal"))
    told: list[tuple[int, int, dict[str, str]]] = []
    sums.on_attempt = lambda step, attempt, lost: told.append((step, attempt, dict(lost)))
    walk = setting.walk(sums)
    walk.step()
    parameters = walk.state.parameters
    total = walk.step()
    assert total.attempt == 1
    assert total.participants == BANKS[:3]
    assert total.debits == dict.fromkeys(BANKS[:3], 2)
    assert setting.debits() == {**dict.fromkeys(BANKS[:3], 3), "bank-d": 1}
    assert told == [(1, 0, {"bank-d": "no answer in time"})]
    assert is_near(setting, total.values, BANKS[:3], parameters)
    # Fewer share the same noise out, so each adds more; R says how many they are.
    request = request_of(setting, total.request)
    assert (request.n, request.attempt) == (3, 1)
    later = walk.step()
    assert (later.attempt, later.participants) == (0, BANKS[:3])


def test_too_few_end_the_run_and_the_error_says_who_left_and_why(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(LONG)
    sums = open_sums(setting, to_bank("bank-d"))
    setting.bend("bank-a", release=lambda _: Refusal(RefusalCode.LEDGER_UNAVAILABLE))
    with pytest.raises(RunError) as caught:
        collect(sums, TRAINING, 0, start(setting))
    assert str(caught.value) == (
        "training step 0: expected at least 3 institutions, found 2 left "
        "(bank-a: refused: ledger_unavailable, bank-d: no answer in time)"
    )


def test_a_refusal_is_taken_at_once_and_told(
    make_setting: MakeSetting, caplog: pytest.LogCaptureFixture
) -> None:
    setting = make_setting(LONG)
    sums = open_sums(setting)
    setting.federation.custodians["bank-b"].finish(LONG.id)
    with caplog.at_level(logging.WARNING, "fieldfare.server"):
        total = collect(sums, TRAINING, 0, start(setting))
    assert total.participants == ("bank-a", "bank-c", "bank-d")
    assert sums.lost == {"bank-b": "refused: unknown_study"}
    assert "bank-b left step 0: refused: unknown_study" in caplog.text
    assert setting.clock.now == 0.0  # a refusal does not change by asking again


Lie = Callable[[Any], Any]


def by(setting: Setting, body: MessageBody, signer: str, key: str) -> bytes:
    """Sign in one institution's name with the key of another."""
    return sign_envelope(body, signer, setting.federation.identities.signers[key])


def commits(name: str = "bank-b", key: str = "bank-b", **changes: object) -> Callable[..., Lie]:
    """A first message with other fields, signed anew; with `content`, with another vector."""

    def lie(setting: Setting) -> Lie:
        def change(answer: CommitmentReply) -> CommitmentReply:
            vector = changes.get("content", answer.vector)
            assert isinstance(vector, bytes)
            body = opened(setting, answer.commitment, Commitment).model_copy(
                update={**changes, "vector": bytes_hash(vector)}
            )
            return CommitmentReply(by(setting, body, name, key), vector)

        return change

    return lie


def opens(name: str = "bank-b", key: str = "bank-b", **changes: object) -> Callable[..., Lie]:
    """A second message with other fields, signed anew."""

    def lie(setting: Setting) -> Lie:
        def change(reply: bytes) -> bytes:
            body = opened(setting, reply, Reply).model_copy(update=changes)
            return by(setting, body, name, key)

        return change

    return lie


def approval(setting: Setting) -> bytes:
    found = setting.federation.custodians["bank-b"].describe(setting.federation.study.id)
    assert isinstance(found, HelloAnswer)
    return found.approval


LIES: dict[str, tuple[str, Callable[[Setting], Lie]]] = {
    "another's signature": ("release", commits(key="bank-a")),
    "another signer": ("release", commits("bank-a", "bank-a")),
    "a changed vector": (
        "release",
        lambda _: lambda a: replace(a, vector=bytes([a.vector[0] ^ 1]) + a.vector[1:]),
    ),
    "another request": ("release", commits(request="0" * 64)),
    "another institution": ("release", commits(institution="bank-a")),
    "another answer": ("release", commits(answer="0" * 64)),
    "a vector of another length": ("release", commits(content=bytes(8))),
    "rubbish": ("release", lambda _: lambda a: CommitmentReply(b"rubbish", a.vector)),
    "nothing": ("release", lambda _s: lambda _a: CommitmentReply(b"", b"")),
    "an approval": ("release", lambda s: lambda a: CommitmentReply(approval(s), a.vector)),
    "another's signature on a reply": ("reveal", opens(key="bank-a")),
    "another signer of a reply": ("reveal", opens("bank-a", "bank-a")),
    "a reply to another request": ("reveal", opens(request="0" * 64)),
    "another institution's reply": ("reveal", opens(institution="bank-a")),
    "a reply under another answer": ("reveal", opens(answer="0" * 64)),
    "another price": ("reveal", opens(debit=1)),
    "another vector's hash": ("reveal", opens(vector="0" * 64)),
    "another seed": ("reveal", opens(seed="0" * 64)),
    "another list": ("reveal", opens(statements="0" * 64)),
    "a reply without a seed": ("reveal", opens(statements="", seed="")),
    "rubbish for a reply": ("reveal", lambda _s: lambda _r: b"rubbish"),
    "no reply": ("reveal", lambda _s: lambda _r: b""),
    "an approval for a reply": ("reveal", lambda s: lambda _: approval(s)),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_not_what_was_asked_for_leaves_its_sender_out(
    make_setting: MakeSetting, lie: str
) -> None:
    setting = make_setting(LONG, EXACT)
    sums = open_sums(setting)
    call, change = LIES[lie]
    setting.bend("bank-b", **{call: change(setting)})
    total = collect(sums, TRAINING, 0, start(setting))
    assert total.participants == ("bank-a", "bank-c", "bank-d")
    assert sums.lost["bank-b"].startswith("bad reply: ")
    assert is_near(setting, total.values, total.participants)


def test_a_node_that_answers_rubbish_in_place_of_a_refusal_is_left_out(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(LONG)
    rubbish = {REFUSAL: b"fieldfare.refusal.v1\x00because"}
    node = setting.federation.nodes["bank-b"]
    sums = open_sums(setting, tap=hostile_node(node, Call.RELEASE, rubbish))
    assert collect(sums, TRAINING, 0, start(setting)).participants == BANKS[:1] + BANKS[2:]
    assert sums.lost["bank-b"] == "bad reply: expected a refusal with a known code"


def test_failed_attempts_that_use_the_budget_up_end_the_run_with_the_reason(
    make_setting: MakeSetting,
) -> None:
    """No spare release: a second attempt takes what evaluation and the last step were to cost."""
    study = make_study(privacy={"spare_releases": 0}, evaluation={"spare_releases": 0})
    setting = make_setting(study)
    sums = open_sums(setting, to_bank("bank-a", after=1, call="reveal"))
    walk = setting.walk(sums)
    walk.step()
    walk.step()  # two attempts
    paid = setting.debits()
    with pytest.raises(RunError, match=r"training step 2: expected at least 3 .* 0 left") as caught:
        walk.step()
    for name in BANKS[1:]:
        assert f"{name}: refused: budget_exhausted" in str(caught.value)
    assert setting.debits() == paid
    limit = setting.federation.plan.study_limit
    assert all(ledger.spent() <= limit for ledger in setting.federation.ledgers.values())


def test_attempts_are_counted_and_end(make_setting: MakeSetting) -> None:
    study = make_study(aggregation={"attempts": 2, "minimum_institutions": 3})
    setting = make_setting(study, banks=(*BANKS, "bank-e"))
    one = to_bank("bank-a", call="reveal")
    two = to_bank("bank-b", after=1, call="reveal")  # once in attempt 0, then silent
    sums = open_sums(setting, lambda m: one(m) or two(m))
    answered = [0]

    def only_once(answer: bytes) -> bytes:
        answered[0] += 1
        if answered[0] > 1:
            raise LedgerError("broken")
        return answer

    setting.bend("bank-c", reveal=only_once)
    with pytest.raises(RunError, match=r"2 that failed \(.*bank-c: no answer in time") as caught:
        collect(sums, TRAINING, 0, start(setting))
    assert "bank-a: no answer in time" in str(caught.value)
    assert setting.debits()["bank-e"] == 2


@pytest.mark.parametrize("protection", Protection)
def test_a_poisoned_sum_stops_the_run(make_setting: MakeSetting, protection: Protection) -> None:
    setting = make_setting(LONG, protection)
    terms = setting.federation.plan.training
    sums = open_sums(setting)
    custodian = setting.federation.custodians["bank-d"]
    poison = Poison(custodian._noise._source, 1 << (terms.word_bits.value - 2))
    custodian._door._noise = NoiseStock(poison)
    with pytest.raises(RunError, match="out of range: masks did not cancel"):
        collect(sums, TRAINING, 0, start(setting))


def test_a_small_study_travels_in_small_words(make_setting: MakeSetting) -> None:
    """The poison above must be out of range in the ring that is used."""
    terms = make_setting(LONG).federation.plan.training
    assert terms.word_bits is WordBits.K64 or terms.largest_entry * 2**28 < 2**31


def test_a_rehearsal_costs_nothing(make_setting: MakeSetting) -> None:
    setting = make_setting(LONG, EXACT)
    rehearse(open_sums(setting), start(setting))
    assert setting.debits() == dict.fromkeys(BANKS, 0)


def test_a_rehearsal_finds_keys_that_differ_before_anything_is_paid(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(LONG, EXACT)
    sums = open_sums(setting)
    held = setting.federation.custodians["bank-c"]._held
    keys = held.run_keys(LONG.id, "run", sums.federation.agreed.opening_hash)
    held.advance(LONG.id, "run", RunKeys(keys.step, {**keys.keys, "bank-a": bytes(32)}))
    assert rehearse(sums, start(setting)).values.any()  # the run then ends, and says so
    assert setting.debits() == dict.fromkeys(BANKS, 0)


def test_who_misses_the_rehearsal_is_left_out_from_the_start(make_setting: MakeSetting) -> None:
    setting = make_setting(LONG, EXACT)
    sums = open_sums(setting, to_bank("bank-b", times=4))
    last = rehearse(sums, start(setting)).as_last
    total = collect(sums, TRAINING, 0, start(setting), last)
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
    collect(sums, TRAINING, 0, start(setting))
    assert len(seen) == 1


def last_sums(setting: Setting) -> tuple[GridChannel, list[LastSum]]:
    """A channel, and the last sums that pass over it."""
    seen: list[LastSum] = []

    def watch(message: Any) -> None:
        metadata, record = message.metadata, message.content["fieldfare"]
        if metadata.message_type == "query.release" and not metadata.reply_to_message_id:
            lists = (
                record.get(f"last_{part}", []) for part in ("replies", "vectors", "statements")
            )
            seen.append(LastSum(record.get("last_request", b""), *map(tuple, lists)))

    return setting.over(setting.federation.grid(tap=watch)), seen


def test_a_request_carries_the_sum_that_its_parameters_follow_from(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(LONG, EXACT)
    channel, seen = last_sums(setting)
    sums = SecureSums(channel, open_federation(channel, setting.federation.job("run").terms))
    walk = setting.walk(sums)
    walk.last = rehearsed = rehearse(sums, start(setting)).as_last
    first, _ = walk.step(), walk.step()
    assert seen == [last for last in (NO_LAST_SUM, rehearsed, first.as_last) for _ in BANKS]
    assert first.as_last.request == first.request
    assert [reply_in(setting, r).institution for r in first.as_last.replies] == list(BANKS)
    hashes = [bytes_hash(vector) for vector in first.as_last.vectors]
    assert hashes == [reply_in(setting, r).vector for r in first.as_last.replies]


def test_of_a_sum_that_is_too_large_the_signed_replies_travel_alone(
    make_setting: MakeSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = make_setting(LONG, EXACT)
    words = setting.federation.plan.training.vectors.entries * len(BANKS)
    monkeypatch.setattr("fieldfare.shared.protocol.plan.MOST_WORDS", words - 1)
    channel, seen = last_sums(setting)
    walk = setting.walk(
        SecureSums(channel, open_federation(channel, setting.federation.job("run").terms))
    )
    walk.step()
    walk.step()
    assert seen[:4] == [NO_LAST_SUM] * 4
    for last in seen[4:]:
        assert last.request
        assert (len(last.replies), last.vectors) == (len(BANKS), ())


def test_parameters_that_do_not_follow_are_answered_by_nobody(make_setting: MakeSetting) -> None:
    setting = make_setting(LONG, EXACT)
    sums = open_sums(setting)
    with pytest.raises(RunError, match=r"0 left \(bank-a: refused: not_recomputed"):
        collect(sums, TRAINING, 0, start(setting) + 1.0)
    assert setting.debits() == dict.fromkeys(BANKS, 0)
    assert setting.clock.now == 0.0


# -- what is kept --------------------------------------------------------------------------------


@dataclass
class Keeping(Record):
    """Writes down what it is told, and how far everybody was by then."""

    setting: Setting
    told: list[tuple[str, Any]] = field(default_factory=list)

    def keep_request(self, request: bytes) -> None:
        request_of(self.setting, request)
        self.told.append(("requested", self.setting.debits()))

    def keep_commitments(self, commitments: Mapping[str, bytes]) -> None:
        self.told.append(("committed", sorted(commitments)))

    def keep_failure(self, replies: Mapping[str, bytes], *, costs: bool) -> None:
        self.told.append(("failed", (sorted(replies), costs)))

    def note_action(self, institution: str, text: str) -> None:
        self.told.append((institution, text))


def test_a_request_is_kept_before_it_is_sent_and_a_failure_before_the_next(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(LONG)
    channel, record = setting.channel(to_bank("bank-d", call="reveal")), Keeping(setting)
    federation = open_federation(channel, setting.federation.job("run").terms)
    total = collect(SecureSums(channel, federation, record), TRAINING, 0, start(setting))
    assert total.attempt == 1
    asked, answered = ([(b, said) for b in BANKS] for said in ("asked", "answered"))
    assert record.told == [
        ("requested", dict.fromkeys(BANKS, 0)),
        *asked,
        *answered,
        ("committed", [*BANKS]),
        *answered[:3],
        ("bank-d", "no answer in time"),
        ("failed", ([*BANKS[:3]], True)),
        ("requested", {**dict.fromkeys(BANKS[:3], 1), "bank-d": 0}),
        *asked[:3],
        *answered[:3],
        ("committed", [*BANKS[:3]]),
        *answered[:3],
    ]


def test_a_failed_rehearsal_costs_nothing(make_setting: MakeSetting) -> None:
    setting = make_setting(LONG, EXACT)
    channel, record = setting.channel(to_bank("bank-d", call="reveal")), Keeping(setting)
    federation = open_federation(channel, setting.federation.job("run").terms)
    sums = SecureSums(channel, federation, record)
    rehearse(sums, start(setting))
    assert ("failed", ([*BANKS[:3]], False)) in record.told
    assert sums.failed == 1


@pytest.mark.parametrize("answered", [False, True])
def test_an_interrupted_request_is_sent_again_unless_its_attempt_is_over(
    make_setting: MakeSetting, *, answered: bool
) -> None:
    setting = make_setting(LONG, EXACT)
    before = open_sums(setting)
    first = collect(before, TRAINING, 0, start(setting))
    stayed = frozenset(BANKS if answered else ())
    sums = join_sums(
        setting, before, request=first.request, answered=answered, stayed=stayed, failed=7
    )
    total = collect(sums, TRAINING, 0, start(setting))
    assert (total.request == first.request) is not answered
    assert (total.replies == first.replies) is not answered
    assert total.attempt == int(answered)
    assert sums.federation.agreed.opening.number == int(answered)  # fresh keys for a new request
    assert setting.debits() == dict.fromkeys(BANKS, 1 + answered)
    assert sums.failed == 7


def test_an_interrupted_request_to_somebody_who_is_gone_is_not_sent_again(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(LONG, EXACT)
    before = open_sums(setting)
    first = collect(before, TRAINING, 0, start(setting))
    setting.bend("bank-a", describe=lambda _: Refusal(RefusalCode.UNKNOWN_STUDY))
    sums = join_sums(setting, before, request=first.request, answered=False)
    assert tuple(sums.present) == BANKS[1:]
    total = collect(sums, TRAINING, 0, start(setting))
    assert (total.attempt, total.participants) == (1, BANKS[1:])


def test_a_request_of_another_step_or_kind_is_nothing_that_was_interrupted(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(LONG, EXACT)
    before = open_sums(setting)
    rehearsal = rehearse(before, start(setting))
    sums = join_sums(setting, before, request=rehearsal.request, answered=False)
    total = collect(sums, TRAINING, 0, start(setting))
    assert request_of(setting, total.request).kind is TRAINING
    assert total.attempt == 0
