"""How a run opens: who answers is who takes part, and who does not fit is left out or named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.federations.settings import (
    BANKS,
    MakeSetting,
    Setting,
    collect,
    hostile_node,
    rehearse,
)
from tests.support.runs.steps import open_federation

from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.server.run.hello import hello
from fieldfare.server.run.opening import Opener
from fieldfare.server.run.record import Opening, Record, RunCheckpoint
from fieldfare.server.run.rounds import Federation, SecureSums
from fieldfare.shared.errors import LedgerError, RefusalCode, RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import REFUSAL, Call
from fieldfare.shared.protocol.messages import (
    Approval,
    KeyOffer,
    Refusal,
    ReleaseKind,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.remembered import RememberedMessages
from fieldfare.shared.run.openings import RunOpenings
from fieldfare.shared.run.replay import initial_state
from fieldfare.simulations.federation.federation import FIRST_NODE

EXACT: Final = Protection.EXACT
TRAINING: Final = ReleaseKind.TRAINING
REST: Final = ("bank-a", "bank-c", "bank-d")


def start(setting: Setting) -> NDArray[np.float64]:
    return initial_state(setting.federation.study).parameters


def opened(setting: Setting, run: str = "run", **terms: Any) -> Federation:
    job = setting.federation.job(run)
    return open_federation(setting.channel(), replace(job.terms, **terms))


@pytest.mark.parametrize("protection", Protection)
def test_everybody_who_approved_takes_part(
    make_setting: MakeSetting, protection: Protection
) -> None:
    federation = opened(make_setting(protection=protection))
    assert tuple(sorted(federation.participants)) == BANKS
    assert sorted(federation.nodes.values()) == [FIRST_NODE + i for i in range(4)]
    answers = {p.answer for p in federation.participants.values()}
    assert len(answers) == len(BANKS)


def test_a_run_that_was_opened_does_not_begin_again(make_setting: MakeSetting) -> None:
    """Whoever lost its record begins another run: this one goes on under newer openings only."""
    setting = make_setting(protection=EXACT)
    opened(setting)
    with pytest.raises(RunError, match=r"open: bank-a takes no part .*replay_changed"):
        opened(setting)


def test_a_custodian_that_is_started_again_in_the_middle_has_new_keys_at_once(
    make_setting: MakeSetting,
) -> None:
    """Everybody answers `hello` once more, under the next opening: no budget was spent."""
    setting, record, restarts = make_setting(protection=EXACT), Kept(), [1, 2]

    def lost(offer: bytes) -> bytes | Refusal:
        return Refusal(RefusalCode.KEYS_GONE) if restarts and restarts.pop() else offer

    setting.bend("bank-b", open_run=lost)
    federation = joined(setting, RunCheckpoint(), record)
    assert federation.agreed.opening.number == 2
    assert [leaf.kind.value for leaf in record.leaves].count("approval") == len(BANKS)
    rehearse(SecureSums(setting.channel(), federation), start(setting))


def test_a_custodian_that_never_has_its_keys_ends_the_opening_and_is_named(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(protection=EXACT)
    setting.bend("bank-b", agree=lambda _: Refusal(RefusalCode.KEYS_GONE))
    with pytest.raises(RunError, match="agree: bank-b: refused: keys_gone"):
        opened(setting)
    assert setting.debits() == dict.fromkeys(BANKS, 0)


def hearing(heard: list[HelloAnswer]) -> Callable[[HelloAnswer], HelloAnswer]:
    """Listen to an institution's answers."""

    def hear(found: HelloAnswer) -> HelloAnswer:
        heard.append(found)
        return found

    return hear


def test_a_node_that_brings_anothers_answer_is_named_and_its_victim_is_not(
    make_setting: MakeSetting,
) -> None:
    """A member's node ended every run, and the institution whose answer it copied was named."""
    setting = make_setting(protection=EXACT)
    heard: list[HelloAnswer] = []
    setting.bend("bank-a", describe=hearing(heard))
    setting.bend("bank-d", describe=lambda _: heard[0])
    assert tuple(sorted(opened(setting).participants)) == BANKS[:3]
    setting.bend("bank-c", describe=lambda _: heard[0])
    with pytest.raises(RunError) as caught:
        opened(setting, "another")
    assert "bank-a" not in str(caught.value)
    for place in (2, 3):
        assert f"node {FIRST_NODE + place}: expected an answer for this run" in str(caught.value)


def test_an_answer_of_this_run_that_another_node_brings_fails_on_its_nonce(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(protection=EXACT)
    heard: list[HelloAnswer] = []
    setting.bend("bank-a", describe=hearing(heard))
    setting.bend("bank-d", describe=lambda _: heard[-1])
    names = {FIRST_NODE + place: name for place, name in enumerate(BANKS)}
    found = hello(
        setting.channel(), replace(setting.federation.job("run").terms, node_names=names), Record()
    )
    assert sorted(found.approvals) == list(BANKS[:3])
    assert list(found.absent) == [FIRST_NODE + 3]
    assert "this node's own nonce" in found.absent[FIRST_NODE + 3]


def test_who_has_not_approved_is_left_out(make_setting: MakeSetting) -> None:
    setting = make_setting(protection=EXACT)
    setting.federation.custodians["bank-b"].finish(setting.federation.study.id)
    federation = opened(setting)
    assert tuple(federation.participants) == REST
    rehearse(SecureSums(setting.channel(), federation), start(setting))


def test_too_few_approvals_open_no_run_and_the_error_says_why(make_setting: MakeSetting) -> None:
    setting = make_setting(protection=EXACT)
    setting.federation.custodians["bank-a"].finish(setting.federation.study.id)
    job = setting.federation.job("run")
    silent = setting.channel(lambda m: m.metadata.dst_node_id == FIRST_NODE + 3)
    with pytest.raises(RunError) as caught:
        open_federation(silent, job.terms)
    assert str(caught.value) == (
        "expected approvals of at least 3 institutions, found 2 "
        f"(node {FIRST_NODE}: expected an approval, found a refusal with unknown_study, "
        f"node {FIRST_NODE + 3}: no answer in time)"
    )


def test_no_nodes_open_no_run(make_setting: MakeSetting) -> None:
    setting = make_setting()
    setting.federation.custodians.clear()
    with pytest.raises(RunError, match=r"at least 3 institutions, found 0 \(-\)"):
        opened(setting)


def test_one_institution_at_two_nodes_is_a_mistake_to_settle(make_setting: MakeSetting) -> None:
    setting = make_setting(protection=EXACT)
    custodians = setting.federation.custodians
    custodians["bank-z"] = custodians["bank-b"]
    with pytest.raises(
        RunError, match="expected one node for each institution, found bank-b twice"
    ):
        opened(setting)


def approval_of(setting: Setting, name: str, **changes: object) -> bytes:
    """An approval that its institution itself signed, with something else in it."""
    federation = setting.federation
    described = federation.custodians[name].describe(federation.study.id)
    assert isinstance(described, HelloAnswer)
    body = open_envelope(
        described.approval, Approval, federation.identities.roster, federation.protection
    ).body
    changed = body.model_copy(update=changes)
    return sign_envelope(changed, name, federation.identities.signers[name])


MISFITS: dict[str, Callable[[Setting], bytes]] = {
    "rubbish": lambda _: b"rubbish",
    "nothing": lambda _: b"",
    "another roster": lambda s: approval_of(s, "bank-b", roster="0" * 64),
    "another study": lambda s: approval_of(s, "bank-b", study="0" * 64),
    "another name": lambda s: approval_of(s, "bank-b", institution="bank-a"),
    "a name of nobody": lambda s: approval_of(s, "bank-b", institution="bank-q"),
    "a request": lambda s: s.federation.identities.roster.hash.encode(),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_node_that_answers_something_else_is_left_out(
    make_setting: MakeSetting, misfit: str
) -> None:
    setting = make_setting(protection=EXACT)
    answer = MISFITS[misfit](setting)
    setting.bend("bank-b", describe=lambda found: replace(found, approval=answer))
    assert tuple(opened(setting).participants) == REST


def test_an_approval_with_a_foreign_signature_is_left_out(make_setting: MakeSetting) -> None:
    setting, other = make_setting(protection=EXACT), make_setting(protection=EXACT)
    forged = approval_of(other, "bank-b", roster=setting.federation.identities.roster.hash)
    setting.bend("bank-b", describe=lambda found: replace(found, approval=forged))
    assert tuple(opened(setting).participants) == REST


def test_a_node_that_fails_at_hello_is_left_out(make_setting: MakeSetting) -> None:
    def fail(_: object) -> bytes:
        raise LedgerError("locked")

    setting = make_setting(protection=EXACT)
    setting.bend("bank-b", describe=fail)
    assert tuple(opened(setting).participants) == REST


@pytest.mark.parametrize(
    ("call", "answer", "why"),
    [
        ("open_run", Refusal(RefusalCode.BAD_KEYS), r"open: bank-b .*refused: bad_keys"),
        ("agree", Refusal(RefusalCode.MALFORMED), r"agree: bank-b .*refused: malformed"),
    ],
)
def test_who_leaves_between_hello_and_keys_is_named(
    make_setting: MakeSetting, call: str, answer: Refusal, why: str
) -> None:
    """A run starts with all its participants or not at all: no budget is spent yet."""
    setting = make_setting(protection=EXACT)
    setting.bend("bank-b", **{call: lambda _: answer})
    with pytest.raises(RunError, match=why):
        opened(setting)
    assert setting.debits() == dict.fromkeys(BANKS, 0)


def test_who_offers_rubbish_is_named(make_setting: MakeSetting) -> None:
    """Not who would have had to refuse it."""
    setting = make_setting(protection=EXACT)
    setting.bend("bank-b", open_run=lambda _: b"rubbish")
    with pytest.raises(
        RunError, match=r"open: bank-b takes no part \(bad reply: expected a well-formed"
    ):
        opened(setting)


OWN_OFFER: Final = "expected an offer for this opening by its own signer"


def test_who_repeats_its_offer_to_another_opening_is_named(make_setting: MakeSetting) -> None:
    setting, offers = make_setting(protection=EXACT), list[bytes]()

    def first(offer: bytes) -> bytes:
        offers.append(offer)
        return offers[0]

    setting.bend("bank-b", open_run=first)
    opened(setting)
    with pytest.raises(RunError, match=rf"open: bank-b takes no part \(bad reply: {OWN_OFFER}"):
        opened(setting, "another")
    assert len(set(offers)) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (RememberedMessages((b"{}",)).to_text(), "expected a well-formed"),
        (RememberedMessages((), (b"{}",)).to_text(), "expected a well-formed"),
        ("A" * 2**22, "expected less that a participant remembers"),
    ],
    ids=["a request by nobody", "a reply by nobody", "more than its part of a message"],
)
def test_who_lists_what_nobody_signed_is_named(
    make_setting: MakeSetting, text: str, why: str
) -> None:
    """All others would refuse, and be named in its place: one member ended every run unseen."""
    setting = make_setting(protection=EXACT)
    identities = setting.federation.identities

    def lies(offer: bytes) -> bytes:
        body = open_envelope(offer, KeyOffer, identities.roster, EXACT).body
        changed = body.model_copy(update={"remembered": text})
        return sign_envelope(changed, "bank-b", identities.signers["bank-b"])

    setting.bend("bank-b", open_run=lies)
    with pytest.raises(RunError, match=rf"open: bank-b takes no part \(bad reply: {why}"):
        opened(setting)
    assert setting.debits() == dict.fromkeys(BANKS, 0)


def test_who_repeats_anothers_offer_is_named(make_setting: MakeSetting) -> None:
    setting, offers = make_setting(protection=EXACT), list[bytes]()

    def heard(offer: bytes) -> bytes:
        offers.append(offer)
        return offer

    setting.bend("bank-a", open_run=heard)
    setting.bend("bank-b", open_run=lambda _: offers[0])
    with pytest.raises(RunError, match=rf"open: bank-b takes no part \(bad reply: {OWN_OFFER}"):
        opened(setting)


def test_an_answer_without_its_content_is_named(make_setting: MakeSetting) -> None:
    setting = make_setting(protection=EXACT)
    nonsense = hostile_node(setting.federation.nodes["bank-b"], Call.OPEN, {REFUSAL: b"nonsense"})
    with pytest.raises(RunError, match=r"open: bank-b .*bad reply: expected a refusal"):
        open_federation(setting.channel(tap=nonsense), setting.federation.job("run").terms)


def test_silence_between_hello_and_keys_is_named(make_setting: MakeSetting) -> None:
    setting = make_setting(protection=EXACT)

    def lost(message: Any) -> bool:
        metadata = message.metadata
        return bool(metadata.dst_node_id == FIRST_NODE and metadata.message_type == "query.agree")

    with pytest.raises(RunError, match="agree: expected an answer from bank-a, found none in time"):
        open_federation(setting.channel(lost), setting.federation.job("run").terms)


def spend_once(setting: Setting) -> dict[str, bytes]:
    """Release one step; returns the replies that a coordinator would keep."""
    sums = SecureSums(setting.channel(), opened(setting, "earlier"))
    return dict(collect(sums, ReleaseKind.TRAINING, 0, start(setting)).replies)


def test_institutions_are_shown_their_own_last_reply(make_setting: MakeSetting) -> None:
    setting = make_setting(protection=EXACT)
    replies = spend_once(setting)
    shown: dict[int, bytes] = {}

    def watch(message: Any) -> None:
        metadata = message.metadata
        if metadata.message_type == "query.hello" and not metadata.reply_to_message_id:
            shown[metadata.dst_node_id] = message.content["fieldfare"]["last_reply"]

    terms = replace(setting.federation.job("run").terms, last_replies=replies)
    federation = open_federation(setting.over(setting.federation.grid(tap=watch)), terms)
    assert tuple(sorted(federation.participants)) == BANKS
    assert shown == {node: replies[name] for name, node in federation.nodes.items()}


def test_a_ledger_behind_its_last_reply_takes_no_part(make_setting: MakeSetting) -> None:
    """A restored backup would pay twice from one budget (docs/design.md, "The ledger")."""
    setting = make_setting(protection=EXACT)
    replies = spend_once(setting)
    asked = [0]

    def restored(approval: HelloAnswer) -> HelloAnswer | Refusal:
        asked[0] += 1  # hello once, then its own last reply
        return approval if asked[0] == 1 else Refusal(RefusalCode.LEDGER_UNAVAILABLE)

    setting.bend("bank-b", describe=restored)
    assert tuple(opened(setting, last_replies=replies).participants) == REST
    assert asked == [2]


def test_who_is_not_known_from_before_is_shown_nothing(make_setting: MakeSetting) -> None:
    setting = make_setting(protection=EXACT)
    replies = spend_once(setting)
    few = {"bank-c": replies["bank-c"], "bank-gone": replies["bank-a"]}
    assert tuple(sorted(opened(setting, last_replies=few).participants)) == BANKS


def test_a_reply_that_a_ledger_never_gave_keeps_its_institution_out(
    make_setting: MakeSetting,
) -> None:
    """The real custodian and its real ledger are asked, and they say no."""
    setting = make_setting(protection=EXACT)
    replies = spend_once(setting)
    swapped = {"bank-b": replies["bank-a"]}
    assert tuple(opened(setting, last_replies=swapped).participants) == REST
    with pytest.raises(RunError, match=r"found 2 .*does not know its own last reply"):
        opened(setting, last_replies={**swapped, "bank-a": replies["bank-c"]})


# -- a run that is joined again ------------------------------------------------------------------


@dataclass
class Kept(Record):
    """Keeps openings, and dies where a test says."""

    sent: list[Opening] = field(default_factory=list)
    offers: list[tuple[bytes, ...]] = field(default_factory=list)
    dies: str = ""

    def opening(self, opening: Opening, openings: RunOpenings) -> None:
        self._die("before opening")
        super().opening(opening, openings)
        self.sent.append(opening)
        self._die("after opening")

    def keep_offers(self, offers: Sequence[bytes], openings: RunOpenings) -> None:
        self._die("before agreed")
        super().keep_offers(offers, openings)
        self.offers.append(tuple(offers))

    def _die(self, where: str) -> None:
        if self.dies == where:
            raise ConnectionError

    @classmethod
    def after(cls, died: Record) -> "Kept":
        """What a fresh process reads of what another one kept."""
        fresh = cls()
        fresh.openings = died.openings
        return fresh


def joined(setting: Setting, checkpoint: RunCheckpoint, record: Kept, **terms: Any) -> Federation:
    job = setting.federation.job("run")
    chosen = replace(job.terms, **terms)
    return open_federation(setting.channel(), chosen, record, checkpoint)


@pytest.mark.parametrize("protection", Protection)
def test_an_opening_is_kept_before_it_is_sent_and_offers_when_all_have_agreed(
    make_setting: MakeSetting, protection: Protection
) -> None:
    setting, record, sent = make_setting(protection=protection), Kept(), []

    def watch(message: Any) -> None:
        metadata = message.metadata
        if not metadata.reply_to_message_id:
            sent.append((metadata.message_type, len(record.sent), len(record.offers)))

    channel = setting.over(setting.federation.grid(tap=watch))
    open_federation(channel, setting.federation.job("run").terms, record)
    assert set(sent) == {("query.hello", 0, 0), ("query.open", 1, 0), ("query.agree", 1, 0)}
    (opening,), (offers,) = record.sent, record.offers
    assert len(opening.approvals) == len(opening.answers) == len(offers) == len(BANKS)
    kinds = [leaf.kind.value for leaf in record.leaves]
    each = len(BANKS)
    assert kinds == [*["approval"] * each, *["hello"] * each, "opening", *["offer"] * each]


@pytest.mark.parametrize("dies", ["before opening", "after opening", "before agreed"])
def test_a_run_that_died_while_it_opened_is_opened_anew(
    make_setting: MakeSetting, dies: str
) -> None:
    setting = make_setting(protection=EXACT)
    dying = Kept(dies=dies)
    with pytest.raises(ConnectionError):
        joined(setting, RunCheckpoint(), dying)
    record = Kept.after(dying)
    federation = joined(setting, RunCheckpoint(openings=dying.openings), record)
    assert federation.agreed.opening.number == len(dying.sent)
    assert len(record.offers[-1]) == len(BANKS)
    kinds = [leaf.kind.value for leaf in (*dying.leaves, *record.leaves)]
    assert kinds.count("approval") == len(BANKS)
    rehearse(SecureSums(setting.channel(), federation), start(setting))


def test_a_run_that_goes_on_may_first_have_its_last_request_answered(
    make_setting: MakeSetting,
) -> None:
    """Until a newer opening everybody holds the older one's keys: the same R is free."""
    setting, record = make_setting(protection=EXACT), Kept()
    first = joined(setting, RunCheckpoint(), record)
    total = collect(SecureSums(setting.channel(), first), TRAINING, 0, start(setting))
    asked = set()
    channel = setting.over(
        setting.federation.grid(tap=lambda m: asked.add(m.metadata.message_type))
    )
    checkpoint, again = RunCheckpoint(record.openings, total.request), Kept.after(record)
    second = open_federation(channel, setting.federation.job("run").terms, again, checkpoint)
    assert asked == {"query.hello"}
    assert (second.participants, second.nodes) == (first.participants, first.nodes)
    assert (first.stale, second.stale, again.sent) == (False, True, [])


def test_a_run_that_goes_on_has_fresh_keys_before_it_asks_for_anything_new(
    make_setting: MakeSetting,
) -> None:
    setting, record = make_setting(protection=EXACT), Kept()
    first = joined(setting, RunCheckpoint(), record)
    again = Kept.after(record)
    second = joined(setting, RunCheckpoint(openings=record.openings), again)
    assert second.agreed.opening.number == 1
    assert not {p.answer for p in first.participants.values()} & {
        p.answer for p in second.participants.values()
    }
    rehearse(SecureSums(setting.channel(), second), start(setting))


def test_a_run_is_joined_by_its_participants_only_and_all_who_are_back(
    make_setting: MakeSetting,
) -> None:
    """Nobody joins a run that was opened; who is not there is missed, not replaced."""
    setting, record = make_setting(protection=EXACT), Kept()
    custodian = setting.federation.custodians.pop("bank-d")
    joined(setting, RunCheckpoint(), record)
    setting.federation.custodians["bank-d"] = custodian
    again = Kept.after(record)
    assert tuple(joined(setting, RunCheckpoint(record.openings), again).nodes) == BANKS[:3]
    del setting.federation.custodians["bank-c"]
    with pytest.raises(RunError, match="at least 3 institutions, found 2"):
        joined(setting, RunCheckpoint(again.openings), Kept.after(again))


def test_who_left_a_run_stays_away_when_it_goes_on(make_setting: MakeSetting) -> None:
    setting, record = make_setting(protection=EXACT), Kept()
    federation = joined(setting, RunCheckpoint(), record)
    sums = SecureSums(setting.channel(), federation)
    sums.present.remove("bank-d")
    total = collect(sums, ReleaseKind.TRAINING, 0, start(setting))
    checkpoint = RunCheckpoint(openings=record.openings, request=total.request)
    again = joined(setting, checkpoint, Kept.after(record))
    assert tuple(again.nodes) == BANKS[:3]
    assert tuple(again.participants) == BANKS  # as the opening of that request has them
    del setting.federation.custodians["bank-d"]
    before = setting.clock.now
    fresh = Kept.after(record)
    assert tuple(joined(setting, checkpoint, fresh, wait_seconds=600.0).nodes) == BANKS[:3]
    assert setting.clock.now - before < 600.0  # gone for good: nobody waits for it


def test_who_was_silent_in_an_attempt_that_failed_has_left_too(make_setting: MakeSetting) -> None:
    setting, record = make_setting(protection=EXACT), Kept()
    federation = joined(setting, RunCheckpoint(), record)
    total = collect(
        SecureSums(setting.channel(), federation), ReleaseKind.TRAINING, 0, start(setting)
    )
    checkpoint = RunCheckpoint(
        openings=record.openings, request=total.request, stayed=frozenset(BANKS[1:])
    )
    assert tuple(joined(setting, checkpoint, Kept.after(record)).nodes) == BANKS[1:]


def test_an_institution_with_a_new_approval_stays_away(make_setting: MakeSetting) -> None:
    """It approved anew, or withdrew in between: the run is not under that approval."""
    setting, record = make_setting(protection=EXACT), Kept()
    joined(setting, RunCheckpoint(), record)
    custodian, study = setting.federation.custodians["bank-b"], setting.federation.study
    custodian.finish(study.id)
    custodian.approve(study, lambda: setting.sums["bank-b"])
    again = joined(setting, RunCheckpoint(openings=record.openings), Kept.after(record))
    assert tuple(again.nodes) == REST


def test_keys_are_agreed_on_by_all_participants_of_the_opening_or_by_none(
    make_setting: MakeSetting,
) -> None:
    setting, dying = make_setting(protection=EXACT), Kept(dies="after opening")
    with pytest.raises(ConnectionError):
        joined(setting, RunCheckpoint(), dying)
    del setting.federation.custodians["bank-d"]
    checkpoint = RunCheckpoint(openings=dying.openings)
    with pytest.raises(RunError, match=r"all participants .* bank-d missing.*no budget was spent"):
        joined(setting, checkpoint, Kept.after(dying))


def test_a_custodian_that_lost_its_keys_costs_one_attempt_and_nobody_its_place(
    make_setting: MakeSetting,
) -> None:
    setting = make_setting(protection=EXACT)
    record, job = Kept(), setting.federation.job("run")
    opener = Opener(setting.channel(), job.terms, record)
    federation = opener.begin(RunCheckpoint())
    sums = SecureSums(setting.channel(), federation, anew=opener.anew)
    setting.federation.custodians["bank-b"]._held.erase(job.terms.plan.study_id)
    total = collect(sums, TRAINING, 0, start(setting))
    assert (total.participants, total.attempt, sums.failed) == (BANKS, 1, 1)
    # Nobody opened the first attempt: not everybody had committed, so it cost nothing.
    assert setting.debits() == dict.fromkeys(BANKS, 1)
    assert sums.federation.agreed.opening.number == 1
    assert (sums.lost, sums.gone) == ({}, set())
