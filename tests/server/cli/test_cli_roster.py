"""`coordinator members` and `coordinator roster` as a user calls them."""

import io
import json
from pathlib import Path

import pytest
from tests.support.homes.papers import Applicant

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.server.members.enrolment import examine, keep
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.identity import fingerprint, node_key_fingerprint
from fieldfare.shared.protocol.signed_files import open_roster, read_roster


def enrol(home: CoordinatorHome, name: str) -> Applicant:
    applicant = Applicant(name, home, contact="Ann")
    keep(home, examine(home, applicant.enrolment(), "sent"))
    return applicant


def call(home: CoordinatorHome, *arguments: str) -> int:
    return run(["coordinator", *arguments, "--home", str(home.path)])


def test_members_are_shown_with_their_keys_and_place(
    coordinator_home: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(coordinator_home, "members") == 0
    assert "no institution is enrolled yet" in capsys.readouterr().out
    bank = enrol(coordinator_home, "bank-a")
    assert call(coordinator_home, "members") == 0
    out = capsys.readouterr().out
    assert "bank-a  (not on the roster yet)  Ann" in out
    assert fingerprint(bytes.fromhex(bank.public)) in out
    assert node_key_fingerprint(bank.node) in out
    assert "The roster is behind" in out
    assert call(coordinator_home, "roster", "--multiplicity", "1") == 0
    capsys.readouterr()
    assert call(coordinator_home, "members") == 0
    out = capsys.readouterr().out
    assert "bank-a  (on the roster)" in out
    assert "behind" not in out
    keep(coordinator_home, examine(coordinator_home, bank.rotate(), "sent"))
    assert call(coordinator_home, "members") == 0
    assert "on the roster under its former key" in capsys.readouterr().out
    keep(coordinator_home, examine(coordinator_home, bank.revocation(), "sent"))
    assert call(coordinator_home, "members") == 0
    assert "identity taken back, STILL ON THE ROSTER" in capsys.readouterr().out


def test_members_for_programs(
    coordinator_home: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(coordinator_home, "members", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "members": [],
        "roster": None,
        "keys_together": True,
    }
    bank = enrol(coordinator_home, "bank-a")
    call(coordinator_home, "roster", "--multiplicity", "1")
    capsys.readouterr()
    assert call(coordinator_home, "members", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["roster"] == 1
    (member,) = found["members"]
    assert member == {
        "institution": "bank-a",
        "identity": bank.public,
        "node": bank.node,
        "contact": "Ann",
        "revoked": False,
        "standing": "on the roster",
    }


def test_a_roster_is_published_once_for_each_change(
    coordinator_home: CoordinatorHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank, out = enrol(coordinator_home, "bank-a"), tmp_path / "roster.signed"
    assert call(coordinator_home, "roster", "--multiplicity", "2", "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "published version 1, members: 1, M = 2" in said
    assert fingerprint(bytes.fromhex(bank.public)) in said
    assert "institution roster accept" in said
    assert open_roster(read_roster(out), roster_public(coordinator_home)).multiplicity == 2
    first = out.read_bytes()
    assert call(coordinator_home, "roster", "--out", str(out)) == 0  # the same bytes again
    assert "nothing changed since version 1" in capsys.readouterr().out
    assert out.read_bytes() == first
    enrol(coordinator_home, "bank-b")
    assert call(coordinator_home, "roster", "--out", str(out)) == 0  # an earlier one is replaced
    assert "published version 2, members: 2, M = 2" in capsys.readouterr().out
    assert open_roster(read_roster(out), roster_public(coordinator_home)).version == 2


def test_nothing_is_published_where_the_copy_would_overwrite_something(
    coordinator_home: CoordinatorHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(coordinator_home, "bank-a")
    (tmp_path / "mine").write_text("mine")
    for path in (tmp_path / "mine", tmp_path):
        assert call(coordinator_home, "roster", "--out", str(path)) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "mine"
    assert not coordinator_home.roster.exists()


def test_nobody_and_wrong_numbers_are_refused(
    coordinator_home: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(coordinator_home, "roster") == 2
    assert "coordinator enrol FILE" in capsys.readouterr().err
    enrol(coordinator_home, "bank-a")
    for option in (["--multiplicity", "0"], ["--multiplicity", "65"]):
        assert call(coordinator_home, "roster", *option) == 2
    assert not coordinator_home.roster.exists()


def test_the_multiplicity_is_asked_for_and_never_taken_in_silence(
    coordinator_home: CoordinatorHome,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enrol(coordinator_home, "bank-a")
    monkeypatch.setattr("sys.stdin", io.StringIO("2\n"))
    assert call(coordinator_home, "roster") == 2  # no terminal: nobody was asked
    assert "--multiplicity: expected the number of institutions" in capsys.readouterr().err
    assert not coordinator_home.roster.exists()
    terminal = io.StringIO("none\n2\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert call(coordinator_home, "roster") == 0
    said = capsys.readouterr().out
    assert "somebody known to two has epsilon 2.15 where 1 is promised" in said
    assert "published version 1, members: 1, M = 2" in said
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    enrol(coordinator_home, "bank-b")
    assert call(coordinator_home, "roster") == 0  # as before: one constant
    assert "members: 2, M = 2" in capsys.readouterr().out
