"""The commands of the roster key: in the folder, on a stick, and on a machine of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.support.homes.coordinators import found
from tests.support.homes.papers import Applicant
from tests.support.system.tokens import Token

from fieldfare.server.cli.signing import CoordinatorKeys, parse_members, roster_of
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public, signing_public
from fieldfare.server.home.roster_key import LAST, load_roster_key
from fieldfare.server.members.publication import present_invitation
from fieldfare.server.members.roster import published_roster
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.signed_files import open_roster

ONLINE: Final = "correct horse battery"
OFFLINE: Final = "another one, for the stick"
ROSTER_KEY: Final = Ed25519PrivateKey.generate()
PUBLIC: Final = public_hex(Ed25519PrivateKey.generate())  # of an online key
KEYS: Final = [public_hex(Ed25519PrivateKey.generate()) for _ in range(2)]


def secret(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return str(path)


@pytest.fixture
def apart(tmp_path: Path) -> tuple[CoordinatorHome, Path]:
    """A home whose roster key is on a stick, each key with a passphrase of its own."""
    stick = tmp_path / "stick.pem"
    init = ["coordinator", "init", "Example", "--address", "coordinator.example.org:8443"]
    init += ["--passphrase-file", secret(tmp_path / "online", ONLINE)]
    init += ["--roster-passphrase-file", secret(tmp_path / "offline", OFFLINE)]
    init += ["--roster-key", str(stick), "--home", str(tmp_path / "coordinator")]
    assert run(init) == 0
    return CoordinatorHome.open(tmp_path / "coordinator"), stick


@pytest.fixture
def call(apart: tuple[CoordinatorHome, Path], tmp_path: Path) -> Callable[..., int]:
    """Run a command of this coordinator; with `offline`, with the stick in."""
    home, stick = apart

    def called(*words: str, offline: bool = False, at_home: bool = True) -> int:
        keys = ["--roster-key", str(stick), "--roster-passphrase-file", str(tmp_path / "offline")]
        more = (keys if offline else []) + (["--home", str(home.path)] if at_home else [])
        return run(["coordinator", *words, *more])

    return called


def enrol(home: CoordinatorHome, folder: Path, name: str) -> None:
    file = folder / f"{name}.enrolment"
    file.write_bytes(Applicant(name, home).enrolment())
    assert run(["coordinator", "enrol", str(file), "--yes", "--home", str(home.path)]) == 0


def test_with_the_stick_in_each_step_is_as_before(
    apart: tuple[CoordinatorHome, Path], call: Callable[..., int], tmp_path: Path
) -> None:
    home, stick = apart
    assert not home.roster_key.exists()
    assert b"ENCRYPTED" in stick.read_bytes()
    enrol(home, tmp_path, "bank-a")
    enrol(home, tmp_path, "bank-b")
    assert call("roster", "--multiplicity", "1", offline=True) == 0
    assert call("remove", "bank-b", "--yes", offline=True) == 0
    assert call("invitation", offline=True) == 0
    roster = published_roster(home)
    assert roster is not None
    assert (roster.version, roster.ids) == (2, ("bank-a",))
    assert (roster.coordinator, roster.roster_key) == (signing_public(home), roster_public(home))
    assert call("roster") == 2  # without the stick


def test_a_roster_is_signed_on_a_machine_without_the_home(
    apart: tuple[CoordinatorHome, Path],
    call: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home, stick = apart
    draft, back = str(tmp_path / "draft"), str(tmp_path / "back")
    enrol(home, tmp_path, "bank-a")
    assert call("roster", "--multiplicity", "2", "--draft", draft) == 0
    assert published_roster(home) is None
    assert call("sign", draft, "--out", back, "--yes", offline=True, at_home=False) == 0
    assert "bank-a" in capsys.readouterr().out
    assert call("roster", "--signed", draft) == 2  # it has no signature
    assert call("roster", "--signed", back) == 0
    assert call("roster", "--signed", back) == 0  # the same again
    roster = published_roster(home)
    assert roster is not None
    assert (roster.version, roster.multiplicity) == (1, 2)
    assert stick.with_name(stick.name + LAST).exists()
    assert call("roster", "--draft", str(tmp_path / "more")) == 2  # nothing changed
    # The next one shows what is new, and is not taken once members have changed again.
    enrol(home, tmp_path, "bank-b")
    draft, back = str(tmp_path / "draft-2"), str(tmp_path / "back-2")
    assert call("roster", "--draft", draft) == 0
    assert call("remove", "bank-a", "--yes", "--draft") == 0
    capsys.readouterr()
    assert call("sign", draft, "--out", back, "--yes", offline=True, at_home=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("new")] == ["bank-b"]
    assert call("roster", "--signed", back) == 2
    assert "members changed meanwhile" in capsys.readouterr().err


def test_an_invitation_is_signed_there_too(
    apart: tuple[CoordinatorHome, Path], call: Callable[..., int], tmp_path: Path
) -> None:
    home, _ = apart
    draft, back = str(tmp_path / "draft"), str(tmp_path / "back")
    text = home.settings.read_text().replace("org:8443", "org:9443")
    home.settings.write_text(text)
    assert call("invitation", "--draft", draft) == 0
    assert call("sign", draft, "--out", back, "--yes", offline=True, at_home=False) == 0
    assert call("invitation", "--signed", draft) == 2
    assert call("invitation", "--signed", back) == 0
    found = present_invitation(home)
    assert found is not None
    assert found.address == "coordinator.example.org:9443"
    home.settings.write_text(text.replace("org:9443", "org:9444"))
    assert call("invitation", "--signed", back) == 2  # of other settings


def test_a_draft_for_another_key_and_no_draft_are_not_signed(
    apart: tuple[CoordinatorHome, Path],
    call: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other, home = str(tmp_path / "other"), found(tmp_path / "stranger")
    assert run(["coordinator", "invitation", "--draft", other, "--home", str(home.path)]) == 0
    (tmp_path / "none").write_text('{"roster": "x"}')
    for file in (other, str(tmp_path / "none")):
        words = ("sign", file, "--out", str(tmp_path / "signed"), "--yes")
        assert call(*words, offline=True, at_home=False) == 2
    assert not (tmp_path / "signed").exists()
    assert "another" in capsys.readouterr().err
    assert run(["coordinator", "sign", other, "--out", "x"]) == 2
    assert "--roster-key" in capsys.readouterr().err


def test_a_new_online_key_comes_with_a_new_roster(
    apart: tuple[CoordinatorHome, Path],
    call: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home, _ = apart
    enrol(home, tmp_path, "bank-a")
    assert call("roster", "--multiplicity", "1", offline=True) == 0
    home.study("ab" * 32).write_bytes(b"signed by the former key")
    before, pinned = signing_public(home), roster_public(home)
    capsys.readouterr()
    assert call("renew", "online-key", "--passphrase-file", str(tmp_path / "online")) == 0
    assert "abababababab was signed by the former key: propose it again" in capsys.readouterr().out
    assert (signing_public(home) != before, roster_public(home)) == (True, pinned)
    assert call("members") == 0
    assert "The roster is behind" in capsys.readouterr().out
    assert call("roster", offline=True) == 0
    roster = published_roster(home)
    assert roster is not None
    assert (roster.version, roster.coordinator) == (2, signing_public(home))
    assert not list(home.studies.glob("*.signed"))


def test_init_says_where_the_keys_lie_and_overwrites_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init = ["coordinator", "init", "Example", "--address", "coordinator.example.org:8443"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert run([*init, "--home", str(one)]) == 0
    assert "lies beside the online key" in capsys.readouterr().out
    assert run(["coordinator", "members", "--home", str(one)]) == 0
    stick = CoordinatorHome.open(one).roster_key
    assert run([*init, "--home", str(two), "--roster-key", str(stick)]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert not two.exists()
    load_roster_key(CoordinatorHome.open(one), None)


def test_the_roster_key_may_be_in_a_token(
    token: Token, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose PIN is never tried with the online key's passphrase: wrong ones lock it."""
    home, online = str(tmp_path / "coordinator"), secret(tmp_path / "online", ONLINE)
    pin = ["--roster-passphrase-file", str(token.pin_file)]
    init = ["coordinator", "init", "Example", "--address", "coordinator.example.org:8443"]
    init += ["--passphrase-file", online, "--roster-token", token.uri(), "--home", home]
    assert run([*init, *pin]) == 0
    assert "lies beside" not in capsys.readouterr().out
    opened = CoordinatorHome.open(tmp_path / "coordinator")
    assert opened.roster_key.read_bytes().startswith(b"pkcs11:")
    enrol(opened, tmp_path, "bank-a")
    asked = ["coordinator", "roster", "--multiplicity", "1", "--home", home]
    assert run([*asked, "--passphrase-file", online]) == 2
    assert run([*asked, *pin]) == 0
    roster = published_roster(opened)
    assert roster is not None
    assert roster.roster_key == roster_public(opened)


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "roster.pem"
    path.touch(mode=0o600)
    path.write_bytes(ROSTER_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def sign(pem: Path, out: Path, *arguments: str) -> int:
    words = ["coordinator", "sign", "--roster-key", str(pem), "--coordinator", PUBLIC]
    return run([*words, "--out", str(out), "--yes", *arguments])


def test_a_roster_of_members_is_signed_without_a_draft(
    pem: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = ["--member", f"bank b={KEYS[1]}", "--member", f"a={KEYS[0].upper()}"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert sign(pem, first, *members, "--version", "7", "--multiplicity", "2") == 0
    assert "roster version 7 (the first one of this key), M = 2" in capsys.readouterr().out
    roster = open_roster(first.read_bytes(), public_hex(ROSTER_KEY))
    assert [(one.id, one.key) for one in roster.members] == [("a", KEYS[0]), ("bank b", KEYS[1])]
    assert (roster.version, roster.multiplicity, roster.coordinator) == (7, 2, PUBLIC)
    # A key signs one history: no other roster of that version, and the next one follows it.
    assert sign(pem, second, *members[:2], "--version", "7") == 2
    assert "expected a successor of version 7" in capsys.readouterr().err
    assert sign(pem, second, *members[:2], "--version", "8") == 0
    assert open_roster(second.read_bytes(), public_hex(ROSTER_KEY)).previous == roster.hash


@pytest.mark.parametrize(
    "members",
    [
        [],
        ["bank-a"],
        [f"={KEYS[0]}"],
        ["bank-a="],
        ["bank-a=12"],
        [f"a={KEYS[0]}", f"a={KEYS[1]}"],
        [f"a={KEYS[0]}", f"b={KEYS[0]}"],
        [f"coordinator={KEYS[0]}"],
        [f"coordinator-roster={KEYS[0]}"],
    ],
    ids=["none", "no key", "no id", "empty", "short", "id twice", "key twice", "online", "roster"],
)
def test_what_is_no_roster_is_not_signed(
    members: list[str], pem: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert sign(pem, out, *[word for one in members for word in ("--member", one)]) == 2
    assert not out.exists()
    assert capsys.readouterr().err.startswith("fieldfare: ")


def test_a_roster_key_that_others_may_read_signs_nothing(pem: Path, tmp_path: Path) -> None:
    pem.chmod(0o644)
    assert sign(pem, tmp_path / "out", "--member", f"a={KEYS[0]}") == 2
    assert not (tmp_path / "out").exists()


def test_an_id_may_hold_an_equals_sign() -> None:
    assert parse_members([f"a=b={KEYS[0]}"]) == [("a=b", KEYS[0])]


@pytest.mark.parametrize(
    "keys",
    [(KEYS[0], PUBLIC), (PUBLIC, KEYS[0]), (PUBLIC, PUBLIC)],
    ids=["online", "roster", "one for both"],
)
def test_no_two_parties_have_one_key(keys: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="key of its own"):
        roster_of([("a", KEYS[0])], keys=CoordinatorKeys(*keys), version=1, multiplicity=1)
