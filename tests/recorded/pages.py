"""All pages of both consoles as somebody of each role sees them, on homes with something on each.

A walk without scripts follows every link and sends every form as it stands; every answer is kept in
the order in which it came, so that what a form led to is kept, too.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.recorded.screens import MEMORY, Masks, date_files
from tests.recorded.stillness import NOW, stillness
from tests.support.browsers.crawled import walk
from tests.support.browsers.filled import (
    FilledConsole,
    coordinator_console,
    fill_coordinator,
    fill_institution,
    institution_console,
)
from tests.support.homes.consoles import Browser, ConsoleBench, Ticking
from tests.support.homes.coordinator_desks import DeskBench
from tests.support.homes.institutions import NAMES, Coordinator
from tests.support.homes.keyed_coordinators import KeyedCoordinator

from fieldfare.client.institution.open import open_custody
from fieldfare.server.home.initial_setup import keep_bundle
from fieldfare.server.studies.proposing import propose
from fieldfare.shared.console import credentials
from fieldfare.shared.console.accounts import open_accounts
from fieldfare.shared.console.rights import ConsoleRole

SIDES: Final = ("institution", "coordinator")


class KeepingBrowser(Browser):
    """A browser that keeps every answer with its address, by the order in which it came."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.kept = list[tuple[str, str]]()

    def request(self, method: str, url: Any, *rest: Any, **more: Any) -> httpx.Response:
        answer: httpx.Response = super().request(method, url, *rest, **more)
        head = f"{method} {url} -> {answer.status_code} {answer.headers.get('location', '')}"
        kind = answer.headers.get("content-type", "")
        text = answer.text if kind.startswith("text") or "json" in kind else answer.content.hex()
        self.kept.append((f"{method} {url}", f"{head.strip()}\n{kind}\n\n{text}"))
        return answer


def filled_console(side: str, folder: Path, stack: ExitStack) -> tuple[FilledConsole, ConsoleBench]:
    """Fill a home of a side in a folder, and put its console together."""
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(credentials, "MEMORY_KIB", 64)  # passwords that are hashed in a millisecond
    patch.setattr(credentials, "PASSES", 1)
    time = Ticking()
    book = stack.enter_context(open_accounts(None, time.now, time.entropy))
    bench = ConsoleBench(book, time)
    if side == "coordinator":
        keyed = KeyedCoordinator.found(folder)
        keep_bundle(keyed.home)
        propose(keyed.home, keyed.study, keyed.signer)
        keyed.approve()
        desk = DeskBench(keyed)
        home = fill_coordinator(desk, patch)
        stack.enter_context(desk.serving())
        return coordinator_console(home, bench), bench
    bank = Coordinator(folder)
    for name in NAMES:
        bank.found(name)
    bank.pin()
    bank.compare()

    def custody_of(name: str = NAMES[0]) -> Any:
        return stack.enter_context(open_custody(bank.institution(name), None, lambda: NOW))

    return institution_console(fill_institution(bank, custody_of), bench), bench


def walked(side: str, role: ConsoleRole) -> Iterator[tuple[str, bytes]]:
    """Yield the pages of a role at a console that nobody used yet."""
    with (
        tempfile.TemporaryDirectory(prefix="ff-", dir=MEMORY) as folder,
        stillness(f"{side} {role.value}"),
        ExitStack() as stack,
    ):
        masks = Masks(Path(folder))
        filled, bench = filled_console(side, Path(folder), stack)
        if role not in filled.roles:
            return
        date_files(Path(folder))
        browser = KeepingBrowser(filled.app)
        bench.log_in(browser, bench.enrolled(f"person-{role.value}", role))
        walk(browser, filled.pages, filled.starts)
        for number, (address, text) in enumerate(browser.kept, start=1):
            name = re.sub(r"[^A-Za-z0-9]+", "-", address).strip("-")[:60]
            path = f"pages/{side}/{role.value}/{number:03}-{name}.html"
            yield path, masks.masked(text).encode()


def record_pages(counted: Counter[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the pages of both consoles, role by role."""
    for side in SIDES:
        for role in ConsoleRole:
            for path, content in walked(side, role):
                counted["pages"] += 1
                yield path, content
