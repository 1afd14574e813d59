"""A person's decisions about a study: receive and approve; and their effects.

What permits is logged before it takes effect, what forbids takes effect before it is logged:
a crash in between leaves less permitted than the log says, never more. A study runs only
where its decision says `approved` under the pinned roster and the ledger's epoch.
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from fieldfare.client.approvals.approval_status import (
    ENDED,
    ApprovalStatus,
    approval_status,
    sum_spent,
)
from fieldfare.client.approvals.review import (
    SpentBudget,
    all_objections,
    roster_problems,
    unit_problems,
)
from fieldfare.client.approvals.second_person import asks_for_another
from fieldfare.client.custodian.key_agreement import ApprovedStudy
from fieldfare.client.home.policy_objections import PolicyViolation, package_objections
from fieldfare.client.home.studies import (
    KeptStudy,
    RejectionDisclosure,
    State,
    StudyDecision,
    deciding,
    keep_study,
    kept_ids,
    kept_study,
    offered_study,
    read_decision,
    stamp,
    write_decision,
)
from fieldfare.client.institution.institution import Institution
from fieldfare.client.institution.open import Custody, LoadedSums, Loader
from fieldfare.client.journal.decisions import JournalDecisions
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.run_states import APPROVAL_STATE
from fieldfare.client.records.encoding.problems import FailedRowsError
from fieldfare.client.records.settings import check_unit
from fieldfare.shared.errors import (
    FieldfareError,
    PackageError,
    PolicyRefusal,
    ProtocolError,
    RefusalCode,
    StudyError,
)
from fieldfare.shared.protocol.messages import Approval
from fieldfare.shared.protocol.plan import Plan, plan_for
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.study.model_sections import named_class
from fieldfare.shared.study.study import Study, check_deployable

# -- receive --------------------------------------------------------------------------------


def receive(
    institution: Institution, journal: Journal, content: bytes, name: str, user: str, now: datetime
) -> KeptStudy:
    """Keep a signed study that was sent; one that is here keeps its decision.

    Raises:
        UsageError: not signed by the pinned coordinator, or no valid study.
        StudyError: the study names no unit or another than this population's, or has no plan.
        LedgerError: the log cannot be written; nothing is kept.
    """
    study = offered_study(content, name, institution.roster)
    check_deployable(study)
    if institution.settings.unit is not None:  # else the review says that it is missing here
        check_unit(study, institution.settings.unit)
    with suppress(PackageError):  # it waits here for people to read and list the package
        plan_for(study)
    home = institution.home
    with deciding(home):
        if not home.study(study.id).exists():
            journal.append(Event.STUDY_RECEIVED, COORDINATOR, study=study.id, user=user)
        keep_study(home, study, content, now)
        return kept_study(home, study.id, institution.roster)


# -- approve --------------------------------------------------------------------------------


def check_before_records(
    institution: Institution, study: Study, spent: SpentBudget, *, units: int | None = None
) -> Plan:
    """Measure a study against roster, policy and budget; with `units`, those too.

    Raises:
        StudyError: it cannot run under the pinned roster, or counts other units.
        PolicyRefusal: POLICY; every rule that it breaks, one line each.
        AccountingError: no privacy claim can be made for the smallest admitted sum.
    """
    problems = (
        *roster_problems(study, institution.roster),
        *unit_problems(study, institution.settings.unit),
    )
    if problems:
        raise StudyError(problems)
    _refuse(package_objections(institution.policy, study))  # without the module, no plan
    plan = plan_for(study)
    plan.check_noise(study.aggregation.minimum_institutions)
    _refuse(all_objections(institution.policy, plan, spent, units=units))
    return plan


def _refuse(objections: Iterable[PolicyViolation]) -> None:
    found = "\n".join(map(str, objections))
    if found:
        raise PolicyRefusal(RefusalCode.POLICY, found)


def load_for(
    custody: Custody, study: Study, load: Loader, now: datetime, agree: Callable[[str], None]
) -> LoadedSums:
    """Read the records for a study that may be approved; measured before and after.

    Args:
        custody: whose custodian will answer for it.
        study: the one in question.
        load: reads the institution's records for a study.
        now: the present, with a time zone.
        agree: asks a person about a class that is imported to run on the records; it raises where
            the answer is no.

    Raises:
        PolicyRefusal, StudyError, AccountingError: as `check_before_records`.
        RecordsError: the records do not fit.
    """
    institution = custody.institution
    spent = sum_spent(custody.ledger, study, [], institution.roster, now)
    check_before_records(institution, study, spent)
    module = named_class(study.model)
    if module is not None:
        agree(module)
    loaded = load(study)
    check_before_records(institution, study, spent, units=loaded.units)
    return loaded


def approve(
    custody: Custody,
    kept: KeptStudy,
    loaded: LoadedSums,
    user: str,
    now: datetime,
    *,
    asked: str = "",
    last: Callable[[], None] = lambda: None,
) -> StudyDecision:
    """Approve a study that was checked: make its keys, log it, then let it run.

    Args:
        custody: the custodian that will answer for it.
        kept: the study and the coordinator's signature on it.
        loaded: this institution's sums under the study.
        user: who decides: the OS user, or who proved to be a decider at the desk.
        now: the present, with a time zone.
        asked: where it was said, if not on the terminal.
        last: what else the approval writes; called once nothing but `last` itself can refuse it.

    Raises:
        PolicyRefusal, StudyError, AccountingError: as `check_before_records`; or POLICY: it asks
            for two persons, and nobody else approved it.
        FieldfareError: as `last`; nothing is approved then.
        UsageError: a former online key signed the study; the coordinator proposes it again.
        LedgerError: ledger or log cannot be written; nothing is approved then.
    """
    institution, study = custody.institution, kept.study
    with deciding(institution.home):
        before = read_decision(institution.home, study.id)
        if _runs(custody, before):
            return before
        if asks_for_another(institution, before, user):
            raise PolicyRefusal(
                RefusalCode.POLICY,
                "approvals.by_two: expected an approval by another person first, found none",
            )
        # Asked again under the lock: something may have been spent meanwhile.
        spent = sum_spent(custody.ledger, study, [], institution.roster, now)
        check_before_records(institution, study, spent, units=loaded.units)
        _forget_foreign_keys(custody, before)
        # Not one that an earlier online key signed, which may be a thief's by now.
        offered_study(kept.offer, study.id, institution.roster)
        envelope = custody.custodian.accept(kept.offer, lambda _: loaded.sums)
        approval = custody.party.from_member(envelope, Approval, custody.party.institution).body
        try:
            last()
            JournalDecisions(custody.journal).approved(study.id, approval.hash, user, asked)
        except FieldfareError:
            custody.custodian.finish(study.id)
            raise
        decision = before.model_copy(
            update={
                "state": State.APPROVED,
                "user": user,
                "time": stamp(now),
                "asked": asked or (before.asked if before.first else ""),
                "reason": "",
                "told": RejectionDisclosure.NOTHING,
                "first": "",
                "first_roster": "",
                "approval": approval.hash,
                "roster": approval.roster,
                "epoch": approval.epoch,
            }
        )
        write_decision(institution.home, decision)
    return decision


def _forget_foreign_keys(custody: Custody, decided: StudyDecision) -> None:
    """Destroy keys of an approval that is not the one decided on.

    After a rotation of the identity the old key's approval cannot be read any more; a crash
    between keys and decision leaves an approval that was never given.
    """
    if not _has_keys(custody, decided):
        custody.ledger.forget_runs(decided.study)


# -- start ----------------------------------------------------------------------------------


class OmittedStudy(NamedTuple):
    """A study that is approved and does not run, and why."""

    study: str
    reason: str

    def __str__(self) -> str:
        """Return one line for the screen."""
        return f"{self.study}: {self.reason}"


def resume(
    custody: Custody, load: Loader, studies: Collection[str] | None = None
) -> tuple[OmittedStudy, ...]:
    """Load every study that may run into the custodian; said at start and after a decision.

    Nothing is approved here: a study whose approval counts no more is left out, and so is one
    whose records do not load. Where what stands in rows keeps them from being read, nothing is
    answered, of no study (`Custodian.stop`). Whatever keys are left of rejected and withdrawn
    studies are destroyed once more.

    Args:
        custody: whose custodian is to answer for them.
        load: reads the institution's records for a study.
        studies: ids of those to look at; None: all that arrived.
    """
    left_out = []
    for study in kept_ids(custody.institution.home) if studies is None else sorted(studies):
        try:
            runs = _resume_one(custody, load, study)
        except FailedRowsError as error:
            # What one row holds decided this: it may not decide which study is answered.
            custody.custodian.stop(study, f"study {study}: {error}")
        except FieldfareError as error:
            left_out.append(OmittedStudy(study, str(error)))
        else:
            left_out += [] if runs else [OmittedStudy(study, ApprovalStatus.OUTDATED.value)]
    return tuple(left_out)


def _resume_one(custody: Custody, load: Loader, study: str) -> bool:
    """Load one study; false where it is approved and may not run."""
    home, roster = custody.institution.home, custody.institution.roster
    decision = read_decision(home, study)
    if decision.state in ENDED:
        with deciding(home):
            if read_decision(home, study).state in ENDED:
                custody.custodian.finish(study)  # a run under way may have put its keys back
    if decision.state is not State.APPROVED:
        return True
    kept = kept_study(home, study, roster)
    loaded = load(kept.study) if _runs(custody, decision) else None
    with deciding(home):
        # Loading takes long: what was withdrawn meanwhile must not be given new keys.
        if loaded is not None and _runs(custody, read_decision(home, study)):
            custody.custodian.accept(kept.offer, lambda _: loaded.sums)
            return True
    return False


def _runs(custody: Custody, decision: StudyDecision) -> bool:
    """Tell whether a study may run: approved, under this roster and epoch, with its keys."""
    epoch = custody.ledger.position().epoch
    status = approval_status(decision, custody.institution.roster, epoch)
    return status is ApprovalStatus.APPROVED and _has_keys(custody, decision)


def _has_keys(custody: Custody, decision: StudyDecision) -> bool:
    """Tell whether the ledger holds the very approval that was decided on."""
    state = custody.ledger.run_state(decision.study, APPROVAL_STATE)
    if state is None or not decision.approval:
        return False
    try:
        return ApprovedStudy.from_bytes(state, custody.party).approval.hash == decision.approval
    except ProtocolError:
        return False
