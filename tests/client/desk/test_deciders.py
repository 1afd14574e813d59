"""Who may decide in a browser: named on the terminal, with a factor that is shown once."""

import base64
import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.homes import journals

from fieldfare.client.desk.deciders import FILE, open_deciders
from fieldfare.client.home.layout import Home
from fieldfare.shared.cli.root import run
from fieldfare.shared.console.credentials import code_of
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system import processes
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def typed(capsys: pytest.CaptureFixture[str], home: Home, *words: str) -> tuple[int, str]:
    status = run(("institution", "desk", "person", *words, "--home", str(home.path)))
    found = capsys.readouterr()
    return status, found.out + found.err


def test_a_person_is_added_listed_and_removed(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(capsys, home, "list") == (0, "nobody\n")
    status, said = typed(capsys, home, "add", "otto")
    assert status == 0
    assert "decides = true" in said  # it does not count yet
    secret = re.search(r"^  ([A-Z2-7 ]+)$", said, re.MULTILINE)
    assert secret
    factor = base64.b32decode(secret[1].replace(" ", ""))
    status, said = typed(capsys, home, "list")
    assert said.splitlines()[0] == "otto"
    assert secret[1] not in said
    with open_deciders(home.desk, utc_now) as book:
        assert book.proves("otto", code_of(factor, utc_now().timestamp()))
    assert typed(capsys, home, "remove", "otto")[0] == 0
    assert typed(capsys, home, "remove", "otto")[0] == 2
    logged = [(one["actor"], one["details"]) for one in journals.logged(home.log_folder)]
    me = os_user()
    assert logged == [
        (me, {"kind": "decider added", "user": "otto"}),
        (me, {"kind": "decider removed", "user": "otto"}),
    ]
    assert stat.S_IMODE((home.desk / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(home.desk.stat().st_mode) == 0o700


def test_a_new_factor_ends_the_one_before(tmp_path: Path) -> None:
    given = iter((b"a" * 20, b"b" * 20))
    with open_deciders(tmp_path / "desk", lambda: NOW) as book:
        for _ in range(2):
            book.add("otto", lambda _: next(given), lambda: None)
        assert not book.proves("otto", code_of(b"a" * 20, NOW.timestamp()))
        assert book.proves("OTTO", code_of(b"b" * 20, NOW.timestamp()))
        assert book.find_name("OTTO") == "otto"


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "../x", "a\n"])
def test_a_name_is_an_accounts(tmp_path: Path, name: str) -> None:
    with (
        open_deciders(tmp_path / "desk", lambda: NOW) as book,
        pytest.raises(UsageError, match="NAME"),
    ):
        book.add(name, bytes, lambda: None)


def test_what_cannot_be_logged_counts_for_nothing(tmp_path: Path) -> None:
    def full() -> None:
        raise UsageError("the disk is full")

    with open_deciders(tmp_path / "desk", lambda: NOW) as book:
        with pytest.raises(UsageError, match="full"):
            book.add("otto", bytes, full)
        assert book.names() == []


@pytest.mark.parametrize("console", [True, False])
def test_start_runs_a_desk_where_there_is_a_console(
    home: Home, monkeypatch: pytest.MonkeyPatch, *, console: bool
) -> None:
    started: list[str] = []

    def supervised(children: Any, _say: object) -> int:
        started.extend(one.name for one in children)
        return 0

    monkeypatch.setattr(processes, "supervise_many", supervised)
    if console:
        home.console.mkdir(0o700)
    assert run(("institution", "start", "--custodian-only", "--home", str(home.path))) == 0
    assert started == ["custodian", *(["desk"] if console else [])]
