"""The process that sends an institution's notices: what it opens, and how it ends."""

import signal
import subprocess
import sys
from typing import Final

import pytest
from tests.support.homes.institutions import NAMES, Coordinator, home_study
from tests.support.network.receivers import web_server
from tests.support.system.processes import until

from fieldfare.client.home.layout import Home
from fieldfare.shared.cli.root import run
from fieldfare.shared.system.private_files import create_private

NAME: Final = NAMES[0]
PATIENCE: Final = 60.0
# Writes down every file that is opened, then is the process.
WATCHED: Final = """
import os, sys
seen = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def hook(event, given):
    if event in {"open", "sqlite3.connect"}:
        os.write(seen, f"{given[0]}\\n".encode())
sys.addaudithook(hook)
from fieldfare.client.oversight.notices_process import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def home(coordinator: Coordinator) -> Home:
    coordinator.receive(home_study())
    return coordinator.homes[NAME]


def settings(home: Home, url: str) -> None:
    create_private(home.keys / "hook", b"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
    home.notices.write_text(
        f'[[webhook]]\nname = "tickets"\nurl = "{url}"\nsecret_file = "keys/hook"\n'
    )


def test_it_opens_no_record_no_ledger_and_no_key(home: Home) -> None:
    opened = home.path.with_name("opened")
    with web_server() as hook:
        settings(home, hook.url)
        process = subprocess.Popen(
            [sys.executable, "-c", WATCHED, opened, home.path, home.admin_socket],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        until(lambda: len(hook.posted) == 1, PATIENCE)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert b'"text":"A study waits for a decision."' in hook.posted[0][2]
    mine = {line for line in opened.read_text().splitlines() if str(home.path) in line}
    names = {line.removeprefix("file:").partition(str(home.path))[2] for line in mine}
    allowed = ("/notices", "/studies/", "/log/", "/keys/hook", "/node.toml", "/run/")
    assert {name for name in names if not name.startswith(allowed)} == set()
    assert "/keys/hook" in names
    assert process.stderr is not None
    assert process.stderr.read().decode() == "fieldfare: notices: webhook tickets: 1 notice sent\n"
    process.stderr.close()
    assert process.stdin is not None
    process.stdin.close()


def test_it_ends_with_its_parent(home: Home) -> None:
    settings(home, "http://127.0.0.1:1/")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fieldfare.client.oversight.notices_process",
            home.path,
            home.admin_socket,
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    until(home.outbox.exists, PATIENCE)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(PATIENCE) == 0


def test_addresses_are_tried_and_notices_listed(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    with web_server() as hook:
        settings(home, hook.url)
        assert run(["notices", "test", "--home", str(home.path)]) == 0
        assert capsys.readouterr().out == "webhook tickets: sent\n"
        hook.status = 500
        assert run(["notices", "test", "--home", str(home.path)]) == 1
        assert capsys.readouterr().out == "webhook tickets: not sent: it answered 500\n"
    assert run(["notices", "list", "--home", str(home.path)]) == 0
    assert capsys.readouterr().out == "no notice yet\n"


def test_without_settings_it_is_said_what_to_write(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["notices", "test", "--home", str(home.path)]) == 2
    assert "expected who is told, found no such file" in capsys.readouterr().err


def test_settings_that_others_may_write_are_refused(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    settings(home, "http://127.0.0.1:1/")
    home.notices.chmod(0o622)
    assert run(["notices", "list", "--home", str(home.path)]) == 2
    assert "chmod 600" in capsys.readouterr().err
