"""`hello`: who is there, who comes later, who has no study yet, and what is kept of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest
from flwr.app import Context, Error, Message
from tests.support.federations.settings import BANKS, MakeSetting, Setting, make_study

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.ports import HelloAnswer, NoInbox, ReportedRejection
from fieldfare.client.node.client_app import client_app
from fieldfare.client.node.fleet import BUNDLE_REFUSED
from fieldfare.server.run.channel import UNLISTED
from fieldfare.server.run.hello import (
    LATE,
    LOOK_SECONDS,
    UNSEEN,
    HelloAnswers,
    RunTerms,
    hello,
    reasons,
)
from fieldfare.server.run.record import Record
from fieldfare.shared.errors import RefusalCode, RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    REJECTED,
    WITHDRAWN,
    Refusal,
    Rejection,
    sign_envelope,
)
from fieldfare.shared.protocol.signed_files import offer_study, open_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.federation import FIRST_NODE
from fieldfare.simulations.federation.grid import InProcessGrid

EXACT: Final = Protection.EXACT
NODES: Final = {name: FIRST_NODE + index for index, name in enumerate(BANKS)}
NAMES: Final = {node: name for name, node in NODES.items()}


@dataclass
class Notes(Record):
    """Keeps what is told of a hello."""

    told: list[tuple[str, str, bool]] = field(default_factory=list)
    waited: list[tuple[str, ...]] = field(default_factory=list)
    noted: dict[str, str] = field(default_factory=dict)

    def note_action(self, institution: str, text: str) -> None:
        self.noted[institution] = text

    def answered_hello(self, institution: str, text: str, approval: bytes) -> None:
        self.told.append((institution, text, bool(approval)))

    def waiting_for(self, institutions: Sequence[str]) -> None:
        self.waited.append(tuple(institutions))


class ComingGrid(InProcessGrid):
    """Nodes that are there from some moment on, and others that answer only then."""

    def __init__(
        self,
        setting: Setting,
        *,
        comes: dict[str, float] | None = None,
        drop: Callable[[Message], bool] | None = None,
        tap: Callable[[Message], None] | None = None,
    ) -> None:
        app = client_app(setting.federation._custodian_of)
        super().__init__(app, NODES, drop=drop, tap=tap)
        self._clock, self._comes = setting.clock, comes or {}

    def get_node_ids(self) -> list[int]:
        late, names = self._comes, self._names
        return [n for n in super().get_node_ids() if late.get(names[n], 0.0) <= self._clock.now]


def terms_of(setting: Setting, **changes: Any) -> RunTerms:
    return replace(setting.federation.job("run").terms, node_names=NAMES, **changes)


def heard_by(setting: Setting, grid: InProcessGrid, record: Notes, **changes: Any) -> HelloAnswers:
    return hello(setting.over(grid), terms_of(setting, **changes), record)


@pytest.mark.parametrize("protection", Protection)
def test_everybody_who_is_there_is_heard_and_nobody_waited_for(
    make_setting: MakeSetting, protection: Protection
) -> None:
    setting, record = make_setting(protection=protection), Notes()
    heard = heard_by(setting, ComingGrid(setting), record, wait_seconds=600.0)
    assert {name: approved.node for name, approved in heard.approvals.items()} == NODES
    assert heard.absent == {}
    assert record.told == [(name, "approved", True) for name in BANKS]
    assert record.waited == []
    assert setting.clock.now == 0.0


def test_who_comes_later_is_waited_for(make_setting: MakeSetting) -> None:
    setting, record = make_setting(protection=EXACT), Notes()
    grid = ComingGrid(setting, comes={"bank-b": 5.0, "bank-d": 20.0})
    heard = heard_by(setting, grid, record, wait_seconds=600.0)
    assert sorted(heard.approvals) == list(BANKS)
    assert setting.clock.now == pytest.approx(20.0, abs=2 * LOOK_SECONDS)
    assert record.waited[0] == ("bank-b", "bank-d")
    assert record.waited[-1] == ("bank-d",)
    assert sorted(record.told) == [(name, "approved", True) for name in BANKS]


def test_who_does_not_come_is_waited_for_no_longer_than_was_said(
    make_setting: MakeSetting,
) -> None:
    setting, record = make_setting(protection=EXACT), Notes()
    heard = heard_by(setting, ComingGrid(setting, comes={"bank-d": 1e9}), record, wait_seconds=30.0)
    assert sorted(heard.approvals) == list(BANKS[:3])
    assert setting.clock.now == pytest.approx(30.0, abs=2 * LOOK_SECONDS)
    assert set(record.waited) == {("bank-d",)}
    # Nobody waits for it any more: who watches, and who reads why a run failed, is told so.
    assert record.noted == {"bank-d": UNSEEN}
    assert heard.absent == {NODES["bank-d"]: UNSEEN}


def test_who_is_not_wanted_is_heard_and_not_waited_for(make_setting: MakeSetting) -> None:
    """A run that goes on without somebody does not wait for it at every start."""
    setting, record = make_setting(protection=EXACT), Notes()
    grid = ComingGrid(setting, comes={"bank-b": 5.0, "bank-d": 1e9})
    terms = terms_of(setting, wait_seconds=30.0)
    heard = hello(setting.over(grid), terms, record, wanted=BANKS[:3])
    assert sorted(heard.approvals) == list(BANKS[:3])
    assert setting.clock.now == pytest.approx(5.0, abs=2 * LOOK_SECONDS)
    assert set(record.waited) == {("bank-b",)}


def test_without_waiting_who_is_not_there_takes_no_part(make_setting: MakeSetting) -> None:
    setting, record = make_setting(protection=EXACT), Notes()
    heard = heard_by(setting, ComingGrid(setting, comes={"bank-d": 1.0}), record)
    assert sorted(heard.approvals) == list(BANKS[:3])
    assert setting.clock.now == 0.0
    assert record.waited == []


def test_a_node_that_answers_later_is_asked_again_and_only_it(make_setting: MakeSetting) -> None:
    setting, record = make_setting(protection=EXACT), Notes()
    asked: list[str] = []

    def silent(message: Message) -> bool:
        name = NAMES[message.metadata.dst_node_id]
        asked.append(name)
        return name == "bank-c" and setting.clock.now < 12.0

    heard = heard_by(setting, ComingGrid(setting, drop=silent), record, wait_seconds=60.0)
    assert sorted(heard.approvals) == list(BANKS)
    assert heard.absent == {}
    assert [asked.count(name) for name in ("bank-a", "bank-b", "bank-d")] == [1, 1, 1]
    assert asked.count("bank-c") > 1
    assert "bank-c" not in {name for name, text, _ in record.told if text == LATE}


def test_who_refuses_is_not_waited_for(make_setting: MakeSetting) -> None:
    """A study that was not approved will not be while a run waits: a person decides on it."""
    setting, record = make_setting(protection=EXACT), Notes()
    setting.federation.custodians["bank-b"].finish(setting.federation.study.id)
    heard = heard_by(setting, ComingGrid(setting), record, wait_seconds=600.0)
    assert sorted(heard.approvals) == ["bank-a", "bank-c", "bank-d"]
    refused = "expected an approval, found a refusal with unknown_study"
    assert heard.absent == {NODES["bank-b"]: refused}
    assert ("bank-b", refused, False) in record.told
    assert setting.clock.now == 0.0


def test_a_node_of_nobody_takes_nobodys_place(make_setting: MakeSetting) -> None:
    """As many answers as institutions, and one of these still on its way."""
    setting, record = make_setting(protection=EXACT), Notes()
    coming = ComingGrid(setting, comes={"bank-d": 5.0})
    coming._names[999] = "bank-z"
    setting.federation.custodians["bank-z"] = setting.federation.custodians["bank-a"]
    setting.bend("bank-z", describe=lambda _: Refusal(RefusalCode.UNKNOWN_STUDY))
    heard = heard_by(setting, coming, record, wait_seconds=600.0)
    assert sorted(heard.approvals) == list(BANKS)
    assert list(heard.absent) == [999]
    assert setting.clock.now == pytest.approx(5.0, abs=2 * LOOK_SECONDS)


def test_who_does_not_list_the_bundle_is_named_and_not_waited_for(
    make_setting: MakeSetting,
) -> None:
    """A coordinator whose bundle was changed: people see why nobody comes."""
    setting, record = make_setting(protection=EXACT), Notes()

    class Unlisted(ComingGrid):
        def _call(self, message: Message, context: Context) -> Message:
            if NAMES[context.node_id] != "bank-b":
                return super()._call(message, context)
            return Message(Error(BUNDLE_REFUSED, "a node's own words"), reply_to=message)

    heard = heard_by(setting, Unlisted(setting), record, wait_seconds=600.0)
    assert sorted(heard.approvals) == ["bank-a", "bank-c", "bank-d"]
    assert heard.absent == {NODES["bank-b"]: UNLISTED}
    assert record.told.count(("bank-b", UNLISTED, False)) == 1
    assert setting.clock.now == 0.0


def test_two_nodes_of_one_institution_are_refused(make_setting: MakeSetting) -> None:
    setting = make_setting(protection=EXACT)
    custodians = setting.federation.custodians
    custodians["bank-c"] = custodians["bank-b"]
    with pytest.raises(
        RunError, match="expected one node for each institution, found bank-b twice"
    ):
        heard_by(setting, ComingGrid(setting), Notes())


def test_reasons_are_given_by_name_where_it_is_known(make_setting: MakeSetting) -> None:
    terms = terms_of(make_setting())
    assert reasons(terms, {}) == "-"
    absent = {NODES["bank-b"]: "why", 999: LATE}
    assert reasons(terms, absent) == "bank-b: why, node 999: no answer in time"


# -- offers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Box(NoInbox):
    """An inbox that keeps all in memory."""

    offered: list[tuple[bytes, Study]] = field(default_factory=list)

    def study_offered(self, offer: bytes, study: Study) -> None:
        self.offered.append((offer, study))


def give_inbox(setting: Setting, name: str) -> Box:
    old, box = setting.federation.custodians[name], Box()
    noise = old._noise._source
    custodian = Custodian(old._party, setting.federation.ledgers[name], noise, None, box)
    custodian.approve(setting.federation.study, lambda: setting.sums[name])
    setting.federation.custodians[name] = custodian
    return box


def test_a_study_that_nobody_knows_yet_is_handed_to_everybody(make_setting: MakeSetting) -> None:
    setting, record = make_setting(protection=EXACT), Notes()
    boxes = {name: give_inbox(setting, name) for name in BANKS}
    study, identities = make_study(name={}), setting.federation.identities
    other = study.model_copy(update={"name": "another"})
    offer = offer_study(other, identities.coordinator)
    plan = replace(setting.federation.plan, study=other)
    heard = heard_by(setting, ComingGrid(setting), record, plan=plan, offer=offer)
    assert heard.approvals == {}
    assert set(heard.absent) == set(NODES.values())
    assert {name: box.offered for name, box in boxes.items()} == {
        name: [(offer, open_study(offer, identities.roster, EXACT))] for name in BANKS
    }


def test_a_study_that_is_known_is_not_handed_over_again(make_setting: MakeSetting) -> None:
    setting = make_setting(protection=EXACT)
    box = give_inbox(setting, "bank-b")
    study, coordinator = setting.federation.study, setting.federation.identities.coordinator
    offer = offer_study(study, coordinator)
    heard = heard_by(setting, ComingGrid(setting), Notes(), offer=offer)
    assert sorted(heard.approvals) == list(BANKS)
    assert box.offered == []


# -- own last replies ----------------------------------------------------------------------------


def test_who_does_not_know_its_own_last_reply_is_left_out(make_setting: MakeSetting) -> None:
    setting = make_setting(protection=EXACT)
    broken = Refusal(RefusalCode.LEDGER_UNAVAILABLE)
    asked: list[bytes] = []
    honest = setting.federation.custodians["bank-b"].describe

    def restored(study: str, last_reply: bytes, **rest: Any) -> HelloAnswer | Refusal:
        asked.append(last_reply)
        return broken if last_reply else honest(study, last_reply, **rest)

    setting.federation.custodians["bank-b"].describe = restored  # type: ignore[method-assign,assignment]
    heard = heard_by(setting, ComingGrid(setting), Notes(), last_replies={"bank-b": b"reply"})
    assert sorted(heard.approvals) == ["bank-a", "bank-c", "bank-d"]
    assert heard.absent == {NODES["bank-b"]: "does not know its own last reply"}
    assert asked == [b"", b"reply"]


# -- rejections -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusing(NoInbox):
    """Whose people said no."""

    said: ReportedRejection

    def said_no(self, study: str) -> ReportedRejection | None:
        del study
        return self.said


def refuse(setting: Setting, name: str, decision: Any, reason: str) -> None:
    """Let an institution's people say no; its custodian answers for the study no more."""
    custodian = setting.federation.custodians[name]
    custodian.finish(setting.federation.job("run").terms.plan.study_id)
    custodian._inbox = Refusing(ReportedRejection(decision, reason))


def offered(setting: Setting) -> bytes:
    terms = setting.federation.job("run").terms
    return offer_study(terms.plan.study, terms.signer)


@pytest.mark.parametrize(
    ("decision", "reason", "answer", "text"),
    [
        ("rejected", "the purpose is too wide", REJECTED, f"{REJECTED}: the purpose is too wide"),
        ("withdrawn", "", WITHDRAWN, WITHDRAWN),
    ],
)
def test_a_rejection_is_heard_with_its_reason(
    make_setting: MakeSetting, decision: str, reason: str, answer: str, text: str
) -> None:
    setting, record = make_setting(protection=EXACT), Notes()
    refuse(setting, "bank-b", decision, reason)
    grid = ComingGrid(setting)
    heard = heard_by(setting, grid, record, offer=offered(setting), wait_seconds=30.0)
    assert sorted(heard.approvals) == ["bank-a", "bank-c", "bank-d"]
    # What a person wrote goes to the coordinator's people, and into no run's transcript.
    assert heard.absent == {NODES["bank-b"]: answer}
    assert ("bank-b", text, True) in record.told
    assert setting.clock.now == 0.0  # a no is an answer: nobody is waited for


def test_without_the_signed_study_nobody_hears_a_reason(make_setting: MakeSetting) -> None:
    setting, record = make_setting(protection=EXACT), Notes()
    refuse(setting, "bank-b", "rejected", "the purpose is too wide")
    heard = heard_by(setting, ComingGrid(setting), record)
    assert "unknown_study" in heard.absent[NODES["bank-b"]]
    assert all("purpose" not in text for _, text, _ in record.told)


@pytest.mark.parametrize("wrong", ["signer", "study", "roster", "bytes"])
def test_a_rejection_that_is_not_its_own_is_a_plain_refusal(
    make_setting: MakeSetting, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    setting, record = make_setting(protection=EXACT), Notes()
    refuse(setting, "bank-b", "rejected", "no")
    terms, name = terms_of(setting), "bank-a" if wrong == "signer" else "bank-b"
    body = Rejection(
        study="0" * 64 if wrong == "study" else terms.plan.study_id,
        roster="0" * 64 if wrong == "roster" else terms.roster.hash,
        institution=name,
        decision="rejected",
        reason="no",
    )
    party = setting.federation.custodians[name]._party
    envelope = b"{}" if wrong == "bytes" else sign_envelope(body, name, party.signer)
    refusal = Refusal(RefusalCode.UNKNOWN_STUDY, rejection=envelope)
    forging = setting.federation.custodians["bank-b"]
    monkeypatch.setattr(forging, "describe", lambda **_: refusal)
    heard = heard_by(setting, ComingGrid(setting), record, offer=offered(setting))
    assert sorted(heard.approvals) == ["bank-a", "bank-c", "bank-d"]
    assert "a refusal with unknown_study" in heard.absent[NODES["bank-b"]]
    assert [text for _, text, _ in record.told if REJECTED in text] == []
