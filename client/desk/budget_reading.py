"""What a desk answers about the budget; nothing is written for it."""

from datetime import datetime
from pathlib import Path
from typing import Final

from fieldfare.client.desk.calls import BudgetView, LimitView, MonthView, ShareView
from fieldfare.client.oversight.budget_outlook import BudgetOutlook, MonthAhead, budget_at
from fieldfare.client.oversight.ledger_report import LimitUse

_PARTS: Final = 1_000


def view_budget(home: Path, now: datetime) -> BudgetView:
    """Return the budget, this year, ever, and of the twelve months ahead.

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
