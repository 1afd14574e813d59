"""The first page, the menu, and the list of all pages; a new page is a line here."""

from typing import Final

from starlette.responses import Response

from fieldfare.server.console.answers_page import ANSWERS_MENU, answers_pages
from fieldfare.server.console.approvals_page import APPROVALS, approvals_pages
from fieldfare.server.console.ask_page import ASK_MENU, ask_pages
from fieldfare.server.console.incidents_page import INCIDENTS, LOG, incidents_pages
from fieldfare.server.console.members_page import MEMBERS, members_pages
from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.console.propose_page import PROPOSE_MENU, propose_pages
from fieldfare.server.console.runs_page import RUNS, runs_pages
from fieldfare.server.console.steer_page import steer_pages
from fieldfare.server.console.transcripts_page import TRANSCRIPTS, transcripts_pages
from fieldfare.server.console.upkeep_page import CHECK, NOTICES, upkeep_pages
from fieldfare.shared.console.frame import HOME, MenuEntry, Page, Visit
from fieldfare.shared.console.rights import Right

MENU: Final = (
    MenuEntry(HOME, "Start", Right.ENTER),
    MenuEntry(MEMBERS, "Members", Right.WATCH),
    PROPOSE_MENU,
    MenuEntry(APPROVALS, "Approvals", Right.WATCH),
    MenuEntry(RUNS, "Runs", Right.WATCH),
    ANSWERS_MENU,
    ASK_MENU,
    MenuEntry(TRANSCRIPTS, "Transcripts", Right.WATCH),
    MenuEntry(INCIDENTS, "Incidents", Right.WATCH),
    MenuEntry(NOTICES, "Notices", Right.WATCH),
    MenuEntry(CHECK, "Check", Right.WATCH),
    MenuEntry(LOG, "Log", Right.WATCH),
)

TEMPLATES: Final = ("fieldfare.server.console",)


def pages_of(place: CoordinatorPlace) -> tuple[Page, ...]:
    """Return every page of a coordinator's console but those of its entrance."""
    every = (
        members_pages,
        approvals_pages,
        runs_pages,
        transcripts_pages,
        incidents_pages,
        upkeep_pages,
        propose_pages,
        answers_pages,
        ask_pages,
        steer_pages,
    )
    others = [page for pages in every for page in pages(place)]
    return (Page(HOME, Right.ENTER, _first_page), *others)


def _first_page(visit: Visit) -> Response:
    return visit.page("first_page.html", watches=Right.WATCH in visit.rights)
