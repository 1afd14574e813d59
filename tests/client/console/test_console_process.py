"""The command: accounts by the terminal, an address of this machine, an end by a signal."""

import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from tests.support.homes import journals
from tests.support.homes.consoles import PASSWORD, TOKEN, secret_on
from tests.support.system.ports import free_port

from fieldfare.client.home.layout import Home
from fieldfare.shared.cli.root import run
from fieldfare.shared.console.credentials import code_of
from fieldfare.shared.console.process import address_of
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user

ACCOUNT = ("console", "account")


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = run(words)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_accounts_are_made_on_the_terminal_and_stand_in_the_log(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--home", str(home.path))
    status, out, _ = typed(capsys, *ACCOUNT, "add", "anna", "--role", "analyst", *at)
    assert status == 0
    assert re.search(r"http://127\.0\.0\.1:8700/enrol\?link=[\w-]{43}\n", out)
    assert typed(capsys, *ACCOUNT, "add", "anna", "--role", "analyst", *at)[0] == 2
    assert typed(capsys, *ACCOUNT, "link", "anna", *at)[0] == 0
    assert typed(capsys, *ACCOUNT, "close", "anna", *at)[0] == 0
    assert typed(capsys, *ACCOUNT, "close", "nobody", *at)[0] == 2
    assert "closed" in typed(capsys, *ACCOUNT, "list", *at)[1]
    found = journals.logged(home.log_folder)
    assert [(one["actor"], one["details"]) for one in found] == [
        (os_user(), {"kind": kind, "user": "anna"})
        for kind in ("account added", "new link made", "account closed")
    ]


def test_a_person_of_a_provider_is_named_by_number(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    add = (*ACCOUNT, "add", "anna", "--role", "analyst", "--home", str(home.path))
    (home.path / "console").mkdir(0o700)
    (home.path / "console" / "provider.toml").write_text(
        'issuer = "https://login.example"\nclient_id = "f"\nclient_secret_file = "s"\n'
        'roles = { staff = "analyst" }\n'
    )
    status, _, said = typed(capsys, *add)
    assert (status, "--sub: expected" in said) == (2, True)
    status, out, _ = typed(capsys, *add, "--sub", "8f1c")
    assert (status, out) == (0, "anna comes in by the identity provider\n")


@pytest.mark.promises
def test_plain_words_where_it_cannot_start(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--home", str(home.path))
    status, _, said = typed(capsys, "console", *at)
    assert status == 2
    assert "account add NAME" in said
    typed(capsys, *ACCOUNT, "add", "anna", "--role", "analyst", *at)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used = f"127.0.0.1:{taken.getsockname()[1]}"
        status, _, said = typed(capsys, "console", *at, "--listen", used)
    assert (status, "Address already in use" in said) == (2, True)
    for listen in ("0.0.0.0:8700", "192.0.2.1:8700", "bank.example:8700", "8700"):
        assert typed(capsys, "console", *at, "--listen", listen)[0] == 2


@pytest.mark.parametrize(
    "at", ["bank.example", "ftp://x", "http://bank.example", "https://x/y", "https://x?y=1"]
)
def test_an_address_is_one(at: str) -> None:
    with pytest.raises(UsageError, match="--at"):
        address_of("127.0.0.1:8700", at)
    with pytest.raises(UsageError, match="--at"):
        address_of("unix:/run/x", "")


def test_a_console_serves_until_it_is_told_to_stop(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real process: enrol by the link, be logged in, stop by ctrl-C with status 0."""
    listen = f"127.0.0.1:{free_port()}"
    at = ("--home", str(home.path), "--listen", listen)
    link = typed(capsys, *ACCOUNT, "add", "anna", "--role", "analyst", *at)[1].split("link=")[1][
        :43
    ]
    command = [sys.executable, "-m", "fieldfare", "console", *at]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(3)]
            assert "nobody has enrolled yet" in lines[0]
            assert f"http://{listen} " in lines[2]
            with httpx.Client(base_url=f"http://{listen}", follow_redirects=True) as browser:
                page = browser.get(f"/enrol?link={link}")
                found = TOKEN.search(page.text)
                assert found
                code = code_of(secret_on(page.text), utc_now().timestamp())
                fields = {"token": found[1], "link": link, "code": code}
                both = {"password": PASSWORD, "again": PASSWORD}
                assert "logged in as anna" in browser.post("/enrol", data=fields | both).text
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert [one["details"]["kind"] for one in journals.logged(home.log_folder)] == [
        "account added",
        "enrolled",
        "logged in",
    ]
