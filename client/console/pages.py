"""The first page, the menu, and the list of all pages; a new page is a line here."""

from typing import Final

from starlette.responses import Response

from fieldfare.client.console.alert_page import alert_pages
from fieldfare.client.console.place import ConsolePlace
from fieldfare.client.console.queue_page import QUEUE, queue_pages
from fieldfare.shared.console.frame import HOME, MenuEntry, Page, Visit
from fieldfare.shared.console.rights import Right

MENU: Final = (
    MenuEntry(HOME, "Start", Right.ENTER),
    MenuEntry(QUEUE, "Alerts", Right.READ_ALERTS),
)


def pages_of(place: ConsolePlace) -> tuple[Page, ...]:
    """Return every page of an institution's console but those of its entrance."""
    start = Page(HOME, Right.ENTER, lambda visit: _first_page(visit, place))
    return (start, *queue_pages(place), *alert_pages(place))


def _first_page(visit: Visit, place: ConsolePlace) -> Response:
    return visit.page("first_page.html", beside_keys=place.beside_keys)
