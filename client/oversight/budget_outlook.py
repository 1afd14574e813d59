"""A population's budget over the year: what is spent, what is promised, and what comes free when.

The figures are the ledger report's; what is new is their sum from month to month.
"""

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

from fieldfare.client.approvals.approval_status import sum_promised
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy
from fieldfare.client.home.settings import load_settings
from fieldfare.client.home.studies import kept_ids, kept_studies
from fieldfare.client.institution.institution import open_institution
from fieldfare.client.institution.ledger_checks import check_not_behind, open_ledger
from fieldfare.client.ledger.freeing import next_freed, worth
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.oversight.ledger_report import (
    LedgerReport,
    cost_parts,
    entry_line,
    report,
)

MONTHS: Final = 12


@dataclass(frozen=True, kw_only=True)
class MonthAhead:
    """A day, and what is left of the yearly limit on it, in picomu2 and as epsilon.

    Attributes:
        left: where nothing more is spent.
        left_epsilon, sure_epsilon: that, and where approved studies spend all that they may.
    """

    day: date
    left: int
    left_epsilon: float
    sure_epsilon: float


@dataclass(frozen=True)
class CostShare:
    """A part of what was spent: its name, its own epsilon, and its share in percent."""

    name: str
    epsilon: float
    percent: float


@dataclass(frozen=True, kw_only=True)
class BudgetOutlook:
    """A budget as people read it.

    Attributes:
        report: the ledger in figures.
        promised: epsilon that approved studies may still spend.
        next_freed: what comes free next and when; may be empty.
        ahead: today, and the first day of each of the twelve months that follow.
        shares: parts of what was spent, under their titles.
        last: the newest entries, newest first, one line each.
    """

    report: LedgerReport
    promised: float
    next_freed: str
    ahead: tuple[MonthAhead, ...]
    shares: dict[str, tuple[CostShare, ...]]
    last: tuple[str, ...]


def budget_at(home: Path, now: datetime) -> BudgetOutlook:
    """Look at the budget of a home; nothing is written.

    Raises:
        FieldfareError: settings, studies or ledger cannot be read, or the ledger is behind the log.
    """
    opened = Home.open(home)
    with open_ledger(opened) as ledger:
        found = report(ledger, load_settings(opened).population, load_policy(opened), now)
        check_not_behind(ledger, opened)
        promised = _promised(opened, ledger)
    return outlook(found, promised, now.date())


def _promised(home: Home, ledger: Ledger) -> int:
    if not kept_ids(home):
        return 0  # a home without a roster has no studies
    roster = open_institution(home.path).roster
    return sum_promised(ledger, kept_studies(home, roster), roster)


def outlook(found: LedgerReport, promised: int, today: date) -> BudgetOutlook:
    """Add a report up month by month.

    Args:
        found: the ledger in figures, as of today.
        promised: picomu2 that approved studies may still spend.
        today: in UTC.
    """
    delta = found.yearly.delta
    days = [today, *(_months_later(today, number) for number in range(1, MONTHS + 1))]
    return BudgetOutlook(
        report=found,
        promised=worth(promised, delta),
        next_freed=next_freed(found.freed, delta),
        ahead=tuple(_ahead(found, promised, day) for day in days),
        shares={title: _shares(parts, delta) for title, parts in cost_parts(found).items()},
        last=tuple(entry_line(entry, delta).strip() for entry in reversed(found.last)),
    )


def _months_later(today: date, months: int) -> date:
    years, month = divmod(today.month - 1 + months, 12)
    return date(today.year + years, month + 1, 1)


def _ahead(found: LedgerReport, promised: int, day: date) -> MonthAhead:
    yearly, delta = found.yearly, found.yearly.delta
    # Spent may be above the limit, where a policy was narrowed: what comes free fills that first.
    freed = sum(one.picomu2 for one in found.freed if one.day <= day)
    left = min(yearly.limit - yearly.spent + freed, yearly.limit)
    return MonthAhead(
        day=day,
        left=max(left, 0),
        left_epsilon=worth(left, delta),
        sure_epsilon=worth(left - promised, delta),
    )


def _shares(parts: dict[str, int], delta: float) -> tuple[CostShare, ...]:
    whole = sum(parts.values()) or 1
    return tuple(
        CostShare(name, worth(cost, delta), 100 * cost / whole) for name, cost in parts.items()
    )
