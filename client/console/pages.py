"""The first page, the menu, and the list of all pages; a new page is a line here."""

from collections.abc import Collection
from typing import Final

from starlette.responses import Response

from fieldfare.client.console.alert_page import alert_pages
from fieldfare.client.console.budget_page import BUDGET, budget_pages
from fieldfare.client.console.check_page import CHECK, check_pages
from fieldfare.client.console.draft_page import draft_pages
from fieldfare.client.console.journal_page import JOURNAL, journal_pages
from fieldfare.client.console.models_page import MODELS, models_pages
from fieldfare.client.console.place import ConsolePlace
from fieldfare.client.console.queue_page import QUEUE, queue_pages
from fieldfare.client.console.records_page import RECORDS, records_pages
from fieldfare.client.console.studies_page import STUDIES, studies_pages
from fieldfare.shared.console.frame import HOME, MenuEntry, Page, Visit
from fieldfare.shared.console.rights import Right

MENU: Final = (
    MenuEntry(HOME, "Start", Right.ENTER),
    MenuEntry(QUEUE, "Alerts", Right.READ_ALERTS),
    MenuEntry(STUDIES, "Studies", Right.WATCH),
    MenuEntry(MODELS, "Models", Right.SEE_MODELS),
    MenuEntry(RECORDS, "Records", Right.WATCH),
    MenuEntry(BUDGET, "Budget", Right.WATCH),
    MenuEntry(JOURNAL, "Log", Right.WATCH),
    MenuEntry(CHECK, "Check", Right.WATCH),
)


def pages_of(place: ConsolePlace) -> tuple[Page, ...]:
    """Return every page of an institution's console but those of its entrance."""
    start = Page(HOME, Right.ENTER, lambda visit: _first_page(visit, place))
    watched = (
        studies_pages,
        models_pages,
        records_pages,
        budget_pages,
        journal_pages,
        check_pages,
    )
    others = [page for pages in watched for page in pages(lambda: place.desk)]
    alerts = (*queue_pages(place), *alert_pages(place), *draft_pages(place))
    return (start, *alerts, *others)


def menu_of(pages: Collection[Page]) -> tuple[MenuEntry, ...]:
    """Return the links to those pages that a console has."""
    paths = {one.path for one in pages}
    return tuple(one for one in MENU if one.path in paths)


def _first_page(visit: Visit, place: ConsolePlace) -> Response:
    return visit.page("first_page.html", beside_keys=place.beside_keys, invented=place.invented)
