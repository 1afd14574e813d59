"""Every role at every page of the coordinator's console: what its table says, and nothing else."""

from pathlib import Path

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench, coordinator_desk
from tests.support.homes.role_matrix import browser_of_each, check_menu, check_pages

from fieldfare.server.console.pages import MENU, pages_of
from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.console.frame import Page
from fieldfare.shared.console.rights import RIGHTS, ConsoleRole, Right


@pytest.fixture
def browsers(coordinator_home: CoordinatorHome, console: ConsoleBench) -> dict[str, Browser]:
    return browser_of_each(console, coordinator_desk(coordinator_home, console))


def address(page: Page) -> str:
    return page.path.format(study="0" * 64, run="run-1", number="0", file="0.png", act="stop")


def test_every_role_at_every_page(
    coordinator_home: CoordinatorHome,
    console: ConsoleBench,
    browsers: dict[str, Browser],
    tmp_path: Path,
) -> None:
    place = CoordinatorPlace(coordinator_home.path, tmp_path, console.book)
    check_pages(pages_of(place), browsers, address)


def test_the_menu_shows_what_may_be_followed(browsers: dict[str, Browser]) -> None:
    check_menu(MENU, browsers)


def test_who_works_on_customers_sees_nothing_here(
    coordinator_home: CoordinatorHome, console: ConsoleBench
) -> None:
    pages = pages_of(CoordinatorPlace(coordinator_home.path, coordinator_home.path, console.book))
    for role in (ConsoleRole.ANALYST, ConsoleRole.REVIEWER):
        assert {one.path for one in pages if one.right in RIGHTS[role]} == {"/"}


def test_who_examines_does_nothing(
    coordinator_home: CoordinatorHome, console: ConsoleBench
) -> None:
    pages = pages_of(CoordinatorPlace(coordinator_home.path, coordinator_home.path, console.book))
    examiner, operator = RIGHTS[ConsoleRole.EXAMINER], RIGHTS[ConsoleRole.OPERATOR]
    assert {one.path for one in pages if one.method == "POST" and one.right in examiner} == set()
    reads = {one.path for one in pages if one.method == "GET" and one.right in operator}
    acts = {one.path for one in pages if one.right is Right.STEER}  # editors among them
    seen = {one.path for one in pages if one.method == "GET" and one.right in examiner}
    assert seen == reads - acts
    assert Right.WATCH in examiner
