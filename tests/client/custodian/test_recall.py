"""Which memories a start hears, whom it asks, and what a person may decide."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
from tests.support.federations.bench import NAMES, Bench, MakeBench, make_study

from fieldfare.client.custodian.peers import LEFT
from fieldfare.client.custodian.recall import ANYWHERE, VOUCHED_STATE
from fieldfare.client.custodian.recall import Recall as MemberRecall
from fieldfare.client.institution.ledger_checks import recall_of
from fieldfare.client.ledger.budget import Limits
from fieldfare.client.ledger.kept_states import RecallDecision, RecallStanding
from fieldfare.client.ledger.rollback_check import Witness
from fieldfare.client.ledger.run_states import DECISION_STATE, LEDGER_STATE
from fieldfare.shared.errors import LedgerError, PolicyRefusal, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    IdentitySigner,
    Participant,
    Refusal,
    RunAnswer,
    RunOpening,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.remembered import (
    Memory,
    RecallQuestion,
    RememberedMessages,
    room_beside,
)
from fieldfare.shared.protocol.roster import COORDINATOR, Member, Roster
from fieldfare.shared.protocol.signed_files import offer_roster
from fieldfare.simulations.federation.federation import Identities

A, B, C, D = NAMES
RUN: Final = "run-x"
NONCE: Final = "7" * 64
FIXED: Final = {"opening": "on", "participants": "fixed", "attempts": 3, "minimum_institutions": 3}


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    found = make_bench(make_study(aggregation=FIXED))
    for name in NAMES:
        found.held(name).hear_anew()
    return found


def question(bench: Bench, name: str = A) -> bytes:
    found = bench.custodian(name).describe(bench.study.id, run=RUN, nonce=NONCE)
    assert not isinstance(found, Refusal)
    return found.question


def asked(bench: Bench, content: bytes) -> RecallQuestion:
    party = bench.party(A)
    return open_envelope(content, RecallQuestion, party.roster, party.protection).body


def memories(bench: Bench, content: bytes, names: Sequence[str] = (B, C, D)) -> list[bytes]:
    found = list[bytes]()
    for name in names:
        answer = bench.custodian(name).recall([content], [])
        assert isinstance(answer, tuple)
        found += answer
    return found


def takes(bench: Bench, answers: Sequence[bytes]) -> bool:
    """Whether A has heard everybody with these."""
    own = bench.party(A).sign(RecallQuestion(institution=A, boot="0" * 64, members=(B,)))
    answer = bench.custodian(A).recall([own], list(answers))
    if isinstance(answer, Refusal):
        assert answer.code is RefusalCode.RECALL_WANTED
        return False
    return answer == ()


def heard(bench: Bench) -> tuple[str, ...]:
    found = recall_of(bench.ledger(A))
    assert found is not None
    return found[0].heard


def test_a_start_asks_everybody_once_and_then_no_more(bench: Bench) -> None:
    content = question(bench)
    assert asked(bench, content).members == (B, C, D)
    assert not takes(bench, memories(bench, content, (B, C)))
    assert heard(bench) == (B, C)
    assert question(bench)
    assert takes(bench, memories(bench, content, (D,)))
    assert question(bench) == b""
    bench.restart(A, heard=False)
    assert asked(bench, question(bench)).boot != asked(bench, content).boot


def test_a_hello_without_a_run_asks_nobody(bench: Bench) -> None:
    found = bench.custodian(A).describe(bench.study.id)
    assert not isinstance(found, Refusal)
    assert found.question == b""


def test_nobody_else_is_told_of_an_institution(bench: Bench) -> None:
    """A question by a stranger, or in another's name, has no answer; the others' have theirs."""
    content = question(bench)
    stranger = Identities.make([A], 1, Protection.EXACT).signers[A]
    forged = sign_envelope(asked(bench, content), A, stranger)
    in_anothers_name = sign_envelope(asked(bench, content), C, bench.party(C).signer)
    refused = bench.custodian(B).recall([forged, in_anothers_name, b"{}"], [])
    assert refused == Refusal(RefusalCode.MALFORMED)
    answer = bench.custodian(B).recall([forged, in_anothers_name, b"{}", content], [])
    assert isinstance(answer, tuple)
    (memory,) = answer
    body = open_envelope(memory, Memory, bench.party(A).roster, Protection.EXACT).body
    assert (body.institution, body.asker) == (B, A)
    own = bench.custodian(A).recall([content], [])
    assert own == (), "nobody remembers itself"


def changed(bench: Bench, memory: bytes, signer: str = B, **changes: object) -> bytes:
    body = open_envelope(memory, Memory, bench.party(A).roster, Protection.EXACT).body
    return sign_envelope(body.model_copy(update=changes), signer, bench.party(signer).signer)


def test_a_memory_counts_for_its_asker_and_its_start_alone(bench: Bench) -> None:
    first = question(bench)
    old = memories(bench, first, (B,))
    bench.restart(A, heard=False)
    content = question(bench)
    (of_b,) = memories(bench, content, (B,))
    rest = memories(bench, content, (C, D))
    request = RememberedMessages((b"{}",)).to_text()
    for wrong in (
        old[0],
        changed(bench, of_b, asker=C),
        changed(bench, of_b, boot=asked(bench, first).boot),
        changed(bench, of_b, C),  # by another's key
        changed(bench, of_b, remembered="AAAA"),
        changed(bench, of_b, remembered=request),
        b"{}",
    ):
        assert not takes(bench, [wrong, *rest]), wrong
        assert heard(bench) == (C, D)
    assert takes(bench, [of_b])


def test_nothing_opens_before_and_the_code_says_so(bench: Bench) -> None:
    recall, hearing = bench.custodian(A)._recall_of_members, bench.held(A).hearing
    with pytest.raises(PolicyRefusal, match="bank-b, bank-c, bank-d") as refused:
        recall.check(hearing)
    assert refused.value.code is RefusalCode.RECALL_WANTED


def test_an_opening_that_comes_before_it_is_refused(bench: Bench) -> None:
    """Whatever the coordinator makes of the question."""
    party = bench.party(A)
    found = [bench.custodian(n).describe(bench.study.id, run=RUN, nonce=NONCE) for n in NAMES]
    described = [one for one in found if not isinstance(one, Refusal)]
    answers = [
        open_envelope(one.answer, RunAnswer, party.roster, Protection.EXACT).body
        for one in described
    ]
    body = RunOpening(
        study=bench.study.id,
        roster=party.roster.hash,
        run=RUN,
        number=0,
        participants=tuple(
            Participant(institution=one.institution, answer=one.hash) for one in answers
        ),
    )
    opening = sign_envelope(body, COORDINATOR, bench.federation.identities.coordinator)
    sent = [one.answer for one in described], [one.approval for one in described]
    assert bench.custodian(A).open_run(opening, *sent) == Refusal(RefusalCode.RECALL_WANTED)
    assert takes(bench, memories(bench, described[0].question))
    assert isinstance(bench.custodian(A).open_run(opening, *sent), bytes)


# -- rosters that name more members ----------------------------------------------------------------


def newer(bench: Bench, *more: str) -> tuple[Roster, bytes]:
    """The next roster, with more members, as its key signs it."""
    roster, identities = bench.party(A).roster, bench.federation.identities
    key = Identities.make(["x"], 1, Protection.EXACT).roster.members[0].key
    members = (*roster.members, *(Member(id=name, key=key) for name in more))
    found = roster.model_copy(
        update={
            "version": roster.version + 1,
            "previous": roster.hash,
            "members": tuple(sorted(members, key=lambda one: one.id)),
        }
    )
    signer = identities.roster_key
    assert isinstance(signer, IdentitySigner)
    return found, offer_roster(found, signer)


def pinned(bench: Bench, name: str, **changes: object) -> None:
    """Give a member another party: what it pinned is not A's."""
    custodian = bench.custodian(name)
    party = replace(bench.party(name), **changes)  # type: ignore[arg-type]
    recall = custodian._recall_of_members
    custodian._recall_of_members = MemberRecall(party, recall.ledger, recall.peers)


def test_the_members_of_a_roster_in_an_answer_are_asked_too(bench: Bench) -> None:
    _, offer = newer(bench, "bank-e")
    pinned(bench, B, roster_offer=offer)
    assert not takes(bench, memories(bench, question(bench)))
    assert asked(bench, question(bench)).members == (B, C, D, "bank-e")
    assert heard(bench) == (B, C, D)


def test_a_roster_that_the_roster_key_did_not_sign_names_nobody(bench: Bench) -> None:
    roster, _ = newer(bench, "bank-e")
    forged = offer_roster(roster, bench.party(B).signer)
    pinned(bench, B, roster_offer=forged)
    content = question(bench)
    assert not takes(bench, memories(bench, content))
    assert heard(bench) == (C, D)
    assert asked(bench, question(bench)).members == (B, C, D)


def test_former_members_are_asked(bench: Bench) -> None:
    former, _ = newer(bench, "bank-e")
    pinned(bench, A, rosters=(former.model_copy(update={"version": 0}),))
    assert asked(bench, question(bench)).members == (B, C, D, "bank-e")


# -- members that leave ----------------------------------------------------------------------------


def without(bench: Bench, name: str) -> Roster:
    roster = bench.party(A).roster
    left = tuple(one for one in roster.members if one.id != name)
    return roster.model_copy(
        update={"version": roster.version + 1, "previous": roster.hash, "members": left}
    )


def test_a_last_answer_counts_for_who_left(bench: Bench) -> None:
    """D opened a sum with A, signed its last answer and is on the roster no more."""
    run = bench.open_run()
    before = bench.ledger(A).position().sequence
    request = run.request()
    run.everybody(request)
    last = bench.custodian(D)._recall_of_members.last_answer()
    assert before == 0
    name = bench.path(A)
    bench.ledger(A).close()
    for file in name.parent.glob(f"{name.name}*"):
        file.unlink()
    bench.restart(A, heard=False)
    roster, after = bench.party(A).roster, without(bench, D)
    pinned(bench, A, roster=after, rosters=(roster,), last_answers=(last,))
    content = question(bench)
    assert asked(bench, content).members == (B, C, D), "until it was heeded"
    told = [
        changed(bench, one, open_envelope(one, Memory, roster, Protection.EXACT).signer,
                remembered=RememberedMessages().to_text())
        for one in memories(bench, content, (B, C))
    ]  # fmt: skip
    assert takes(bench, told)
    assert bench.ledger(A).spent(bench.study.id) == bench.plan.training.cost, "D told it"


def test_a_last_answer_that_nobody_can_read_is_none(bench: Bench) -> None:
    last = bench.custodian(D)._recall_of_members.last_answer()
    odd = changed(bench, last, D, remembered="AAAA")
    roster, after = bench.party(A).roster, without(bench, D)
    pinned(bench, A, roster=after, rosters=(roster,), last_answers=(odd,))
    content = question(bench)
    assert not takes(bench, memories(bench, content, (B, C)))
    assert asked(bench, question(bench)).members == (B, C, D)


@pytest.mark.parametrize("forged", ["by another", "of who is a member"])
def test_a_last_answer_that_does_not_count_leaves_the_member_asked(
    bench: Bench, forged: str
) -> None:
    last = bench.custodian(D)._recall_of_members.last_answer()
    roster, after = bench.party(A).roster, without(bench, D)
    if forged == "by another":
        body = open_envelope(last, Memory, roster, Protection.EXACT).body
        last = sign_envelope(body, D, bench.party(B).signer)
        pinned(bench, A, roster=after, rosters=(roster,), last_answers=(last,))
    else:
        pinned(bench, A, last_answers=(last,))
    assert D in asked(bench, question(bench)).members


def test_who_left_opens_nothing_more(bench: Bench) -> None:
    bench.ledger(A).put_run_state(LEDGER_STATE, LEFT, b"left")
    answer = bench.custodian(A).describe(bench.study.id, run=RUN, nonce=NONCE)
    assert isinstance(answer, Refusal)
    assert answer.code is RefusalCode.LEDGER_UNAVAILABLE


# -- what a person decides -------------------------------------------------------------------------


def decided(bench: Bench, **terms: Any) -> None:
    found = recall_of(bench.ledger(A))
    assert found is not None
    decision = RecallDecision(boot=found[0].boot, **terms)
    content = decision.model_dump_json().encode()
    bench.ledger(A).put_run_state(LEDGER_STATE, DECISION_STATE, content)


def test_a_decision_is_for_one_start(bench: Bench) -> None:
    content = question(bench)
    assert not takes(bench, memories(bench, content, (B, C)))
    decided(bench, silent=(D,))
    assert question(bench) == b""
    bench.restart(A, heard=False)
    assert not takes(bench, memories(bench, question(bench), (B, C)))


@pytest.mark.parametrize(("honest", "goes_on"), [(0, False), (2, False), (3, True), (4, True)])
def test_so_many_honest_ones_let_one_be_silent(bench: Bench, honest: int, goes_on: bool) -> None:
    """N - (h - 2) members have to answer: of h - 1 others in a lost sum one then has."""
    takes(bench, memories(bench, question(bench), (B, C)))
    decided(bench, honest=honest)
    assert (question(bench) == b"") is goes_on


def test_going_on_without_a_member_debits_all_that_is_left(bench: Bench) -> None:
    run = bench.open_run()
    run.everybody(run.request())
    ledger, cost = bench.ledger(A), bench.plan.training.cost
    limits = Limits(yearly_picomu2=20 * cost, lifetime_picomu2=50 * cost)
    with ledger.peers() as rows:
        carried = rows.go_on_without(limits, user="ines", reason="it closed")
    assert carried == 49 * cost
    assert ledger.position().cumulative == 50 * cost
    assert ledger.costs(bench.study.id).total == 50 * cost, "and no study has anything left"
    ledger.verify()
    with ledger.peers() as rows:
        assert rows.go_on_without(limits, user="ines", reason="again") == 0


def test_standing_tells_who_is_missing() -> None:
    standing = RecallStanding(boot="0" * 64, asked=(B, C, D), heard=(C,))
    assert standing.missing == (B, D)


def test_a_damaged_state_is_refused(bench: Bench) -> None:
    question(bench)
    bench.ledger(A).put_run_state(LEDGER_STATE, DECISION_STATE, b"{}")
    answer = bench.custodian(A).describe(bench.study.id, run=RUN, nonce=NONCE)
    assert isinstance(answer, Refusal)
    assert answer.code is RefusalCode.LEDGER_UNAVAILABLE
    with pytest.raises(LedgerError, match="damaged"):
        recall_of(bench.ledger(A))


def test_memories_of_a_hundred_members_travel_in_one_message() -> None:
    assert 99 * room_beside(99) < 16 * 1024 * 1024
    assert room_beside(99) > 64 * 1024


# -- a witness elsewhere ---------------------------------------------------------------------------


def test_a_witness_that_lay_elsewhere_when_all_were_heard_answers_for_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was moved there since is believed from the next time on: it may be restored too."""
    assert question(bench)
    monkeypatch.setattr(Witness, "elsewhere", property(lambda _: True))
    bench.restart(A, heard=False)
    content = question(bench)
    assert content, "it was moved: it did not begin with this ledger"
    assert takes(bench, memories(bench, content))
    bench.restart(A, heard=False)
    assert question(bench) == b""
    monkeypatch.setattr(Witness, "elsewhere", property(lambda _: False))
    bench.restart(A, heard=False)
    assert question(bench), "it was moved back beside the ledger"


def test_a_ledger_of_an_earlier_version_believes_the_witness_where_it_finds_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.ledger(A).put_run_state(LEDGER_STATE, VOUCHED_STATE, ANYWHERE)
    bench.restart(A, heard=False)
    assert question(bench), "beside the ledger it is no witness"
    monkeypatch.setattr(Witness, "elsewhere", property(lambda _: True))
    bench.restart(A, heard=False)
    assert question(bench) == b""
    place = bench.ledger(A).witness_elsewhere.encode()
    assert bench.ledger(A).run_state(LEDGER_STATE, VOUCHED_STATE) == place
