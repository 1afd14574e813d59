"""`institution join` as a user calls it: through the root command."""

import io
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.coordinators import found
from tests.support.homes.journals import logged
from tests.support.homes.papers import key_called

from fieldfare.client.home.keys import identity_fingerprint, public_identity
from fieldfare.client.home.layout import NODE_FILE, Home
from fieldfare.client.node.settings import AUTHORITY_FILE
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.server.home.roster_key import load_roster_key
from fieldfare.server.members.publication import invite
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.identity import (
    fingerprint,
    open_enrolment,
    public_hex,
    sign_invitation,
)
from fieldfare.shared.protocol.signed_files import read_signed


@pytest.fixture
def coordinator(tmp_path: Path) -> CoordinatorHome:
    made = found(tmp_path / "coordinator")
    invite(made, load_roster_key(made, None))
    return made


ENROLMENT: Final = "bank-a.enrolment"  # by its id: files of several do not collide


def spoken(coordinator: CoordinatorHome) -> str:
    return fingerprint(bytes.fromhex(roster_public(coordinator)))


def join(home: Home, file: Path, *options: str) -> int:
    return run(["institution", "join", str(file), "--home", str(home.path), *options])


def answered(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def untouched(home: Home) -> bool:
    written = (home.path / name for name in (NODE_FILE, AUTHORITY_FILE, ENROLMENT))
    return not home.coordinator_key.exists() and not any(path.exists() for path in written)


def test_a_person_compares_the_fingerprint_before_it_is_pinned(
    home: Home,
    coordinator: CoordinatorHome,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered(monkeypatch, "n\n")
    assert join(home, coordinator.invitation) == 1
    out = capsys.readouterr().out
    assert f"coordinator  {spoken(coordinator)}" in out
    assert "Example coordinator at coordinator.example.org:8443" in out
    assert "nothing was pinned" in out
    assert untouched(home)
    answered(monkeypatch, "y\n")
    assert join(home, coordinator.invitation, "--contact", "Bo") == 0
    out = capsys.readouterr().out
    assert f"identity     {identity_fingerprint(home)}" in out
    assert f"institution roster accept FILE --home {home.path}" in out
    assert home.coordinator_key.read_text().strip() == roster_public(coordinator)
    body = open_enrolment(read_signed(home.path / ENROLMENT))
    assert (body.identity, body.contact) == (public_identity(home), "Bo")
    (entry,) = logged(home.log_folder)
    assert entry["details"] == {"kind": "coordinator", "fingerprint": roster_public(coordinator)}


def test_a_fingerprint_that_was_said_aloud_is_compared_for_the_person(
    home: Home, coordinator: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (fingerprint(b"x"), spoken(coordinator)[:40], "0"):
        assert join(home, coordinator.invitation, "--fingerprint", wrong) == 2
        assert join(home, coordinator.invitation, "--fingerprint", wrong, "--yes") == 2
        assert "nothing was pinned" in capsys.readouterr().err
    assert untouched(home)
    assert (
        join(home, coordinator.invitation, "--fingerprint", spoken(coordinator).replace(" ", ""))
        == 0
    )


def test_another_coordinator_never_takes_the_pinned_ones_place(
    home: Home, coordinator: CoordinatorHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert join(home, coordinator.invitation, "--yes") == 0
    before = {path: path.read_bytes() for path in home.path.rglob("*") if path.is_file()}
    other = found(tmp_path / "other")
    invite(other, load_roster_key(other, None))
    capsys.readouterr()
    assert join(home, other.invitation, "--yes") == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert spoken(coordinator) in err
    assert spoken(other) in err
    assert before == {path: path.read_bytes() for path in before}


def test_the_pinned_coordinators_next_invitation_asks_nothing(
    home: Home, coordinator: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert join(home, coordinator.invitation, "--yes") == 0
    text = coordinator.settings.read_text().replace(
        "coordinator.example.org:8443", "new.example.org:9000"
    )
    coordinator.settings.write_text(text)
    invite(coordinator, load_roster_key(coordinator, None))
    capsys.readouterr()
    assert join(home, coordinator.invitation) == 0
    assert "has to start again" in capsys.readouterr().out
    assert "new.example.org:9000" in (home.path / NODE_FILE).read_text()
    assert len(logged(home.log_folder)) == 1
    assert join(home, coordinator.invitation, "--fingerprint", fingerprint(b"x")) == 2


def test_who_pinned_by_hand_joins_without_being_asked(
    tmp_path: Path, coordinator: CoordinatorHome
) -> None:
    arguments = ["--home", str(tmp_path / "h"), "--id", "bank-b"]
    pinned = ["--coordinator-key", roster_public(coordinator)]
    assert run(["institution", "init", *arguments, *pinned]) == 0
    assert join(Home.open(tmp_path / "h"), coordinator.invitation) == 0


def test_wrong_input_is_one_line_and_changes_nothing(
    home: Home, coordinator: CoordinatorHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = invite(coordinator, load_roster_key(coordinator, None))
    thief = key_called("thief")
    stolen = body.model_copy(update={"roster_key": public_hex(thief)})
    good = coordinator.invitation.read_bytes()
    files = {
        "changed": good.replace(b"Example", b"Exampel"),
        "renamed": sign_invitation(stolen, thief).replace(
            public_hex(thief).encode(), body.roster_key.encode()
        ),
        "spaced": b" " + good,
        "nothing": b"",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert join(home, tmp_path / name, "--yes") == 2, name
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1), name
        assert name in err
    assert join(home, tmp_path / "nowhere", "--yes") == 2
    assert join(home, coordinator.invitation, "--yes", "--contact", "two\nlines") == 2
    (tmp_path / "mine").write_text("mine")
    assert join(home, coordinator.invitation, "--yes", "--out", str(tmp_path / "mine")) == 2
    assert (tmp_path / "mine").read_text() == "mine"
    assert untouched(home)


def test_the_enrolment_goes_where_it_is_wanted(
    home: Home, coordinator: CoordinatorHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bank-a.enrolment"
    for _ in range(2):  # the same again is no overwriting
        assert join(home, coordinator.invitation, "--yes", "--out", str(out)) == 0
    assert f"Send {out}" in capsys.readouterr().out
    assert open_enrolment(read_signed(out)).institution == "bank-a"


def test_an_identity_under_a_passphrase_needs_it(
    tmp_path: Path, coordinator: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery\n")
    passphrase.chmod(0o600)
    options = ["--passphrase-file", str(passphrase)]
    arguments = ["--home", str(tmp_path / "h"), "--id", "bank-b"]
    assert run(["institution", "init", *arguments, *options]) == 0
    made = Home.open(tmp_path / "h")
    assert join(made, coordinator.invitation, "--yes") == 2
    assert "passphrase" in capsys.readouterr().err
    assert untouched(made)
    assert join(made, coordinator.invitation, "--yes", *options) == 0
