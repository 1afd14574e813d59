"""Every page of the consoles in a real Chromium: `make nightly PART=console`.

The table of pages is walked, so that a page that is added is looked at by itself: in two colours
and three widths, by axe-core, for what it asks of others and what the content policy stopped, by
keys alone, with scripts and without. `FIELDFARE_SCREENSHOTS` keeps pictures.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.support.browsers.crawled import pattern_of
from tests.support.browsers.filled import (
    FILED,
    fill_coordinator,
    fill_institution,
)
from tests.support.browsers.looking import Look, chromium
from tests.support.browsers.served import served
from tests.support.homes.coordinator_desks import DeskBench
from tests.support.homes.institutions import Coordinator, OpenCustody

from fieldfare.client.console.pages import pages_of
from fieldfare.client.console.place import ConsolePlace
from fieldfare.server.console.pages import pages_of as coordinator_pages
from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.shared.console.frame import Page
from fieldfare.shared.console.rights import RIGHTS, ConsoleRole

ROLES = (ConsoleRole.ANALYST, ConsoleRole.OPERATOR, ConsoleRole.EXAMINER)  # each set of rights
CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary"
SECONDS = 3_000
MOST_KEYS = 400
VALUES = ("MARKER", "person_my_client")


@pytest.mark.promises
@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("scripts", [True, False])
def test_every_page_of_an_institution(
    coordinator: Coordinator,
    custody_of: OpenCustody,
    capfd: pytest.CaptureFixture[str],
    *,
    scripts: bool,
) -> None:
    home = fill_institution(coordinator, custody_of)
    pages = pages_of(ConsolePlace(home.path, home.path, _no_book()))
    with served(home.path, capfd) as (address, link):
        for role in ROLES:
            with chromium(address, scripts=scripts) as look:
                look.enrol(link(f"p-{role.value}", role.value), f"p-{role.value}")
                walked(look, pages, "institution", role, ("/", f"/alerts/{FILED}"))


@pytest.mark.promises
@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("scripts", [True, False])
def test_every_page_of_a_coordinator(
    approved_bench: DeskBench,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    *,
    scripts: bool,
) -> None:
    home = fill_coordinator(approved_bench, monkeypatch)
    pages = coordinator_pages(CoordinatorPlace(home.path, home.path, _no_book()))
    with approved_bench.serving(), served(home.path, capfd) as (address, link):
        for role in ROLES[1:]:
            with chromium(address, scripts=scripts) as look:
                look.enrol(link(f"p-{role.value}", role.value), f"p-{role.value}")
                walked(look, pages, "coordinator", role, ("/",))


def _no_book() -> Any:
    """Pages are listed here, and no account is looked up."""
    return None


def walked(
    look: Look, pages: Sequence[Page], part: str, role: ConsoleRole, starts: Sequence[str]
) -> None:
    """Follow links to one address of each page that the role sees, and look at it."""
    waiting, done = list(starts), set[str]()
    while waiting:
        target = waiting.pop(0)
        pattern = pattern_of(urlsplit(target).path, pages)
        if not pattern or pattern in done or _is_file(pages, pattern):
            continue
        if look.open(target) != HTTPStatus.OK:
            continue  # of another role, or of what is gone here: another link may lead there
        done.add(pattern)
        seen(look, f"{part}-{role.value}{name_of(pattern)}")
        waiting += look.page.locator("a[href^='/']").evaluate_all(
            "all => all.map(one => one.getAttribute('href').split('#')[0])"
        )
    others = {one for one in pages if one.method == "GET" and not _is_file(pages, one.path)}
    mine = {one.path for one in others if one.right in RIGHTS[role]}
    assert mine - done == set(), "no link leads there"
    for path in {one.path for one in others} - mine:  # of another role: an error that is a page
        assert look.open(re.sub(r"{\w+}", "0", path)) == HTTPStatus.FORBIDDEN
        look.page.locator("h1").first.wait_for()
    look.stayed()
    assert not [url for url in look.asked for value in VALUES if value in url]


def _is_file(pages: Sequence[Page], pattern: str) -> bool:
    by_itself = [one for one in pages if one.path == pattern and one.by_itself]
    return bool(by_itself) or pattern.endswith(("/file", "{file}"))


def name_of(pattern: str) -> str:
    """A name for pictures of a page."""
    return re.sub(r"[^a-z]+", "-", pattern).rstrip("-") or "-start"


def seen(look: Look, name: str) -> None:
    """Look at the present page from all sides."""
    look.check(name)
    if look.scripts:
        assert look.page.evaluate("window.ran || 0") == 0, name
        by_keys(look, name)


def by_keys(look: Look, name: str) -> None:
    """Tab reaches every control, and where it is can be seen."""
    page = look.page
    page.set_viewport_size({"width": 1280, "height": 900})
    page.evaluate("document.activeElement && document.activeElement.blur()")
    wanted = page.locator(CONTROLS).evaluate_all(
        "all => { all.forEach((one, at) => one.dataset.at = at);"
        " return all.filter(one => one.checkVisibility() && !one.disabled).length; }"
    )
    reached, unseen = set[str](), set[str]()
    for _ in range(min(MOST_KEYS, wanted + 5)):
        page.keyboard.press("Tab")
        at, drawn = page.evaluate(
            "() => { const one = document.activeElement, s = getComputedStyle(one);"
            " return [one.dataset.at || '', s.outlineStyle !== 'none' && s.outlineWidth !== '0px'"
            " || one.classList.contains('skip')]; }"
        )
        if at:
            reached.add(at)
            unseen |= set() if drawn else {at}
    assert len(reached) >= min(MOST_KEYS, wanted) - 1, f"{name}: {len(reached)} of {wanted}"
    assert unseen == set(), name
