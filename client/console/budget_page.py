"""The budget for who operates and who examines: this year and ever, and the twelve months ahead."""

from pathlib import Path
from typing import Final

from starlette.responses import Response

from fieldfare.client.oversight.budget_outlook import budget_at
from fieldfare.client.oversight.ledger_report import LimitUse
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.pages.bars import columns
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.texts import plain

BUDGET: Final = "/budget"
_PARTS: Final = 1_000  # a column of the picture is a share in thousandths


def budget_pages(home: Path) -> tuple[Page, ...]:
    """Return the page about the budget of a home."""
    return (Page(BUDGET, Right.WATCH, lambda visit: _budget(visit, home)),)


def _budget(visit: Visit, home: Path) -> Response:
    try:
        found = budget_at(home, utc_now())
    except FieldfareError as error:
        return visit.page("budget.html", found=None, problem=str(error))
    yearly = found.report.yearly
    drawn = columns([(_PARTS, _thousandths(one.left, yearly)) for one in found.ahead])
    return visit.page(
        "budget.html",
        found=found,
        problem="",
        limits={"Any 365 days": yearly, "Ever": found.report.lifetime},
        ahead=list(zip(found.ahead, drawn, strict=True)),
        plain=plain,
    )


def _thousandths(left: int, limit: LimitUse) -> int:
    return _PARTS * left // limit.limit if limit.limit else 0
