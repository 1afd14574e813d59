"""`coordinator enrol` and `coordinator remove` as a user calls them; no SuperLink runs."""

import io
import re
from pathlib import Path

import pytest
from tests.support.homes.papers import Applicant, key_called, node_called
from tests.support.system.ports import free_port

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.enrolment import enrolled, members
from fieldfare.server.members.roster import published_roster
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.identity import fingerprint, node_key_fingerprint


@pytest.fixture(autouse=True)
def _nobody_listens(coordinator_home: CoordinatorHome) -> None:
    text = coordinator_home.settings.read_text()
    text = text.replace("local_port = 8001", f"local_port = {free_port()}")
    coordinator_home.settings.write_text(text)


@pytest.fixture
def bank(coordinator_home: CoordinatorHome) -> Applicant:
    return Applicant("bank-a", coordinator_home, contact="Ann")


def call(home: CoordinatorHome, *arguments: str) -> int:
    return run(["coordinator", *arguments, "--home", str(home.path)])


def send(home: CoordinatorHome, content: bytes, *options: str) -> int:
    file = home.path.parent / "sent.json"
    file.write_bytes(content + b"\n")
    return call(home, "enrol", str(file), *options)


def answered(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_person_compares_the_fingerprint_before_anything_is_kept(
    coordinator_home: CoordinatorHome,
    bank: Applicant,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered(monkeypatch, "n\n")
    assert send(coordinator_home, bank.enrolment()) == 1
    out = capsys.readouterr().out
    assert "bank-a: a new member" in out
    for said in (fingerprint(bytes.fromhex(bank.public)), node_key_fingerprint(bank.node), "Ann"):
        assert said in out
    assert "nothing was changed" in out
    assert members(coordinator_home) == ()
    answered(monkeypatch, "y\n")
    assert send(coordinator_home, bank.enrolment()) == 0
    out = capsys.readouterr().out
    assert "Next: fieldfare coordinator roster" in out
    assert "coordinator start" in out  # the SuperLink is told when it starts
    assert [member.institution for member in enrolled(coordinator_home)] == ["bank-a"]


def test_several_files_are_taken_one_after_the_other(
    coordinator_home: CoordinatorHome,
    bank: Applicant,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = Applicant("bank-b", coordinator_home)
    files = [tmp_path / "bank-a.enrolment", tmp_path / "bank-b.enrolment"]
    for file, one in zip(files, (bank, other), strict=True):
        file.write_bytes(one.enrolment())
    (tmp_path / "broken").write_text("nonsense")
    names = [str(file) for file in files]
    spoken = fingerprint(bytes.fromhex(bank.public))
    assert call(coordinator_home, "enrol", *names, "--fingerprint", spoken) == 2
    assert "expected one file beside it, found 2" in capsys.readouterr().err
    assert members(coordinator_home) == ()
    broken = str(tmp_path / "broken")
    assert call(coordinator_home, "enrol", names[0], broken, names[1], "--yes") != 0
    captured = capsys.readouterr()
    assert "broken" in captured.err
    assert "coordinator start" in captured.out  # bank-a is in, whoever comes after it
    assert [one.institution for one in enrolled(coordinator_home)] == ["bank-a"]
    assert call(coordinator_home, "enrol", *names, "--yes") == 0
    assert [one.institution for one in enrolled(coordinator_home)] == ["bank-a", "bank-b"]


def test_a_fingerprint_that_was_said_aloud_is_compared_for_the_person(
    coordinator_home: CoordinatorHome, bank: Applicant, capsys: pytest.CaptureFixture[str]
) -> None:
    right = fingerprint(bytes.fromhex(bank.public))
    wrong = fingerprint(bytes.fromhex("ab" * 32))
    for other in (wrong, right[:39], right + " 0000", "-"):
        assert send(coordinator_home, bank.enrolment(), "--fingerprint", other) == 2
        assert "nothing was changed" in capsys.readouterr().err.replace("\nfieldfare: ", " ")
        # not even --yes: who gives a fingerprint wants it compared
        assert send(coordinator_home, bank.enrolment(), "--fingerprint", other, "--yes") == 2
    assert members(coordinator_home) == ()
    spelled = right.upper().replace(" ", ":")
    assert send(coordinator_home, bank.enrolment(), "--fingerprint", spelled) == 0
    assert len(members(coordinator_home)) == 1


def test_the_same_file_again_asks_nothing(
    coordinator_home: CoordinatorHome, bank: Applicant, capsys: pytest.CaptureFixture[str]
) -> None:
    assert send(coordinator_home, bank.enrolment(), "--yes") == 0
    capsys.readouterr()
    assert send(coordinator_home, bank.enrolment()) == 0
    assert "nothing changed" in capsys.readouterr().out


def test_refusals_are_one_line_and_status_2(
    coordinator_home: CoordinatorHome, bank: Applicant, capsys: pytest.CaptureFixture[str]
) -> None:
    send(coordinator_home, bank.enrolment(), "--yes")
    id_taken, key_taken = (
        Applicant("bank-a", coordinator_home),
        Applicant("bank-b", coordinator_home),
    )
    id_taken.identity, key_taken.identity = key_called("thief"), bank.identity
    node_taken = Applicant("bank-c", coordinator_home)
    node_taken.node = bank.node
    good = Applicant("bank-d", coordinator_home)
    refused = {
        "signature": good.enrolment().replace(b'"contact":""', b'"contact":"x"'),
        "hub": good.enrolment(hub="Other coordinator"),
        "coordinator": good.enrolment(roster_key="ab" * 32),
        "id": id_taken.enrolment(),
        "key": key_taken.enrolment(),
        "node": node_taken.enrolment(),
        "nothing": b"",
        "binary": b"\x00\xff",
    }
    for name, content in refused.items():
        capsys.readouterr()
        assert send(coordinator_home, content, "--yes") == 2, name
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1), name
        assert "sent.json" in err
    assert call(coordinator_home, "enrol", "/nowhere", "--yes") == 2
    assert [member.institution for member in members(coordinator_home)] == ["bank-a"]


def test_statements_on_keys_are_taken(
    coordinator_home: CoordinatorHome, bank: Applicant, capsys: pytest.CaptureFixture[str]
) -> None:
    send(coordinator_home, bank.enrolment(), "--yes")
    call(coordinator_home, "roster", "--multiplicity", "1")
    statement = bank.rotate()
    capsys.readouterr()
    assert send(coordinator_home, statement, "--fingerprint", fingerprint(b"x")) == 2
    assert send(coordinator_home, statement, "--yes") == 0
    out = capsys.readouterr().out
    assert "bank-a: a new identity" in out
    assert fingerprint(bytes.fromhex(bank.public)) in out
    call(coordinator_home, "roster", "--multiplicity", "1")
    roster = published_roster(coordinator_home)
    assert roster is not None
    assert (roster.version, roster.members[0].key) == (2, bank.public)
    bank.node = node_called("another")
    assert (
        send(coordinator_home, bank.enrolment(), "--yes") == 0
    )  # no word of a roster: none is due
    capsys.readouterr()
    assert (
        send(coordinator_home, bank.revocation()) == 0
    )  # nothing to compare: the key itself says so
    assert "counts no more. Next: fieldfare coordinator roster" in capsys.readouterr().out
    assert enrolled(coordinator_home) == ()


def test_removing_publishes_a_roster_that_others_must_accept(
    coordinator_home: CoordinatorHome,
    bank: Applicant,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send(coordinator_home, bank.enrolment(), "--yes")
    send(coordinator_home, Applicant("bank-b", coordinator_home).enrolment(), "--yes")
    call(coordinator_home, "roster", "--multiplicity", "1")
    answered(monkeypatch, "n\n")
    capsys.readouterr()
    assert call(coordinator_home, "remove", "bank-a") == 1
    assert fingerprint(bytes.fromhex(bank.public)) in capsys.readouterr().out
    assert len(members(coordinator_home)) == 2
    assert call(coordinator_home, "remove", "bank-a", "--yes") == 0
    out = capsys.readouterr().out
    assert re.search(r"published version 2, members: 1", out)
    assert "until they accept it" in out
    roster = published_roster(coordinator_home)
    assert roster is not None
    assert roster.ids == ("bank-b",)
    assert call(coordinator_home, "remove", "bank-a", "--yes") == 2
    other = Applicant("bank-b", coordinator_home)
    send(coordinator_home, bank.enrolment(), "--yes")
    assert send(coordinator_home, other.revocation()) == 0  # still a member, on no new roster
    capsys.readouterr()
    assert call(coordinator_home, "remove", "bank-a", "--yes") == 0
    assert "No member is left" in capsys.readouterr().out


def test_removing_before_any_roster_says_so(
    coordinator_home: CoordinatorHome, bank: Applicant, capsys: pytest.CaptureFixture[str]
) -> None:
    send(coordinator_home, bank.enrolment(), "--yes")
    assert call(coordinator_home, "remove", "bank-a", "--yes") == 0
    assert "no roster was published yet" in capsys.readouterr().out


def test_somebody_elses_files_stay_as_they_are(
    coordinator_home: CoordinatorHome, bank: Applicant, tmp_path: Path
) -> None:
    send(coordinator_home, bank.enrolment(), "--yes")
    assert {path.name for path in tmp_path.iterdir()} == {"coordinator", "sent.json"}
