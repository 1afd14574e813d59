"""Every role at every page of a console: what the table of rights says, and nothing else."""

from collections.abc import Callable, Sequence
from typing import Any

from tests.support.homes.consoles import Browser, ConsoleBench

from fieldfare.shared.console.frame import MenuEntry, Page
from fieldfare.shared.console.rights import RIGHTS, ConsoleRole, Right


def browser_of_each(console: ConsoleBench, app: Any) -> dict[str, Browser]:
    """A browser for each role, in which a person of it is logged in, and one of nobody."""
    found = {"": Browser(app)}
    for role in ConsoleRole:
        found[role.value] = Browser(app)
        console.log_in(found[role.value], console.enrolled(f"person-{role.value}", role))
    return found


def check_pages(
    pages: Sequence[Page], browsers: dict[str, Browser], address: Callable[[Page], str]
) -> None:
    """Who has no right gets 403, who is nobody is led to the log-in; a form without token: 403."""
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


def check_menu(menu: Sequence[MenuEntry], browsers: dict[str, Browser]) -> None:
    """The menu shows a role what it may follow."""
    for role, browser in browsers.items():
        if role:
            text = browser.get("/").text
            shown = [
                one for one in menu if f'href="{one.path}"' in text and f">{one.text}<" in text
            ]
            assert shown == [one for one in menu if one.right in RIGHTS[ConsoleRole(role)]]
