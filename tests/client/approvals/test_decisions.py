"""What a decision permits, what it forbids, and what is left after a withdrawal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rfc8785
from tests.support.federations.debits import commit_release
from tests.support.homes import journals
from tests.support.homes.institutions import (
    NAMES,
    NOW,
    UNITS,
    Coordinator,
    OpenCustody,
    all_bytes,
    approve_all,
    clock,
    home_study,
    loaded,
)
from tests.support.system.packages import LISTED, MODEL, install

from fieldfare.client.approvals.approval import approve, check_before_records, receive, resume
from fieldfare.client.approvals.approval_status import ApprovalStatus, approval_status, sum_spent
from fieldfare.client.approvals.rejection import Rejecter
from fieldfare.client.approvals.review import SpentBudget
from fieldfare.client.custodian.answering import answer
from fieldfare.client.custodian.noise_stock import NoiseStock
from fieldfare.client.custodian.ports import CommitmentReply, HelloAnswer
from fieldfare.client.home.keys import rotate_identity
from fieldfare.client.home.studies import (
    KeptStudy,
    State,
    StudyDecision,
    deciding,
    keep_study,
    kept_studies,
    kept_study,
    read_decision,
    write_decision,
)
from fieldfare.client.institution.institution import open_journal
from fieldfare.client.institution.open import (
    Custody,
    LoadedSums,
    open_custody,
    open_institution_ledger,
    records_loader,
)
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.budget import Debit
from fieldfare.client.ledger.freeing import FreedBudget
from fieldfare.client.ledger.run_states import APPROVAL_STATE
from fieldfare.shared.canonical import bytes_hash, claimed
from fieldfare.shared.errors import (
    LedgerError,
    PolicyRefusal,
    RecordsError,
    RefusalCode,
    StudyError,
    UsageError,
)
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import (
    Approval,
    Refusal,
    ReleaseKind,
    Request,
    parameters_to_bytes,
    sign_envelope,
)
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.secure_sum import RunKeys
from fieldfare.shared.protocol.signed_files import StudyOffer
from fieldfare.shared.ring import Word, centre, subtract
from fieldfare.shared.run.replay import add_words, initial_state
from fieldfare.shared.study.study import Study

STUDY = home_study()
NOTHING = SpentBudget(yearly=0, lifetime=0, promised=0)
UNKNOWN_STUDY = Refusal(RefusalCode.UNKNOWN_STUDY)


def logged(custody: Custody) -> list[dict[str, Any]]:
    return journals.logged(custody.institution.home.log_folder)


def decide(custody: Custody, kept: KeptStudy) -> StudyDecision:
    return approve(custody, kept, loaded(custody, kept.study), "tester", NOW)


End = Callable[[Rejecter, str, str], StudyDecision]


def end(custody: Custody, how: End, study: str, reason: str = "because") -> StudyDecision:
    home = custody.institution.home
    return how(Rejecter(home, custody.ledger, custody.journal, "tester", NOW), study, reason)


# -- receive --------------------------------------------------------------------------------


def test_receiving_is_logged_once_and_decides_nothing(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    custody = custody_of()
    for _ in range(2):
        kept = coordinator.receive(STUDY)
    assert kept.decision.state is State.RECEIVED
    assert [(e["event"], e["actor"], e["details"]) for e in logged(custody)] == [
        ("study received", "coordinator", {"study": STUDY.id, "user": "tester"})
    ]
    assert custody.custodian.describe(STUDY.id) == UNKNOWN_STUDY
    assert resume(custody, records_loader(custody.institution, {})) == ()
    assert custody.custodian.describe(STUDY.id) == UNKNOWN_STUDY


def test_a_study_without_a_unit_is_not_received(coordinator: Coordinator) -> None:
    """Without ids one removed row would move others to another side of the hold-out."""
    study = home_study(records__unit=None)
    with pytest.raises(StudyError, match=r"^records\.unit: expected a column of ids, found none"):
        coordinator.receive(study)
    assert not coordinator.homes["bank-a"].study(study.id).exists()


def test_a_study_without_a_unit_is_neither_approved_nor_loaded(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    """As one that an earlier version of this program let in."""
    custody, study = custody_of(), home_study(records__unit=None)
    keep_study(custody.institution.home, study, coordinator.signed(study), NOW)
    kept = kept_study(custody.institution.home, study.id, custody.institution.roster)
    with pytest.raises(StudyError, match="names its unit"):
        loaded(custody, study)
    sums = loaded(custody, STUDY)  # never looked at
    with pytest.raises(StudyError, match="names its unit"):
        approve(custody, kept, sums, "tester", NOW)
    assert custody.ledger.run_state(study.id, APPROVAL_STATE) is None


def test_a_study_whose_receipt_cannot_be_logged_is_not_kept(
    coordinator: Coordinator, custody_of: OpenCustody, monkeypatch: pytest.MonkeyPatch
) -> None:
    institution = custody_of().institution
    journal = Journal.open(institution.home.log_folder, clock=clock)
    monkeypatch.setattr(Journal, "append", full_disk)
    with pytest.raises(LedgerError):
        receive(institution, journal, coordinator.signed(STUDY), "sent", "tester", NOW)
    assert list(institution.home.studies.iterdir()) == []


def full_disk(*_: object, **__: object) -> None:
    raise LedgerError("no space left")


# -- approve --------------------------------------------------------------------------------


def test_an_approval_is_recorded_with_user_time_and_hash(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    custody = custody_of()
    decision = decide(custody, coordinator.receive(STUDY))
    described = custody.custodian.describe(STUDY.id)
    assert isinstance(described, HelloAnswer)
    envelope = described.approval
    approval = custody.party.from_member(envelope, Approval, "bank-a").body
    assert decision.approval == approval.hash
    assert (decision.state, decision.user) == (State.APPROVED, "tester")
    assert decision.time == "2025-06-01T12:00:00+00:00"
    assert read_decision(custody.institution.home, STUDY.id) == decision
    entry = logged(custody)[-1]
    assert (entry["event"], entry["actor"]) == ("approval", "tester")
    assert entry["details"]["fingerprint"] == approval.hash
    assert entry["time"].startswith("2025-06-01T12:00:00")


def test_approving_twice_keeps_the_keys(coordinator: Coordinator, custody_of: OpenCustody) -> None:
    custody = custody_of()
    kept = coordinator.receive(STUDY)
    first = decide(custody, kept)
    entries = len(logged(custody))
    assert decide(custody, kept) == first
    assert len(logged(custody)) == entries


OUTSIDE: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"privacy__multiplicity": 2}, StudyError, "multiplicity"),
    ({"aggregation__minimum_institutions": 5}, StudyError, "minimum_institutions"),
    ({"records__label": "other"}, PolicyRefusal, "records.columns: .*'other'"),
    ({"privacy__epsilon": 1.5}, PolicyRefusal, "budget.study_epsilon"),
]


@pytest.mark.parametrize(("changes", "error", "said"), OUTSIDE, ids=lambda v: str(v)[:30])
def test_what_policy_or_roster_forbid_is_not_approved(
    coordinator: Coordinator,
    custody_of: OpenCustody,
    changes: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    custody, study = custody_of(), home_study(**changes)
    kept = coordinator.receive(study)
    with pytest.raises(error, match=said) as refused:
        check_before_records(custody.institution, study, NOTHING)
    assert "\n" not in str(refused.value)
    sums = loaded(custody, STUDY)  # never looked at
    with pytest.raises(error, match=said):
        approve(custody, kept, sums, "tester", NOW)
    assert custody.ledger.run_state(study.id, APPROVAL_STATE) is None
    assert [entry["event"] for entry in logged(custody)] == ["study received"]


def test_a_module_waits_until_its_package_is_listed_and_runs_only_while_it_is(
    coordinator: Coordinator,
    custody_of: OpenCustody,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(tmp_path, monkeypatch)
    study, policy = home_study(name="named", model=MODEL), coordinator.homes["bank-a"].policy
    kept = coordinator.receive(study)  # people may look at it before they list anything
    custody = custody_of()
    with pytest.raises(PolicyRefusal, match=r"models\.packages: expected no package") as refused:
        check_before_records(custody.institution, study, NOTHING)
    assert refused.value.code is RefusalCode.POLICY
    custody.ledger.close()
    coordinator.edit(policy, "packages = []", f'packages = ["{LISTED}"]')
    custody = custody_of()
    decide(custody, kept)
    others = kept_studies(custody.institution.home, custody.institution.roster)
    assert sum_spent(custody.ledger, STUDY, others, coordinator.roster(), NOW).promised > 0
    custody.ledger.close()
    coordinator.edit(policy, f'packages = ["{LISTED}"]', "packages = []")
    custody = custody_of()
    (left_out,) = resume(custody, records_loader(custody.institution, {}))
    assert "model.package: expected a package that is allowed here" in left_out.reason
    assert custody.custodian.describe(study.id) == UNKNOWN_STUDY


def test_with_too_few_units_a_study_is_not_approved(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    coordinator.edit(
        coordinator.homes["bank-a"].policy, "minimum_units = 100", f"minimum_units = {UNITS + 1}"
    )
    custody = custody_of()
    with pytest.raises(PolicyRefusal, match=f"at least {UNITS + 1} units, found {UNITS}"):
        decide(custody, coordinator.receive(STUDY))
    assert custody.ledger.run_state(STUDY.id, APPROVAL_STATE) is None


def test_a_budget_that_was_spent_by_others_does_not_do(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    custody = custody_of()
    kept, cost = coordinator.receive(STUDY), plan_for(STUDY).study_limit
    yearly = custody.ledger._limits.yearly_picomu2
    spend(custody, yearly - cost + 1)
    with pytest.raises(PolicyRefusal, match=r"budget\.yearly_epsilon: .* is left of") as refused:
        decide(custody, kept)
    assert refused.value.exit_code == 3
    assert custody.ledger.run_state(STUDY.id, APPROVAL_STATE) is None


def spend(custody: Custody, cost: int, study: str = "ab" * 32) -> None:
    debit = Debit(
        study=study, run="r", step=0, attempt=0, kind="training", request="cd" * 32, cost=cost
    )
    commit_release(
        custody.ledger,
        debit,
        vector=b"v",
        study_limit=cost,
        max_attempts=1,
        sign=lambda _: b"reply",
        run_states={"r": b""},
    )


def test_what_others_may_still_spend_is_told(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    custody, other = custody_of(), home_study(name="other")
    decide(custody, coordinator.receive(STUDY))
    coordinator.receive(other)
    roster = custody.institution.roster
    kept = kept_studies(custody.institution.home, roster)
    cost = plan_for(STUDY).study_limit
    spend(custody, 7, study=STUDY.id)
    found = sum_spent(custody.ledger, other, kept, roster, NOW)
    freed = (FreedBudget((NOW + timedelta(days=366)).date(), 7),)
    assert found == SpentBudget(yearly=7, lifetime=7, promised=cost - 7, freed=freed)
    own = sum_spent(custody.ledger, STUDY, kept, roster, NOW)
    assert (own.study, own.promised) == (SideCosts(all=7), 0)
    later = sum_spent(custody.ledger, other, kept, roster, NOW.replace(year=2027))
    assert (later.yearly, later.lifetime) == (0, 7)


def test_a_study_in_one_message_that_was_approved_is_left_out_alone(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    """As an earlier version let it in: the home opens, and its other studies go on."""
    custody, said = custody_of(), STUDY.model_dump(mode="json")
    decide(custody, coordinator.receive(STUDY))
    said["aggregation"]["opening"] = "off"
    text = rfc8785.dumps(said)
    old, home = bytes_hash(b"fieldfare.study.v1\0" + text), custody.institution.home
    offer = StudyOffer(study=text.decode())
    home.study(old).write_bytes(sign_envelope(offer, COORDINATOR, coordinator.signer))
    write_decision(home, StudyDecision(study=old, state=State.APPROVED, approval=old, epoch=1))
    again = custody_of()
    (left_out,) = resume(again, records_loader(again.institution, {}))
    assert left_out.study == old
    assert "a vector leaves in two messages, always" in left_out.reason
    assert isinstance(again.custodian.describe(STUDY.id), HelloAnswer)
    assert again.custodian.describe(old) == UNKNOWN_STUDY


def test_an_approval_that_cannot_be_logged_is_none(
    coordinator: Coordinator, custody_of: OpenCustody, monkeypatch: pytest.MonkeyPatch
) -> None:
    custody = custody_of()
    kept = coordinator.receive(STUDY)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", full_disk)
        with pytest.raises(LedgerError):
            decide(custody, kept)
    assert custody.custodian.describe(STUDY.id) == UNKNOWN_STUDY
    assert custody.ledger.run_state(STUDY.id, APPROVAL_STATE) is None
    assert read_decision(custody.institution.home, STUDY.id).state is State.RECEIVED
    assert decide(custody, kept).state is State.APPROVED


def test_a_crash_before_the_decision_leaves_nothing_that_runs(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    custody = custody_of()
    kept = coordinator.receive(STUDY)
    custody.custodian.accept(kept.offer, lambda study: loaded(custody, study).sums)
    state = custody.ledger.run_state(STUDY.id, APPROVAL_STATE)
    again = custody_of()
    assert resume(again, records_loader(again.institution, {})) == ()
    assert again.custodian.describe(STUDY.id) == UNKNOWN_STUDY
    decide(again, kept)
    assert again.ledger.run_state(STUDY.id, APPROVAL_STATE) not in {None, state}


def test_one_decision_at_a_time(
    coordinator: Coordinator, custody_of: OpenCustody, monkeypatch: pytest.MonkeyPatch
) -> None:
    custody = custody_of()
    kept = coordinator.receive(STUDY)
    monkeypatch.setattr(deciding.__wrapped__, "__defaults__", (0.1,))  # type: ignore[attr-defined]
    with deciding(custody.institution.home), pytest.raises(UsageError, match="under way"):
        decide(custody, kept)


# -- start ----------------------------------------------------------------------------------


def test_a_restarted_custodian_answers_for_what_was_approved(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    first = custody_of()
    decide(first, coordinator.receive(STUDY))
    again = custody_of()
    assert again.custodian.describe(STUDY.id) == UNKNOWN_STUDY
    assert resume(again, records_loader(again.institution, {})) == ()
    assert again.custodian.describe(STUDY.id) == first.custodian.describe(STUDY.id)


def test_one_study_whose_records_are_gone_stops_no_other(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    first, other = custody_of(), home_study(name="other")
    for study in (STUDY, other):
        decide(first, coordinator.receive(study))
    again = custody_of()
    load = records_loader(again.institution, {})

    def one_fails(study: Study) -> LoadedSums:
        if study == other:
            raise RecordsError("expected a column")
        return load(study)

    assert resume(again, one_fails) == ((other.id, "expected a column"),)
    assert isinstance(again.custodian.describe(STUDY.id), HelloAnswer)
    assert again.custodian.describe(other.id) == UNKNOWN_STUDY


def test_a_study_that_is_withdrawn_while_its_records_load_gets_no_new_keys(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    first = custody_of()
    decide(first, coordinator.receive(STUDY))
    again = custody_of()
    load = records_loader(again.institution, {})

    def slow(study: Study) -> LoadedSums:
        end(first, Rejecter.withdraw, study.id)
        return load(study)

    assert len(resume(again, slow)) == 1
    assert again.custodian.describe(STUDY.id) == UNKNOWN_STUDY
    assert again.ledger.run_state(STUDY.id, APPROVAL_STATE) is None
    assert resume(again, slow) == ()


def test_a_running_custodian_lets_go_of_what_was_withdrawn(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    custody, other = custody_of(), custody_of()
    decide(custody, coordinator.receive(STUDY))
    end(other, Rejecter.withdraw, STUDY.id)
    assert STUDY.id in custody.custodian._prepared
    assert resume(custody, records_loader(custody.institution, {})) == ()
    assert STUDY.id not in custody.custodian._prepared


def test_under_a_new_roster_a_person_approves_again(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    first = custody_of()
    before = decide(first, coordinator.receive(STUDY))
    coordinator.pin(coordinator.roster(version=2))
    again = custody_of()
    (left_out,) = resume(again, records_loader(again.institution, {}))
    assert left_out == (STUDY.id, ApprovalStatus.OUTDATED.value)
    assert str(left_out) == f"{STUDY.id}: {ApprovalStatus.OUTDATED.value}"
    assert again.custodian.describe(STUDY.id) == UNKNOWN_STUDY
    after = decide(again, coordinator.receive(STUDY))
    assert after.roster != before.roster
    assert after.approval != before.approval


def test_after_a_rotation_of_the_identity_a_study_is_approved_anew(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    first = custody_of()
    decide(first, coordinator.receive(STUDY))
    rotate_identity(coordinator.homes["bank-a"], "bank-a", None)
    coordinator.pin(coordinator.roster(version=2))
    again = custody_of()
    assert len(resume(again, records_loader(again.institution, {}))) == 1
    decide(again, coordinator.receive(STUDY))
    described = again.custodian.describe(STUDY.id)
    assert isinstance(described, HelloAnswer)
    envelope = described.approval
    assert again.party.from_member(envelope, Approval, "bank-a").body.number == 2


def test_a_decision_without_keys_runs_nothing(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    """As when an older copy of the studies' folder is put back after a withdrawal."""
    custody = custody_of()
    decision = decide(custody, coordinator.receive(STUDY))
    end(custody, Rejecter.withdraw, STUDY.id)
    write_decision(custody.institution.home, decision)
    again = custody_of()
    assert len(resume(again, records_loader(again.institution, {}))) == 1
    assert again.custodian.describe(STUDY.id) == UNKNOWN_STUDY
    assert again.ledger.run_state(STUDY.id, APPROVAL_STATE) is None


def test_an_approval_counts_under_its_own_roster_and_epoch_alone(coordinator: Coordinator) -> None:
    roster = coordinator.roster()
    approved = StudyDecision(study=STUDY.id, state=State.APPROVED, roster=roster.hash, epoch=1)
    assert approval_status(approved, roster, 1) is ApprovalStatus.APPROVED
    assert approval_status(approved, roster, 2) is ApprovalStatus.OUTDATED
    assert approval_status(approved, coordinator.roster(version=2), 1) is ApprovalStatus.OUTDATED
    for state in set(State) - {State.APPROVED}:
        other = approved.model_copy(update={"state": state})
        assert approval_status(other, roster, 1) is ApprovalStatus[state.name]


# -- reject and withdraw --------------------------------------------------------------------


def test_a_rejection_is_recorded_with_its_reason_and_runs_nothing(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    custody = custody_of()
    coordinator.receive(STUDY)
    decision = end(custody, Rejecter.reject, STUDY.id, "the purpose is too wide")
    assert (decision.state, decision.reason) == (State.REJECTED, "the purpose is too wide")
    entry = logged(custody)[-1]
    assert (entry["event"], entry["actor"]) == ("rejection", "tester")
    assert entry["details"]["reason"] == "the purpose is too wide"
    assert custody.custodian.describe(STUDY.id) == UNKNOWN_STUDY
    assert coordinator.receive(STUDY).decision == decision


def test_each_way_to_say_no_has_its_place(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    custody = custody_of()
    kept = coordinator.receive(STUDY)
    with pytest.raises(UsageError, match="expected an approved study"):
        end(custody, Rejecter.withdraw, STUDY.id)
    decide(custody, kept)
    with pytest.raises(UsageError, match="institution withdraw"):
        end(custody, Rejecter.reject, STUDY.id)
    for reason in ("two\nlines", "x" * 501):
        with pytest.raises(UsageError, match="--reason"):
            end(custody, Rejecter.withdraw, STUDY.id, reason)
    assert isinstance(custody.custodian.describe(STUDY.id), HelloAnswer)
    for _ in range(2):  # a withdrawal may be repeated: a crash may have come in between
        assert end(custody, Rejecter.withdraw, STUDY.id, "").state is State.WITHDRAWN
    assert custody.custodian.describe(STUDY.id) == UNKNOWN_STUDY


def test_a_withdrawal_that_cannot_be_logged_has_still_destroyed_the_keys(
    coordinator: Coordinator, custody_of: OpenCustody, monkeypatch: pytest.MonkeyPatch
) -> None:
    custody = custody_of()
    decide(custody, coordinator.receive(STUDY))
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", full_disk)
        with pytest.raises(LedgerError):
            end(custody, Rejecter.withdraw, STUDY.id)
    assert custody.ledger.run_state(STUDY.id, APPROVAL_STATE) is None
    assert read_decision(custody.institution.home, STUDY.id).state is State.WITHDRAWN


@dataclass(frozen=True)
class Transcript:
    """What anybody on the wire could have kept of one release of `bank-c`."""

    opening: str  # its hash
    request: Request
    masked: Word  # with the seed off, which the second message shows to everybody


def run_one_step(coordinator: Coordinator, custodies: Sequence[Custody]) -> Transcript:
    """Play the coordinator up to the first release; all custodies have approved."""
    from tests.support.runs.steps import open_federation

    from fieldfare.client.node.client_app import client_app
    from fieldfare.server.run.channel import GridChannel
    from fieldfare.server.run.hello import RunTerms
    from fieldfare.server.run.rounds import SecureSums
    from fieldfare.shared.privacy.protection import Protection
    from fieldfare.simulations.federation.grid import InProcessGrid

    known = {one.party.institution: partial(answer, one.custodian) for one in custodies}
    app = client_app(lambda context: known[str(context.node_config["institution"])])
    channel = GridChannel(InProcessGrid(app, {name: 101 + i for i, name in enumerate(known)}))
    plan, signer = plan_for(STUDY), coordinator.signer
    terms = RunTerms(plan, coordinator.roster(), signer, Protection.EXACT, "run-1", last_replies={})
    federation = open_federation(channel, terms)
    sums = SecureSums(channel, federation)
    request = sums._request(plan.terms(ReleaseKind.TRAINING), 0, 0, parameters())
    signed, sent = sign_envelope(request, COORDINATOR, signer), list[CommitmentReply]()
    for custody in custodies:
        committed = custody.custodian.release(signed, parameters())
        assert isinstance(committed, CommitmentReply), committed
        sent.append(committed)
    statements = [one.commitment for one in sent]
    reply = custodies[-1].custodian.reveal(signed, statements)
    assert isinstance(reply, bytes), reply
    training, seed = plan.terms(ReleaseKind.TRAINING), claimed(reply, "seed") or ""
    bits, entries = training.word_bits, training.vectors.entries
    masked = add_words([sent[-1].vector], bits, entries, [seed])
    return Transcript(federation.agreed.opening_hash, request, masked)


def parameters() -> bytes:
    return parameters_to_bytes(initial_state(STUDY).parameters)


def unmask(kept: Transcript, keys: RunKeys, own: str) -> Any:
    """Take the mask off with a run's pair keys: int64 (entries,)."""
    terms = plan_for(STUDY).terms(ReleaseKind.TRAINING)
    entries, bits = terms.vectors.entries, terms.word_bits
    mask = keys.mask(own, frozenset(NAMES) - {own}, kept.request.hash, entries, bits)
    return centre(subtract(kept.masked, mask, bits), bits)


def test_a_captured_transcript_cannot_be_unmasked_with_what_a_home_holds(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    """Neither while the run goes on nor after a withdrawal; an earlier version held it all."""
    custodies = [custody_of(name) for name in NAMES]
    approve_all(coordinator, custodies, STUDY)
    kept = run_one_step(coordinator, custodies)
    victim, home = custodies[-1], coordinator.homes[NAMES[-1]]
    terms = plan_for(STUDY).terms(ReleaseKind.TRAINING)
    raw = loaded(victim, STUDY).sums.vector(
        ReleaseKind.TRAINING, np.frombuffer(parameters(), dtype="<f8")
    )
    # What the process' memory could do while it lives: everything but the noise comes off.
    keys = victim.custodian._held.run_keys(STUDY.id, "run-1", kept.opening)
    bound = 10 * terms.share(3, 1)
    assert np.abs(unmask(kept, keys, NAMES[-1]) - raw).max() < bound
    masked = centre(kept.masked, terms.word_bits)
    assert np.abs(masked - raw).max() > 100 * bound
    for files in (all_bytes(home), after_withdrawal(victim, home)):
        for secret in keys.keys.values():
            assert secret.hex().encode() not in files
            assert secret not in files

    # A custodian that was running all along answers nothing new, and neither does a fresh one.
    second = kept.request.model_copy(update={"attempt": 1})
    answer = victim.custodian.release(
        sign_envelope(second, COORDINATOR, coordinator.signer), parameters()
    )
    assert answer == UNKNOWN_STUDY
    with open_custody(victim.institution, None, clock) as fresh:
        assert resume(fresh, records_loader(fresh.institution, {})) == ()
        assert fresh.custodian.describe(STUDY.id) == UNKNOWN_STUDY
        assert fresh.ledger.spent(STUDY.id) == terms.cost  # what was spent stays spent


def after_withdrawal(victim: Custody, home: Any) -> bytes:
    end(victim, Rejecter.withdraw, STUDY.id)
    return all_bytes(home)


class WithdrawnMeanwhile:
    """Noise that takes long: another process withdraws the study while it is drawn."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody
        self._noise = custody.custodian._noise._source
        self.protection = self._noise.protection

    def sample(self, entries: int, scale: float) -> Any:
        institution = self._custody.institution
        with open_institution_ledger(institution, clock) as ledger:
            journal = open_journal(institution.home, clock)
            Rejecter(institution.home, ledger, journal, "tester", NOW).withdraw(STUDY.id, "")
        return self._noise.sample(entries, scale)


def test_a_release_that_is_under_way_when_the_study_is_withdrawn_does_not_leave(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    custodies = [custody_of(name) for name in NAMES]
    approve_all(coordinator, custodies, STUDY)
    victim = custodies[-1]
    victim.custodian._door._noise = NoiseStock(WithdrawnMeanwhile(victim))
    with pytest.raises(AssertionError, match=r"Refusal\(code=<RefusalCode\.UNKNOWN_STUDY"):
        run_one_step(coordinator, custodies)
    assert victim.ledger.spent() == 0
    assert victim.ledger.run_state(STUDY.id, "run-1") is None
    assert [e["event"] for e in logged(victim)][-2:] == ["withdrawal", "refusal"]


def test_what_a_run_under_way_put_back_is_destroyed_at_the_next_start(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    custody = custody_of()
    decide(custody, coordinator.receive(STUDY))
    end(custody, Rejecter.withdraw, STUDY.id)
    custody.ledger.put_run_state(STUDY.id, "run-1", b"progress")
    again = custody_of()
    assert resume(again, records_loader(again.institution, {})) == ()
    assert again.ledger.run_state(STUDY.id, "run-1") is None


def test_after_a_withdrawal_an_approval_has_a_higher_number(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    custody = custody_of()
    kept = coordinator.receive(STUDY)
    decide(custody, kept)
    end(custody, Rejecter.withdraw, STUDY.id)
    decision = decide(custody, kept)
    assert (decision.state, decision.reason) == (State.APPROVED, "")
    described = custody.custodian.describe(STUDY.id)
    assert isinstance(described, HelloAnswer)
    assert custody.party.from_member(described.approval, Approval, "bank-a").body.number == 2
