"""The preflight for who operates and who examines, but for what opens keys or records."""

from typing import Final

from starlette.responses import Response

from fieldfare.client.console.place import AskDesk
from fieldfare.client.desk.calls import CHECK as ASK_CHECK
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.desk.calls import Nothing
from fieldfare.shared.terminal.texts import plain

CHECK: Final = "/check"
LONGEST: Final = 600  # characters of what is shown of one finding


def check_pages(desk: AskDesk) -> tuple[Page, ...]:
    """Return the page of checks that a desk makes."""
    return (Page(CHECK, Right.WATCH, lambda visit: _check(visit, desk)),)


def _check(visit: Visit, desk: AskDesk) -> Response:
    found = desk().ask(ASK_CHECK, Nothing()).findings
    return visit.page(
        "check.html",
        found=found,
        failed=sum(one.failed for one in found),
        lines=lambda text: [plain(line, LONGEST) for line in text.split("\n")],
    )
