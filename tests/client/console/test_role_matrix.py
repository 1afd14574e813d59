"""Every role at every page of the institution's console: what its table says, and nothing else."""

from pathlib import Path

import pytest
from tests.support.homes.consoles import Browser, ConsoleBench

from fieldfare.client.console.pages import MENU, pages_of
from fieldfare.client.console.place import ConsolePlace
from fieldfare.client.home.layout import Home
from fieldfare.shared.console.frame import Page, console_app
from fieldfare.shared.console.rights import RIGHTS, ConsoleRole, Right


def of(place: ConsolePlace) -> tuple[Page, ...]:
    return pages_of(place)


@pytest.fixture
def place(home: Home, console: ConsoleBench, tmp_path: Path) -> ConsolePlace:
    return ConsolePlace(home.path, tmp_path, console.book)


@pytest.fixture
def browsers(place: ConsolePlace, console: ConsoleBench) -> dict[str, Browser]:
    parts = console.parts(*of(place), menu=MENU, templates=("fieldfare.client.console",))
    app = console_app(parts)
    found = {"": Browser(app)}
    for role in ConsoleRole:
        found[role.value] = Browser(app)
        console.log_in(found[role.value], console.enrolled(f"person-{role.value}", role))
    return found


def address(page: Page) -> str:
    return page.path.format(alert="0123456789abcdef", act="take", study="0" * 64, run="run-1")


def test_every_role_at_every_page(place: ConsolePlace, browsers: dict[str, Browser]) -> None:
    """Who has no right gets 403, who is nobody is led to the log-in; a form without token: 403."""
    pages = of(place)
    assert {one.right for one in pages} <= {*Right} - {Right.ANYBODY}
    for page in pages:
        for role, browser in browsers.items():
            allowed = role and page.right in RIGHTS[ConsoleRole(role)]
            if page.method == "POST":
                answer = browser.fill(address(page), page="/" if role else "/log-in")
            else:
                answer = browser.get(address(page))
            said = f"{role or 'nobody'} at {page.method} {page.path}: {answer.status_code}"
            if not role:
                assert answer.headers.get("location") == "/log-in", said
            elif not allowed:
                assert answer.status_code == 403, said
                assert "does not see this page" in answer.text, said
            else:
                assert answer.status_code != 403, said
                assert answer.status_code < 500, said


def test_the_menu_shows_what_may_be_followed(browsers: dict[str, Browser]) -> None:
    for role, browser in browsers.items():
        if role:
            text = browser.get("/").text
            shown = [
                one for one in MENU if f'href="{one.path}"' in text and f">{one.text}<" in text
            ]
            assert shown == [one for one in MENU if one.right in RIGHTS[ConsoleRole(role)]]


def test_who_examines_and_who_operates_sees_no_customer() -> None:
    for role in (ConsoleRole.OPERATOR, ConsoleRole.EXAMINER):
        assert not RIGHTS[role] & {Right.READ_ALERTS, Right.WORK_ON_ALERTS}
