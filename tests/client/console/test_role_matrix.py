"""Every role at every page of the institution's console: what its table says, and nothing else."""

from pathlib import Path

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, PlaceWithDesk
from tests.support.homes.role_matrix import browser_of_each, check_menu, check_pages

from fieldfare.client.console.pages import MENU, pages_of
from fieldfare.client.console.place import ConsolePlace
from fieldfare.client.home.layout import Home
from fieldfare.shared.console.frame import Page, console_app
from fieldfare.shared.console.rights import RIGHTS, ConsoleRole, Right


def of(place: ConsolePlace) -> tuple[Page, ...]:
    return pages_of(place)


@pytest.fixture
def place(home: Home, console: ConsoleBench, tmp_path: Path) -> ConsolePlace:
    return PlaceWithDesk(home.path, tmp_path, console.book, home.path)


@pytest.fixture
def browsers(place: ConsolePlace, console: ConsoleBench) -> dict[str, Browser]:
    parts = console.parts(*of(place), menu=MENU, templates=("fieldfare.client.console",))
    return browser_of_each(console, console_app(parts))


def address(page: Page) -> str:
    return page.path.format(alert="0123456789abcdef", act="take", study="0" * 64, run="run-1")


def test_every_role_at_every_page(place: ConsolePlace, browsers: dict[str, Browser]) -> None:
    check_pages(of(place), browsers, address)


def test_the_menu_shows_what_may_be_followed(browsers: dict[str, Browser]) -> None:
    check_menu(MENU, browsers)


def test_who_examines_and_who_operates_sees_no_customer() -> None:
    for role in (ConsoleRole.OPERATOR, ConsoleRole.EXAMINER):
        assert not RIGHTS[role] & {Right.READ_ALERTS, Right.WORK_ON_ALERTS}
