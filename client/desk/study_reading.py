"""Where each study stands, and one as a person decides on it: for the terminal and for a desk.

No record is read, and nothing is written.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fieldfare.client.approvals.approval_status import (
    ENDED,
    ApprovalStatus,
    approval_status,
    sum_spent,
)
from fieldfare.client.approvals.review import Review, review_study
from fieldfare.client.approvals.review_words import PAGE, SUM_TITLES, review_topics
from fieldfare.client.desk.calls import (
    BrowserDecision,
    DeskStudy,
    StudyGroup,
    StudyList,
    StudyView,
)
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
from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.study.study import Study


@dataclass(frozen=True)
class StandingStudy:
    """A study that arrived, and whether it may run."""

    kept: KeptStudy
    status: ApprovalStatus

    @property
    def view(self) -> StudyView:
        """What a desk answers of it."""
        study, decision = self.kept.study, self.kept.decision
        approved = self.status is ApprovalStatus.APPROVED
        here = StudyGroup.APPROVED if approved else StudyGroup.WAITING
        return StudyView(
            id=study.id,
            short=self.kept.short,
            name=study.name,
            epsilon=study.privacy.epsilon,
            delta=study.privacy.delta,
            received=decision.received,
            group=StudyGroup.ENDED if decision.state in ENDED else here,
            standing=self.status.value,
            user=decision.user,
            time=decision.time,
            reason=decision.reason,
            first=decision.first,
        )


def list_studies(institution: Institution, ledger: Ledger) -> tuple[StandingStudy, ...]:
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


def view_studies(home: Path) -> StudyList:
    """Return every study that arrived at a home.

    Raises:
        FieldfareError: as `open_institution`, `open_ledger` and `list_studies`.
    """
    institution = open_institution(home)
    with open_ledger(institution.home) as ledger:
        found = list_studies(institution, ledger)
    earlier = earlier_studies(institution.home, institution.roster)
    return StudyList(studies=[one.view for one in found], earlier=earlier)


def view_study(home: Path, digits: str, now: datetime) -> DeskStudy:
    """Return one study of a home, by first digits of its id, as a person decides on it.

    Raises:
        FieldfareError: as `view_studies`, `find_id` and `review_at_home`.
    """
    institution = open_institution(home)
    study = find_id(institution.home, digits)
    kept = kept_study(institution.home, study, institution.roster)
    with open_ledger(institution.home) as ledger:
        review = review_at_home(institution, ledger, kept.study, now)
        found = {one.kept.study.id: one for one in list_studies(institution, ledger)}
    page = DeskStudy(
        study=found[study].view,
        since=found[review.comparison.earlier].status.value if review.comparison else "",
        topics=tuple(review_topics(review, PAGE)),
        titles=SUM_TITLES,
        approved=kept.decision.state is State.APPROVED,
        home=str(home.absolute()),
        browser=BrowserDecision(
            allowed=institution.settings.console.decides,
            columns=[one.name for one in review.columns if not one.allowed],
            seen="",
        ),
    )
    seen = hashlib.sha256(canonical_bytes(page)).hexdigest()
    return page.model_copy(update={"browser": page.browser.model_copy(update={"seen": seen})})


def review_at_home(institution: Institution, ledger: Ledger, study: Study, now: datetime) -> Review:
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
        sum_spent(ledger, study, kept, roster, now),
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
