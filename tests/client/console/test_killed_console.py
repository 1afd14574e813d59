"""A console's process is killed (SIGKILL) before each write, after each commit, before its answer.

A draft, an enrolment and a log-in: whoever sends the same form again goes on, nothing is lost,
nothing counts twice, and nothing happened without its line in the log.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

import httpx
import pytest
from tests.client.alerts.test_card import STATEMENT
from tests.support.browsers.crawled import forms_of
from tests.support.homes import journals
from tests.support.homes.consoles import PASSWORD, TOKEN, VISIT, kept_statement, secret_on
from tests.support.homes.reported import reported_alert
from tests.support.system.ports import free_port

from fieldfare.client.alerts.alert_queue import open_queue
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.desk.place import desk_child
from fieldfare.client.home.layout import Home
from fieldfare.client.journal.journal import verify
from fieldfare.shared.console.accounts import AccountBook, open_accounts
from fieldfare.shared.console.credentials import code_of, factor_of
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import PRIVATE_FOLDER
from fieldfare.shared.system.processes import kept_running

# Loads the console once; each line of its input is a new process, the one before having ended.
FORKING: Final = """
import os, signal, sys
from pathlib import Path
from starlette.responses import Response
import fieldfare.client.cli.casework, fieldfare.client.console.process
from fieldfare.shared.cli.root import run
from fieldfare.shared.console import credentials
from fieldfare.shared.sqlite.database import Database
credentials.MEMORY_KIB, credentials.PASSES = 64, 1
left, rows, answered = Path(sys.argv[1]), Database.rows, Response.__call__
def moment():
    if not left.exists():
        return
    count = int(left.read_text())
    if not count:
        left.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    left.write_text(str(count - 1))
def dying(self, statement, *values):
    word = statement.split()[0]
    if word in {"DELETE", "INSERT", "REPLACE", "UPDATE"}:
        moment()
    found = rows(self, statement, *values)
    if word == "COMMIT":
        moment()
    return found
async def answering(self, *given):
    moment()
    await answered(self, *given)
Database.rows, Response.__call__ = dying, answering
for _ in sys.stdin:
    child = os.fork()
    if not child:
        print(os.getpid(), flush=True)
        os._exit(run(sys.argv[2:]))
    os.waitpid(child, 0)
"""
ALERT: Final = reported_alert()
DRAFT: Final = f"/cases/{ALERT.alert}/draft"
Fields = dict[str, str]


@dataclass
class Console:
    """A console that dies when told to, and what starts it again on the same home and port."""

    home: Home
    book: AccountBook
    process: "subprocess.Popen[str]"
    listen: str
    left: Path
    running: int = 0
    deaths: int = 0

    def start(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.running = int(self.process.stdout.readline())
        while self.listen not in self.process.stdout.readline():
            assert self.process.poll() is None

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://{self.listen}", timeout=60)

    def dies(self, browser: httpx.Client, path: str, fields: Fields, moment: int) -> bool:
        """Send a form, and let the process die at its so-manyth moment; False: it has fewer."""
        self.left.write_text(str(moment))
        try:
            browser.post(path, data=fields)
        except httpx.TransportError:
            assert not self.left.exists()
            self.deaths += 1
            self.start()
            return True
        self.left.unlink()
        return False

    def logged(self, name: str, kind: str) -> int:
        """Lines of the log that say so of a person."""
        found = journals.logged(self.home.log_folder)
        return sum((one["actor"], one["details"].get("kind")) == (name, kind) for one in found)

    def sessions(self, name: str) -> int:
        """Of a person who proved both; one whose answer never came is nobody's, and runs out."""
        query = "SELECT count(*) FROM session WHERE account = ? AND proved"
        return int(self.book._rows(query, name)[0][0])

    def at_each_moment(self, act: Callable[["Console", int], bool]) -> int:
        """Do an act over and over, dying a moment later each time; how often it died."""
        before = self.deaths
        for moment in count():
            if not act(self, moment):
                return self.deaths - before
        raise AssertionError


@pytest.fixture
def console(home: Home, tmp_path: Path, quick_passwords: None) -> Iterator[Console]:
    kept_statement(home, [ALERT], STATEMENT)
    said = (Disposition.ESCALATE, PartyRole.CONTROLLER, Confidence.HIGH)
    assert not open_queue(home.path).act(Feedback(ALERT.alert, utc_now(), "ben", *said), 0).problem
    (home.path / "console").mkdir(PRIVATE_FOLDER)
    listen, left = f"127.0.0.1:{free_port()}", tmp_path / "left"
    given = ("console", "--home", str(home.path), "--listen", listen)
    with (
        kept_running(desk_child(home.path), lambda _, __: None),
        open_accounts(home.path / "console", minutes_ago, os.urandom) as book,
        subprocess.Popen(
            [sys.executable, "-c", FORKING, str(left), *given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        made = Console(home, book, process, listen, left)
        made.start()
        try:
            yield made
        finally:
            os.kill(made.running, signal.SIGKILL)
            process.communicate("")


def minutes_ago() -> datetime:
    """A clock behind: whoever enrols by it can prove the codes of this moment."""
    return utc_now() - timedelta(minutes=2)


@pytest.mark.faults
def test_whoever_acts_while_the_console_dies_goes_on(console: Console) -> None:
    died = [console.at_each_moment(one) for one in (enrols, proves_password, proves_code)]
    died += [console.at_each_moment(one) for one in (saves_a_draft, checks_a_draft)]
    assert all(one >= least for one, least in zip(died, (10, 3, 8, 3, 1), strict=True)), died
    assert verify(console.home.log_folder).sequence == len(journals.logged(console.home.log_folder))


def form_of(page: httpx.Response, **fields: str) -> Fields:
    found = TOKEN.search(page.text)
    assert found, page.text
    return {"token": found[1], **fields}


def is_in(browser: httpx.Client, name: str) -> bool:
    return f"logged in as {name}" in browser.get("/", follow_redirects=True).text


def log_in(browser: httpx.Client, name: str) -> Fields:
    """Prove the password; the form that asks for a code."""
    form = form_of(browser.get("/log-in"), name=name, password=PASSWORD)
    answer = browser.post("/log-in", data=form, follow_redirects=True)
    assert answer.url.path == "/second-factor", answer.text
    return form_of(answer)


def enrols(console: Console, moment: int) -> bool:
    """The link counts once: either it counts still, or the person is enrolled by what was sent."""
    name = f"enrolled-{moment}"
    link = console.book.add(name, ConsoleRole.ANALYST, lambda _: None)
    with console.browser() as browser:
        page = browser.get("/enrol", params={"link": link})
        factor = secret_on(page.text)
        code = code_of(factor, utc_now().timestamp())
        both = {"password": PASSWORD, "again": PASSWORD}
        form = form_of(page, link=link, code=code, **both)
        died = console.dies(browser, "/enrol", form, moment)
        counts, lines = console.book.invited(link) is not None, console.logged(name, "enrolled")
        assert (lines in {0, 1}) if counts else lines == 1
        answer = browser.post("/enrol", data=form, follow_redirects=True)
        if counts:
            assert f"logged in as {name}" in answer.text
        else:
            assert answer.status_code == (404 if died else 403)  # its visit is over
            assert console.book.proves_password(name, PASSWORD)
            if died:
                code = code_of(factor, utc_now().timestamp() + 30)
                browser.post("/second-factor", data={**log_in(browser, name), "code": code})
        assert is_in(browser, name)
        assert console.logged(name, "enrolled") == lines + counts
        assert browser.get("/enrol", params={"link": link}).status_code == 404
    return died


def enrolled(console: Console, name: str) -> bytes:
    """Somebody who enrolled two minutes ago; the second factor."""
    link = console.book.add(name, ConsoleRole.ANALYST, lambda _: None)
    factor = factor_of(link, VISIT)
    code = code_of(factor, minutes_ago().timestamp())
    console.book.enrol(link, VISIT, PASSWORD, code, lambda _: None)
    return factor


def proves_password(console: Console, moment: int) -> bool:
    name = f"password-{moment}"
    factor = enrolled(console, name)
    with console.browser() as browser:
        form = form_of(browser.get("/log-in"), name=name, password=PASSWORD)
        died = console.dies(browser, "/log-in", form, moment)
        assert not is_in(browser, name)
        if died:
            browser.post("/log-in", data=form)
        asked = form_of(browser.get("/second-factor"))
        code = code_of(factor, utc_now().timestamp())
        browser.post("/second-factor", data={**asked, "code": code})
        assert is_in(browser, name)
        assert console.logged(name, "logged in") == 1
    return died


def proves_code(console: Console, moment: int) -> bool:
    """A code counts once, also one whose answer never came: the next one does."""
    name = f"code-{moment}"
    factor = enrolled(console, name)
    with console.browser() as browser:
        code = code_of(factor, utc_now().timestamp())
        form = {**log_in(browser, name), "code": code}
        died = console.dies(browser, "/second-factor", form, moment)
        lines = console.logged(name, "logged in")
        assert console.sessions(name) <= lines
        browser.post("/second-factor", data=form)
        if not is_in(browser, name):
            next_one = code_of(factor, utc_now().timestamp() + 30)
            browser.post("/second-factor", data={**log_in(browser, name), "code": next_one})
        assert is_in(browser, name)
        assert console.logged(name, "logged in") == lines + died
    with console.browser() as other:
        form = log_in(other, name)
        assert other.post("/second-factor", data={**form, "code": code}).status_code == 403
    return died


def comes_in(console: Console, browser: httpx.Client, name: str) -> None:
    code = code_of(enrolled(console, name), utc_now().timestamp())
    browser.post("/second-factor", data={**log_in(browser, name), "code": code})
    assert is_in(browser, name)


def draft_form(browser: httpx.Client) -> Fields:
    """A draft's form with both entries chosen, and an answer typed."""
    page = browser.get(DRAFT, params={"format": "goaml"})
    (form,) = [one for one in forms_of(DRAFT, page.text) if "format" in one.fields]
    first = next(name for name, value in form.fields.items() if "COMPLETED" in value)
    del form.fields["check"]
    return {**form.fields, first: "MARKER-TYPED"}


def saves_a_draft(console: Console, moment: int) -> bool:
    """The session lives on; the same form gives the same file, and none without its line."""
    name = f"saves-{moment}"
    with console.browser() as browser:
        comes_in(console, browser, name)
        form = draft_form(browser)
        died = console.dies(browser, DRAFT, form, moment)
        lines = console.logged(name, "goaml")
        files = {browser.post(DRAFT, data=form).content for _ in range(2)}
        assert len(files) == 1
        assert b"MARKER-TYPED" in files.pop()
        assert console.logged(name, "goaml") == lines + 2
    assert lines in {0, 1}
    assert untouched(console)
    return died


def checks_a_draft(console: Console, moment: int) -> bool:
    """What was typed is in the form, and kept nowhere else."""
    name = f"checks-{moment}"
    with console.browser() as browser:
        comes_in(console, browser, name)
        form = draft_form(browser)
        del form["save"]
        died = console.dies(browser, DRAFT, {**form, "check": "1"}, moment)
        assert "MARKER-TYPED" in browser.post(DRAFT, data={**form, "check": "1"}).text
        assert console.logged(name, "goaml") == 0
    assert untouched(console)
    return died


def untouched(console: Console) -> bool:
    """The alert has the one decision that it had before anybody drafted."""
    with open_queue(console.home.path).store() as store:
        return store.find(ALERT.alert).version == 1
