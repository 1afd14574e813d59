"""Where each study stands at an institution, and the review of one, for terminal and console."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fieldfare.client.approvals.approval_status import ApprovalStatus, approval_status, spent_now
from fieldfare.client.approvals.review import Review, review_study
from fieldfare.client.home.studies import (
    KeptStudy,
    State,
    earlier_studies,
    find_id,
    kept_studies,
    kept_study,
    read_decision,
)
from fieldfare.client.institution.institution import Institution, open_institution
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.study.study import Study


@dataclass(frozen=True)
class StandingStudy:
    """A study that arrived, and whether it may run."""

    kept: KeptStudy
    status: ApprovalStatus


@dataclass(frozen=True)
class ArrivedStudies:
    """All that arrived, oldest first; `earlier`: why those of an earlier version run no more."""

    standing: tuple[StandingStudy, ...]
    earlier: dict[str, str]


@dataclass(frozen=True)
class StudyOnDesk:
    """One study as a person decides on it; `since`: where the one stands that it is compared to."""

    standing: StandingStudy
    review: Review
    since: ApprovalStatus | None


def standing_studies(institution: Institution, ledger: Ledger) -> tuple[StandingStudy, ...]:
    """Return the studies that arrived, oldest first, with where they stand.

    Raises:
        UsageError: one that is kept here cannot be read.
        LedgerError: the ledger cannot be read.
    """
    epoch = ledger.position().epoch
    return tuple(
        StandingStudy(one, approval_status(one.decision, institution.roster, epoch))
        for one in kept_studies(institution.home, institution.roster)
    )


def arrived_studies(home: Path) -> ArrivedStudies:
    """Look at the studies of a home; nothing is written.

    Raises:
        FieldfareError: as `open_institution`, `open_ledger` and `standing_studies`.
    """
    institution = open_institution(home)
    with open_ledger(institution.home) as ledger:
        found = standing_studies(institution, ledger)
    return ArrivedStudies(found, earlier_studies(institution.home, institution.roster))


def study_on_desk(home: Path, digits: str, now: datetime) -> StudyOnDesk:
    """Look at one study of a home, by first digits of its id; no record is read, nothing written.

    Raises:
        FieldfareError: as `arrived_studies`, `find_id` and `review_study`.
    """
    institution = open_institution(home)
    study = find_id(institution.home, digits)
    kept = kept_study(institution.home, study, institution.roster)
    with open_ledger(institution.home) as ledger:
        found = reviewed(institution, ledger, kept.study, now)
        statuses = {one.kept.study.id: one for one in standing_studies(institution, ledger)}
    since = statuses[found.comparison.earlier].status if found.comparison else None
    return StudyOnDesk(statuses[study], found, since)


def reviewed(institution: Institution, ledger: Ledger, study: Study, now: datetime) -> Review:
    """Review a study beside everything that arrived here.

    Raises:
        StudyError, AccountingError: the study has no plan.
        UsageError, LedgerError: something that is kept here cannot be read.
    """
    roster = institution.roster
    kept = kept_studies(institution.home, roster)
    decision = read_decision(institution.home, study.id)
    here = institution.home.study(study.id).exists()
    status = approval_status(decision, roster, ledger.position().epoch).value
    earlier = _earlier(kept, study)
    return review_study(
        study,
        institution.policy,
        roster,
        spent_now(ledger, study, kept, roster, now),
        institution=institution.settings.id,
        unit=institution.settings.unit,
        status=status if here else "not received yet",
        earlier=earlier.study if earlier else None,
        approved=earlier is not None and earlier.decision.state is State.APPROVED,
        company=institution.company,
    )


def _earlier(kept: tuple[KeptStudy, ...], study: Study) -> KeptStudy | None:
    """Return the last approved study of this name that came before, else the last one.

    `kept` is in order of arrival.
    """
    ids = [one.study.id for one in kept]
    before = kept[: ids.index(study.id)] if study.id in ids else kept
    similar = [one for one in before if one.study.name == study.name]
    approved = [one for one in similar if one.decision.state is State.APPROVED]
    last = approved or similar
    return last[-1] if last else None
