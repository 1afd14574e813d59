"""The budget for who operates and who examines: this year and ever, and the twelve months ahead."""

from typing import Final

from starlette.responses import Response

from fieldfare.client.console.place import AskDesk
from fieldfare.client.desk.calls import BUDGET as ASK_BUDGET
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.desk.calls import Nothing
from fieldfare.shared.errors import FieldfareError, RunError
from fieldfare.shared.pages.bars import columns
from fieldfare.shared.terminal.texts import plain

BUDGET: Final = "/budget"
_PARTS: Final = 1_000  # a column of the picture is a share in thousandths


def budget_pages(desk: AskDesk) -> tuple[Page, ...]:
    """Return the page about the budget that a desk tells of."""
    return (Page(BUDGET, Right.WATCH, lambda visit: _budget(visit, desk)),)


def _budget(visit: Visit, desk: AskDesk) -> Response:
    try:
        found = desk().ask(ASK_BUDGET, Nothing())
    except RunError:
        raise
    except FieldfareError as error:
        return visit.page("budget.html", found=None, problem=str(error))
    drawn = columns([(_PARTS, one.share) for one in found.ahead])
    ahead = list(zip(found.ahead, drawn, strict=True))
    return visit.page("budget.html", found=found, problem="", ahead=ahead, plain=plain)
