"""Sums in two messages: who is missing when, whom it costs what, and how a crash goes on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from flwr.app import Message
from tests.support.federations.settings import (
    BANKS,
    Book,
    MakeSetting,
    Setting,
    collect,
    make_study,
    to_bank,
)
from tests.support.runs.steps import open_federation

from fieldfare.client.ledger.run_states import HEAD_STATE, LEDGER_STATE
from fieldfare.server.run.opening import Opener
from fieldfare.server.run.record import Record, RunCheckpoint
from fieldfare.server.run.rounds import MOST_RESTARTS, SecureSums
from fieldfare.server.store.store import run_store
from fieldfare.shared.audit.audit import AuditReport
from fieldfare.shared.errors import RefusalCode, RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    Commitment,
    Refusal,
    ReleaseKind,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.study.study import Study
from fieldfare.shared.transcript.heads import CosignedHead, ShownLog
from fieldfare.shared.transcript.leaves import Leaf, LeafKind, tree_head

TRAINING: Final = ReleaseKind.TRAINING
EXACT: Final = Protection.EXACT
LAST: Final = BANKS[-1]


def opened(participants: str = "fixed", **changes: Any) -> Study:
    aggregation = {"participants": participants, "deadline_seconds": 2.0}
    return make_study(aggregation=aggregation | changes)


def open_sums(setting: Setting, lose: Callable[..., bool] | None = None) -> SecureSums:
    channel = setting.channel(lose)
    terms = setting.federation.job("run").terms
    record = Record()
    federation = open_federation(channel, terms, record)
    return SecureSums(channel, federation, record)


def first_sum(setting: Setting, sums: SecureSums) -> Any:
    parameters = initial_state(setting.federation.study).parameters
    return collect(sums, TRAINING, 0, parameters)


def debits(*payers: str, each: int = 1) -> dict[str, int]:
    return {name: each if name in payers else 0 for name in BANKS}


@pytest.mark.parametrize("protection", Protection)
def test_a_sum_costs_everybody_one_debit(make_setting: MakeSetting, protection: Protection) -> None:
    setting = make_setting(opened(), protection)
    total = first_sum(setting, open_sums(setting))
    assert total.participants == BANKS
    assert tuple(total.commitments) == BANKS
    assert setting.debits() == debits(*BANKS)


def test_who_is_missing_before_the_list_costs_nobody_anything(make_setting: MakeSetting) -> None:
    setting = make_setting(opened("any"), EXACT)
    total = first_sum(setting, open_sums(setting, to_bank(LAST, call="release")))
    assert (total.attempt, total.participants) == (1, BANKS[:-1])
    assert setting.debits() == debits(*BANKS[:-1])


def test_where_participants_are_fixed_the_run_waits_and_can_go_on(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    setting = make_setting(opened(), EXACT)
    book = Book.begin(setting, tmp_path / "runs.sqlite")
    with pytest.raises(RunError, match=rf"as the study fixes them.*{LAST}.*resume the run"):
        book.carry_on(to_bank(LAST, after=2))
    paid = setting.debits()
    assert paid == debits(*BANKS, each=1)  # of the step that everybody answered
    book.carry_on()
    releases = setting.federation.study.training.steps + 1
    assert setting.debits() == debits(*BANKS, each=releases)
    assert_audited(book)


def test_a_lost_list_is_sent_again_and_nothing_is_paid_twice(make_setting: MakeSetting) -> None:
    setting = make_setting(opened(), EXACT)
    total = first_sum(setting, open_sums(setting, to_bank("bank-b", call="reveal", times=2)))
    assert (total.attempt, total.participants) == (0, BANKS)
    assert setting.debits() == debits(*BANKS)


def test_who_does_not_open_costs_the_rest_one_debit(make_setting: MakeSetting) -> None:
    setting = make_setting(opened("any"), EXACT)
    total = first_sum(setting, open_sums(setting, to_bank(LAST, call="reveal")))
    assert (total.attempt, total.participants) == (1, BANKS[:-1])
    assert setting.debits() == debits(*BANKS[:-1], each=2)


def test_where_participants_are_fixed_the_same_ones_are_asked_again(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(opened(), EXACT)
    attempts = setting.federation.study.aggregation.attempts
    seconds = setting.federation.study.aggregation.deadline_seconds
    sends = attempts * 4  # to one bank in one attempt, more or less
    del seconds
    total = first_sum(setting, open_sums(setting, to_bank(LAST, call="reveal", times=sends)))
    assert (total.attempt, total.participants) == (1, BANKS)
    assert setting.debits()[BANKS[0]] == 2


def reopening(setting: Setting, lose: Callable[..., bool] | None = None) -> SecureSums:
    """Sums of a run that is opened anew where keys are gone."""
    channel, record = setting.channel(lose), Record()
    opener = Opener(channel, setting.federation.job("run").terms, record)
    return SecureSums(channel, opener.begin(RunCheckpoint()), record, anew=opener.anew)


@pytest.mark.parametrize("call", ["release", "reveal"])
def test_who_says_without_end_that_its_keys_are_gone_is_left_out(
    make_setting: MakeSetting, call: str
) -> None:
    """It once had the run opened anew at each attempt, or all others pay for every one."""
    setting = make_setting(opened("any"), EXACT)
    setting.bend(LAST, **{call: lambda _: Refusal(RefusalCode.KEYS_GONE)})
    sums = reopening(setting)
    total = first_sum(setting, sums)
    assert total.participants == BANKS[:-1]
    reopened, paid = (MOST_RESTARTS, 1) if call == "release" else (0, 2)
    assert (total.attempt, sums.federation.agreed.opening.number) == (reopened + 1, reopened)
    assert {name: setting.debits()[name] for name in BANKS[:-1]} == dict.fromkeys(BANKS[:-1], paid)
    assert sums.lost[LAST] == "refused: keys_gone"


def test_a_run_that_fewer_open_anew_goes_on_as_it_began(
    make_setting: MakeSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums of four do not travel, and those of the three who are left could: nobody expects one."""
    setting = make_setting(opened("any"), EXACT)
    words = setting.federation.plan.training.vectors.entries * len(BANKS)
    monkeypatch.setattr("fieldfare.shared.protocol.plan.MOST_WORDS", words - 1)
    sums = reopening(setting, to_bank(LAST, call="release"))
    walk = setting.walk(sums)
    walk.step()
    setting.federation.custodians["bank-b"]._held.erase(setting.federation.study.id)
    assert walk.step().participants == BANKS[:-1]
    opening = sums.federation.agreed.opening
    assert (opening.number, len(opening.participants)) == (1, len(BANKS) - 1)


def test_where_participants_are_fixed_who_has_no_keys_without_end_is_waited_for(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(opened(), EXACT)
    setting.bend(LAST, release=lambda _: Refusal(RefusalCode.KEYS_GONE))
    sums = reopening(setting)
    with pytest.raises(RunError, match=rf"{LAST}: refused: keys_gone.*resume the run"):
        first_sum(setting, sums)
    assert sums.federation.agreed.opening.number == MOST_RESTARTS
    assert setting.debits() == debits()


def test_who_paid_for_an_attempt_objects_to_a_log_in_which_it_was_free(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    """Without its last commitment, an attempt that three had paid for counted for nothing."""
    setting = make_setting(opened("any"), EXACT)
    book = Book.begin(setting, tmp_path / "runs.sqlite")
    book.carry_on(to_bank(LAST, call="reveal", after=1))  # from the first step on
    with run_store(book.path) as store:
        leaves = store.leaves(book.run)
    replies = [at for at, leaf in enumerate(leaves) if leaf.kind is LeafKind.REPLY]
    hidden = {replies[4] - 1, *replies[4:7]}  # after the rehearsal's four
    assert [leaves[at].kind for at in sorted(hidden)] == [
        LeafKind.COMMITMENT,
        *[LeafKind.REPLY] * 3,
    ]
    doctored = [leaf for at, leaf in enumerate(leaves) if at not in hidden]
    for name in BANKS[:-1]:
        assert misfit_of(book, name, leaves) is None
        assert misfit_of(book, name, doctored) == len(doctored) - 1


def misfit_of(book: Book, name: str, leaves: Sequence[Leaf]) -> int | None:
    """What an institution signs of a log that is the first one it sees of a run."""
    federation, study = book.setting.federation, book.setting.federation.study.id
    hashes = [leaf.hash for leaf in leaves]
    coordinator = federation.identities.coordinator
    head = sign_envelope(tree_head(study, book.run, hashes), COORDINATOR, coordinator)
    kept = f"{HEAD_STATE}{study}:{book.run}"
    federation.ledgers[name].forget_run(LEDGER_STATE, book.run, [kept])
    shown = ShownLog(head, b"\n".join(leaf.to_bytes() for leaf in leaves))
    signed = federation.custodians[name].cosign(study, book.run, shown)
    assert isinstance(signed, bytes), signed
    roster = federation.identities.roster
    return open_envelope(signed, CosignedHead, roster, EXACT).body.misfit


class Killed(BaseException):
    """The coordinator's process is gone."""


def test_a_coordinator_that_dies_after_the_list_asks_with_the_same_list(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    setting = make_setting(opened(), EXACT)
    book = Book.begin(setting, tmp_path / "runs.sqlite")
    seen = 0

    def killed(message: Message) -> bool:
        nonlocal seen
        seen += message.metadata.message_type == "query.reveal"
        if seen == 6:  # the rehearsal's four, and the second one of the first step
            raise Killed
        return False

    with pytest.raises(Killed):
        book.carry_on(killed)
    assert setting.debits() == debits(BANKS[0])
    with run_store(book.path) as store:
        before = [leaf.content for leaf in store.leaves(book.run) if _commits(leaf.kind)]
    book.carry_on()
    releases = setting.federation.study.training.steps + 1
    assert setting.debits() == debits(*BANKS, each=releases)
    with run_store(book.path) as store:
        after = [leaf.content for leaf in store.leaves(book.run) if _commits(leaf.kind)]
    assert after[: len(before)] == before
    assert after[len(before) : len(before) + 4] == before[-4:]
    assert_audited(book)


def test_who_is_silent_when_an_opened_list_is_asked_for_again_is_said_to_have_cost_something(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    """One had opened and paid before the crash; "nothing was spent on this step", it said."""
    setting = make_setting(opened(), EXACT)
    book = Book.begin(setting, tmp_path / "runs.sqlite")
    seen = 0

    def killed(message: Message) -> bool:
        nonlocal seen
        seen += message.metadata.message_type == "query.reveal"
        if seen == 6:
            raise Killed
        return False

    with pytest.raises(Killed):
        book.carry_on(killed)
    assert setting.debits() == debits(BANKS[0])
    with pytest.raises(RunError, match=rf"{LAST}.*some have paid for this step; resume"):
        book.carry_on(to_bank(LAST, call="release"))
    with run_store(book.path) as store:
        assert store.losses(book.run)[LAST].debited == 1
    book.carry_on()
    assert_audited(book)


def _commits(kind: LeafKind) -> bool:
    return kind is LeafKind.COMMITMENT


@pytest.mark.parametrize("call", ["release", "reveal"])
def test_who_lies_in_one_of_the_messages_is_named(make_setting: MakeSetting, call: str) -> None:
    setting = make_setting(opened("any"), EXACT)
    party = setting.federation.custodians[LAST]._party

    def other_seed(answer: Any) -> Any:
        assert not isinstance(answer, Refusal)
        import json

        body = Commitment.model_validate_json(json.dumps(json.loads(answer.commitment)["body"]))
        lie = party.sign(body.model_copy(update={"vector": "0" * 64}))
        return type(answer)(lie, answer.vector)

    if call == "release":
        setting.bend(LAST, release=other_seed)
    else:
        setting.bend(LAST, reveal=lambda reply: reply.replace(b'"seed":"', b'"seed":"0', 1))
    sums = open_sums(setting)
    total = first_sum(setting, sums)
    assert total.participants == BANKS[:-1]
    assert sums.lost[LAST].startswith("bad reply")


@pytest.mark.parametrize("participants", ["fixed", "any"])
def test_a_whole_run_is_audited(
    make_setting: MakeSetting, tmp_path: Path, participants: str
) -> None:
    setting = make_setting(opened(participants), EXACT)
    book = Book.begin(setting, tmp_path / "runs.sqlite")
    book.carry_on()
    report = assert_audited(book)
    assert report.recomputed == report.sums > 0
    purged = assert_audited(book, purged=True)
    assert purged.recomputed == 0


def assert_audited(book: Book, *, purged: bool = False) -> AuditReport:
    """The run's transcript fits, as a file."""
    report = book.audited(purged=purged)
    assert report.misfit is None, report.misfit
    return report
