import os
import stat
from pathlib import Path

import pytest
from tests.support.homes.coordinators import found

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import is_token, together
from fieldfare.shared.errors import KeysError, UsageError
from fieldfare.shared.system.private_files import MAX_PRIVATE_BYTES

KEY = "5" * 64


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_everything_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        home = found(tmp_path / "deep" / "home")
    finally:
        os.umask(before)
    for path in (home.path, *home.path.rglob("*")):
        assert mode_of(path) == (0o700 if path.is_dir() else 0o600), path
    assert CoordinatorHome.open(home.path) == home


def test_every_path_is_where_the_layout_says() -> None:
    home = CoordinatorHome(Path("/h"))
    paths = (
        *(home.settings, home.signing_key, home.signing_public, home.authority),
        *(home.authority_key, home.server_certificate, home.server_key, home.control_token),
        *(home.runtime_token, home.enrolment("bank-a"), home.roster, home.study(KEY)),
        *(home.bundle_file, home.bundle_hash, home.superlink_database, home.runs_database),
        *(home.audit_log, home.invitation, home.run),
        *(home.rotation("bank-a", KEY), home.revocation("bank-a", KEY)),
    )
    assert [str(path.relative_to("/h")) for path in paths] == [
        *("coordinator.toml", "keys/signing.pem", "keys/signing.pub", "tls/authority.pem"),
        *("tls/authority.key", "tls/server.pem", "tls/server.key", "tokens/control"),
        *("tokens/runtime", "members/bank-a.enrolment", "roster.signed", f"studies/{KEY}.signed"),
        *("bundle/fieldfare.fab", "bundle.sha256", "state/superlink.sqlite", "state/runs.sqlite"),
        *("log/audit.jsonl", "invitation.json", "run"),
        *(f"members/bank-a.{KEY}.rotation", f"members/bank-a.{KEY}.revocation"),
    ]


@pytest.mark.parametrize(
    "name", ["..", ".", "a/b", "/etc/passwd", "a b", "é", "~x", "\u4e2d" * 64, ".hidden"]
)
def test_an_id_never_leads_out_of_the_folder_and_fits_a_file_name(name: str) -> None:
    home = CoordinatorHome(Path("/h"))
    path = home.rotation(name, KEY)
    assert path.parent == home.members
    assert len(path.name.encode()) < 255
    assert home.enrolment(name) != home.enrolment(name + "x")


@pytest.mark.parametrize("name", ["", "../roster", "A" * 64, "5" * 63, "5" * 64 + "/x"])
def test_a_hash_from_outside_never_becomes_a_path(name: str) -> None:
    home = CoordinatorHome(Path("/h"))
    with pytest.raises(UsageError, match="study id"):
        home.study(name)
    with pytest.raises(UsageError, match="key"):
        home.rotation("bank-a", name)


def test_nothing_is_overwritten(coordinator_home: CoordinatorHome) -> None:
    before = coordinator_home.signing_key.read_bytes()
    with pytest.raises(UsageError, match="nothing is overwritten"):
        CoordinatorHome.create(coordinator_home.path)
    assert coordinator_home.signing_key.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "mode", "remedy"),
    [
        ("", 0o750, "chmod 700"),
        ("keys", 0o705, "chmod 700"),
        ("tokens", 0o770, "chmod 700"),
        ("run", 0o750, "chmod 700"),
        ("keys/signing.pem", 0o640, "chmod 600"),
        ("tls/authority.key", 0o604, "chmod 600"),
        ("tls/server.key", 0o660, "chmod 600"),
        ("tokens/control", 0o640, "chmod 600"),
        ("tokens/runtime", 0o604, "chmod 600"),
        ("coordinator.toml", 0o620, "chmod 600"),
        ("tls/authority.pem", 0o602, "chmod 600"),
        ("roster.signed", 0o660, "chmod 600"),
        ("bundle.sha256", 0o660, "chmod 600"),
    ],
)
def test_what_others_can_reach_is_refused_with_the_remedy(
    coordinator_home: CoordinatorHome, name: str, mode: int, remedy: str
) -> None:
    path = coordinator_home.path / name
    if not path.exists():
        path.touch()
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"found {mode:04o}: {remedy} {path}"):
        CoordinatorHome.open(coordinator_home.path)


@pytest.mark.parametrize(("begin", "beside"), [(b"-----BEGIN", True), (b"pkcs11:", False)])
def test_where_the_keys_lie_is_told_without_the_private_one(
    begin: bytes, tmp_path: Path, *, beside: bool
) -> None:
    """A console says it, which holds no key: a file that no reader of keys takes shows it."""
    home = found(tmp_path / "home")
    with home.roster_key.open("wb") as file:
        file.write(begin + b"x" * MAX_PRIVATE_BYTES)
    assert ("lies beside" in together(home)) is beside


def test_a_roster_key_that_cannot_be_read_is_an_error_of_the_home(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(KeysError):
        is_token(tmp_path / "folder")
    assert not is_token(tmp_path / "none")


def test_a_roster_key_that_others_may_read_is_refused_where_its_place_is_told(
    tmp_path: Path,
) -> None:
    home = found(tmp_path / "home")
    home.roster_key.chmod(0o640)
    with pytest.raises(KeysError, match="expected mode 0600, found 0640"):
        together(home)
