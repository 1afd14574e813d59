"""2,000 hostile lines at every form and every filter of the consoles: `make nightly PART=console`.

Nothing of a line runs or comes back as markup, no answer tells of the machine, of a record or of a
secret, every error is a page with its headers, and the process lives on.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote_from_bytes, urlencode, urlsplit

import httpx
import pytest
from tests.support.attacks.hostile_lines import LINES, hostile_lines
from tests.support.attacks.judged import judge
from tests.support.browsers.crawled import FoundForm, Walked, pattern_of, walk
from tests.support.browsers.filled import (
    FilledConsole,
    coordinator_console,
    fill_coordinator,
    fill_institution,
    institution_console,
)
from tests.support.homes.consoles import FORM, PASSWORD, Browser, ConsoleBench
from tests.support.homes.coordinator_desks import DeskBench
from tests.support.homes.institutions import Coordinator, OpenCustody

from fieldfare.client.home.layout import Home
from fieldfare.shared.console.credentials import form_token
from fieldfare.shared.console.frame import FORM_TOKEN
from fieldfare.shared.console.rights import RIGHTS, ConsoleRole, Right

SECONDS = 3_000
AGAIN = 40  # lines, after which a form is read anew: what it holds is out of date
PLAIN = 2  # parts of an address without places in it: nothing, and its name
LONGEST = 20_000  # bytes in an address: the client of this test takes no more
MEMORY = 60  # MB that a whole night of forms may add to the process


@pytest.fixture
def institution(
    coordinator: Coordinator, custody_of: OpenCustody, console: ConsoleBench
) -> FilledConsole:
    home: Home = fill_institution(coordinator, custody_of)
    return institution_console(home, console)


@dataclass
class Attacker:
    """A person of a role who is logged in and sends what no form of theirs would."""

    filled: FilledConsole
    console: ConsoleBench
    role: ConsoleRole
    browser: Browser = field(init=False)
    found: Walked = field(init=False)
    sent: int = 0

    def __post_init__(self) -> None:
        self.name = f"person-{self.role.value}"
        self.console.enrolled(self.name, self.role)
        self.enter()
        self.found = walk(self.browser, self.filled.pages, self.filled.starts)

    def enter(self) -> None:
        self.console.time.seconds += 301  # so that one more try counts
        self.browser = Browser(self.filled.app)
        self.console.log_in(self.browser, self.name)

    def judge(self, answer: httpx.Response, said: str) -> None:
        """Nothing ran, nothing leaked, an error is a page."""
        self.sent += 1
        secrets = [self.console.factors[self.name].hex(), PASSWORD]
        if Right.READ_ALERTS not in RIGHTS[self.role]:
            secrets += self.filled.values
        judge(answer, said, secrets)

    def attack_form(self, form: FoundForm, lines: Sequence[bytes]) -> None:
        """Put each line into one field after the other, all else as the page has it."""
        names = sorted(set(form.fields) - {FORM_TOKEN}) or [FORM_TOKEN]
        fields = dict(form.fields)
        for number, line in enumerate(lines):
            if number % AGAIN == 0:
                fields = form.again(self.browser).fields
                fields |= {FORM_TOKEN: form_token(self.browser.cookies["fieldfare-test"])}
            name = names[number % len(names)]
            others = {one: value for one, value in fields.items() if one != name}
            body = f"{urlencode(others)}&{name}={quote_from_bytes(line)}"
            said = f"{self.role.value}, {form.action}, {name}, line {number}: {line[:80]!r}"
            self.judge(self.post(form.action, body), said)

    def post(self, action: str, body: str | bytes, kind: str = FORM) -> httpx.Response:
        sent: Any = self.browser.post(action, content=body, headers={"content-type": kind})
        if sent.headers.get("location") == "/log-in":
            self.enter()
        answer: httpx.Response = sent
        return answer

    def attack_address(self, address: str, lines: Sequence[bytes]) -> None:
        """Put each line into a filter of an address, into a new one, or into its path."""
        found = urlsplit(address)
        filters = dict(parse_qsl(found.query, keep_blank_values=True))
        names, parts = [*filters, "zz9"], found.path.split("/")
        for number, line in enumerate(lines if filters or len(parts) > PLAIN else lines[::10]):
            name, value = names[number % len(names)], quote_from_bytes(line, safe="")
            others = urlencode({k: v for k, v in filters.items() if k != name})
            said = f"{self.role.value}, {address}, {name}, line {number}: {line[:80]!r}"
            self.judge(self.get(f"{found.path}?{others}&{name}={value}"), said)
            if number % 4 == 0 and len(parts) > PLAIN:
                place = PLAIN + number // 4 % (len(parts) - PLAIN)
                typed = [*parts[:place], quote_from_bytes(line, safe="%"), *parts[place + 1 :]]
                self.judge(self.get("/".join(typed)), f"{said}, in the path")

    def get(self, target: str) -> httpx.Response:
        answer: httpx.Response = self.browser.get(target)
        return answer


def tricks(lines: int = 160) -> list[bytes]:
    """Fewer lines, for filters: there are many more of them than forms; none over 20,000 bytes."""
    return [one for one in hostile_lines(lines) if len(one) < LONGEST]


def resident() -> int:
    """Memory of this process, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


ROLES = [ConsoleRole.ANALYST, ConsoleRole.OPERATOR, ConsoleRole.EXAMINER]  # each set of rights


@pytest.mark.promises
@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("role", ROLES)
def test_no_line_runs_or_leaks_at_an_institution(
    institution: FilledConsole, console: ConsoleBench, role: ConsoleRole
) -> None:
    attacked(institution, console, role)


@pytest.mark.promises
@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("role", ROLES[1:])
def test_no_line_runs_or_leaks_at_a_coordinator(
    approved_bench: DeskBench,
    console: ConsoleBench,
    monkeypatch: pytest.MonkeyPatch,
    role: ConsoleRole,
) -> None:
    home = fill_coordinator(approved_bench, monkeypatch)
    with approved_bench.serving():
        attacked(coordinator_console(home, console), console, role)


def attacked(filled: FilledConsole, console: ConsoleBench, role: ConsoleRole) -> None:
    """Send everything to everything that a role reaches."""
    attacker, lines = Attacker(filled, console, role), hostile_lines()
    found = attacker.found
    mine = {one.path for one in filled.pages if one.right in RIGHTS[role] and one.method == "POST"}
    for form in filled.unlinked:
        pattern = pattern_of(form.path, filled.pages, "POST")
        if pattern in mine:
            found.forms.setdefault(form.action, form)
            found.reached.add(f"POST {pattern}")
    posts = [one for one in found.forms.values() if one.method == "post"]
    gets = [one for one in found.forms.values() if one.method == "get"]
    addresses = [some[0] for some in found.pages.values() if some]
    for one in filled.pages:  # to which nothing leads in this home: at an address of nothing
        if one.right not in RIGHTS[role] or f"{one.method} {one.path}" in found.reached:
            continue
        nothing = re.sub(r"{\w+}", "0", one.path)
        if one.method == "POST":
            posts.append(FoundForm("post", nothing, "/", {FORM_TOKEN: "", "text": ""}))
        elif not one.by_itself:
            addresses.append(nothing)
    addresses += [f"{one.action}?{urlencode(one.fields)}" for one in gets]
    attacker.attack_form(posts[0], lines[:200])
    before = resident()
    for form in posts:
        attacker.attack_form(form, lines)
    for address in addresses:
        attacker.attack_address(address, tricks())
    assert attacker.sent >= LINES * len(posts)
    assert resident() - before < MEMORY
    assert attacker.get("/").status_code == 200
    nothing_stays(filled)


def nothing_stays(filled: FilledConsole) -> None:
    """What was typed about a customer is in the store of alerts; log and accounts have none."""
    for path in sorted(filled.home.rglob("*")):
        if path.is_file() and path.name.partition("-")[0] != "alerts.sqlite":
            content = path.read_bytes() if path.name != "records.csv" else b""
            for value in filled.values:
                assert value.encode() not in content, path.name
