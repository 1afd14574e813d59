"""What a desk tells of studies and budget; nothing is written for it."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Final

from fieldfare.client.approvals.approval_status import ENDED, ApprovalStatus
from fieldfare.client.approvals.review_words import (
    PAGE,
    SUM_TITLES,
    Line,
    ReviewTopic,
    review_topics,
)
from fieldfare.client.approvals.standing import (
    StandingStudy,
    arrived_studies,
    study_on_desk,
)
from fieldfare.client.desk.calls import (
    BrowserDecision,
    BudgetView,
    DeskStudy,
    LimitView,
    MonthView,
    ShareView,
    StudyGroup,
    StudyList,
    StudyView,
    TextView,
    TopicView,
)
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.client.home.studies import State
from fieldfare.client.oversight.budget_outlook import BudgetOutlook, MonthAhead, budget_at
from fieldfare.client.oversight.ledger_report import LimitUse
from fieldfare.shared.canonical import canonical_bytes

_PARTS: Final = 1_000


def studies_told(home: Path) -> StudyList:
    """Tell of every study that arrived.

    Raises:
        FieldfareError: as `arrived_studies`.
    """
    found = arrived_studies(home)
    return StudyList(studies=[_told(one) for one in found.standing], earlier=found.earlier)


def study_told(home: Path, digits: str, now: datetime) -> DeskStudy:
    """Tell of one study, as a person decides on it.

    Raises:
        FieldfareError: as `study_on_desk`.
    """
    desk = study_on_desk(home, digits, now)
    opened, kept = Home.open(home), desk.standing.kept
    told = DeskStudy(
        study=_told(desk.standing),
        since=desk.since.value if desk.since else "",
        topics=[_topic(one) for one in review_topics(desk.review, PAGE)],
        titles=list(SUM_TITLES),
        approved=kept.decision.state is State.APPROVED,
        home=str(home.absolute()),
        browser=BrowserDecision(
            allowed=load_settings(opened).console.decides,
            columns=[one.name for one in desk.review.columns if not one.allowed],
            seen="",
        ),
    )
    seen = hashlib.sha256(canonical_bytes(told)).hexdigest()
    return told.model_copy(update={"browser": told.browser.model_copy(update={"seen": seen})})


def _told(one: StandingStudy) -> StudyView:
    kept, decision = one.kept, one.kept.decision
    privacy = kept.study.privacy
    return StudyView(
        id=kept.study.id,
        short=kept.short,
        name=kept.study.name,
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        received=decision.received,
        group=_group(one),
        standing=one.status.value,
        user=decision.user,
        time=decision.time,
        reason=decision.reason,
        first=decision.first,
    )


def _group(one: StandingStudy) -> StudyGroup:
    if one.kept.decision.state in ENDED:
        return StudyGroup.ENDED
    approved = one.status is ApprovalStatus.APPROVED
    return StudyGroup.APPROVED if approved else StudyGroup.WAITING


def _topic(one: ReviewTopic) -> TopicView:
    return TopicView(
        name=one.name,
        lines=[_line(line) for line in one.lines],
        rows=[_line(row) for row in one.rows],
    )


def _line(line: Line) -> list[TextView]:
    return [TextView(text=one.text, tone=one.tone.value) for one in line]


# -- budget ---------------------------------------------------------------------------------------


def budget_told(home: Path, now: datetime) -> BudgetView:
    """Tell of the budget, this year, ever, and of the twelve months ahead.

    Raises:
        FieldfareError: as `budget_at`.
    """
    found = budget_at(home, now)
    report = found.report
    return BudgetView(
        population=report.population,
        entries=report.position.sequence,
        epoch=report.position.epoch,
        delta=report.yearly.delta,
        limits=[_limit("Any 365 days", report.yearly), _limit("Ever", report.lifetime)],
        promised=found.promised,
        next_freed=found.next_freed,
        ahead=[_month(one, report.yearly) for one in found.ahead],
        shares=_shares(found),
        last=list(found.last),
    )


def _limit(name: str, one: LimitUse) -> LimitView:
    return LimitView(
        name=name,
        limit=one.limit_epsilon,
        spent=one.spent_epsilon,
        left=one.left_epsilon,
        some=one.left > 0,
    )


def _month(one: MonthAhead, yearly: LimitUse) -> MonthView:
    share = _PARTS * one.left // yearly.limit if yearly.limit else 0
    return MonthView(day=one.day, share=share, left=one.left_epsilon, sure=one.sure_epsilon)


def _shares(found: BudgetOutlook) -> dict[str, list[ShareView]]:
    return {
        title: [ShareView(name=one.name, epsilon=one.epsilon, percent=one.percent) for one in parts]
        for title, parts in found.shares.items()
    }
