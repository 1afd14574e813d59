"""The preflight for who operates and who examines, but for what opens keys or records."""

from pathlib import Path
from typing import Final

from starlette.responses import Response

from fieldfare.client.institution.initial_setup import NODE_FILE
from fieldfare.client.oversight.checks import HomeChecks, Preflight
from fieldfare.client.oversight.preflight import LONGEST, CheckOutcome, findings
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.texts import plain

CHECK: Final = "/check"


def check_pages(home: Path) -> tuple[Page, ...]:
    """Return the page that checks a home."""
    return (Page(CHECK, Right.WATCH, lambda visit: _check(visit, home)),)


def _check(visit: Visit, home: Path) -> Response:
    given = Preflight(
        home=home,
        node_settings=home / NODE_FILE,
        passphrase=None,
        environment={},
        now=utc_now(),
        records=False,
    )
    found = list(findings(HomeChecks(given).watched()))
    return visit.page(
        "check.html",
        found=found,
        failed=sum(one.outcome is CheckOutcome.FAIL for one in found),
        odd={CheckOutcome.FAIL, CheckOutcome.WARN},
        lines=lambda text: [plain(line, LONGEST) for line in text.split("\n")],
    )
