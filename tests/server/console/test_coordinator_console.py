"""The command: accounts by the terminal, what is written down, and a process that serves."""

import json
import signal
import subprocess
import sys

import httpx
import pytest
from tests.support.homes.consoles import PASSWORD, TOKEN, secret_on
from tests.support.system.ports import free_port

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.cli.root import run
from fieldfare.shared.console.credentials import code_of
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user

CONSOLE = "console"
ACCOUNT = (CONSOLE, "account")


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = run(words)
    said = capsys.readouterr()
    return status, said.out, said.err


def written_down(home: CoordinatorHome) -> list[tuple[str, str, str, str]]:
    """What the log of decisions has of the console: act, person, account, user."""
    lines = [json.loads(line) for line in home.decisions.read_text().splitlines()]
    return [
        (one["act"], one["person"], one["account"], one["user"])
        for one in lines
        if one["event"] == "console"
    ]


def test_accounts_are_made_on_the_terminal_and_stand_in_the_log(
    coordinator_home: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--home", str(coordinator_home.path))
    status, out, _ = typed(capsys, *ACCOUNT, "add", "otto", "--role", "operator", *at)
    assert status == 0
    assert "http://127.0.0.1:8710/enrol?link=" in out
    assert typed(capsys, *ACCOUNT, "add", "otto", "--role", "operator", *at)[0] == 2
    assert typed(capsys, *ACCOUNT, "link", "otto", *at)[0] == 0
    assert typed(capsys, *ACCOUNT, "close", "otto", *at)[0] == 0
    assert "closed" in typed(capsys, *ACCOUNT, "list", *at)[1]
    user = os_user()
    assert written_down(coordinator_home) == [
        (act, user, "otto", user) for act in ("account added", "new link made", "account closed")
    ]


@pytest.mark.parametrize("role", ["analyst", "reviewer"])
def test_nobody_works_on_customers_at_a_coordinator(
    coordinator_home: CoordinatorHome, capsys: pytest.CaptureFixture[str], role: str
) -> None:
    at = ("--home", str(coordinator_home.path))
    status, _, said = typed(capsys, *ACCOUNT, "add", "anna", "--role", role, *at)
    assert status == 2
    assert "operator" in said


def test_plain_words_where_it_cannot_start(
    coordinator_home: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, said = typed(capsys, CONSOLE, "--home", str(coordinator_home.path))
    assert (status, "account add NAME --role operator" in said) == (2, True)
    status, _, said = typed(capsys, CONSOLE, "--home", str(coordinator_home.path / "keys"))
    assert (status, "a coordinator's folder" in said) == (2, True)


def test_a_console_serves_until_it_is_told_to_stop(
    coordinator_home: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real process: enrol by the link, be logged in, stop by ctrl-C with status 0."""
    listen = f"127.0.0.1:{free_port()}"
    at = ("--home", str(coordinator_home.path), "--listen", listen)
    out = typed(capsys, *ACCOUNT, "add", "otto", "--role", "operator", *at)[1]
    link = out.split("link=")[1][:43]
    command = [sys.executable, "-m", "fieldfare", CONSOLE, *at]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(3)]
            assert f"the console of Example coordinator is at http://{listen} " in lines[2]
            with httpx.Client(base_url=f"http://{listen}", follow_redirects=True) as browser:
                page = browser.get(f"/enrol?link={link}")
                token = TOKEN.search(page.text)
                assert token
                code = code_of(secret_on(page.text), utc_now().timestamp())
                fields = {"token": token[1], "link": link, "code": code}
                both = {"password": PASSWORD, "again": PASSWORD}
                assert "logged in as otto" in browser.post("/enrol", data=fields | both).text
                assert "No institution is enrolled yet" in browser.get("/members").text
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    acts = [one[:3] for one in written_down(coordinator_home)]
    assert acts[1:] == [("enrolled", "otto", "otto"), ("logged in", "otto", "otto")]
