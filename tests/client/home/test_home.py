import os
import stat
from pathlib import Path

import pytest

from fieldfare.client.home.layout import Home
from fieldfare.shared.errors import UsageError

STUDY = "5" * 64


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home.create(tmp_path / "deep" / "home")
    made.settings.touch(0o600)
    return made


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_home_is_private_and_its_sockets_folder_is_the_groups_to_enter(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        home = Home.create(tmp_path / "home")
    finally:
        os.umask(before)
    assert mode_of(home.path) == 0o700
    modes = {folder.name: mode_of(folder) for folder in home.folders}
    assert modes.pop("run") == 0o750
    assert modes == dict.fromkeys(["keys", "rotations", "studies", "ledger", "log"], 0o700)


def test_every_path_is_where_the_layout_says() -> None:
    home = Home(Path("/h"))
    paths = (
        *(home.settings, home.policy, home.coordinator_key, home.roster),
        *(home.identity_key, home.identity_public, home.node_key, home.node_public),
        *(home.holdout_key, home.study(STUDY), home.ledger, home.log),
        *(home.custodian_socket, home.admin_socket, home.rotations),
        *(home.models, home.model(STUDY, "2025-06-01.a_b")),
    )
    assert [str(path.relative_to("/h")) for path in paths] == [
        *("institution.toml", "policy.toml", "coordinator.pub", "roster.signed"),
        *("keys/identity.pem", "keys/identity.pub", "keys/node", "keys/node.pub"),
        *("keys/holdout", f"studies/{STUDY}.signed", "ledger/ledger.sqlite", "log/log.sqlite"),
        *("run/custodian.sock", "run/admin.sock", "keys/rotations"),
        *("models", f"models/{STUDY}/2025-06-01.a_b"),
    ]
    assert home.resolve("a/b.csv") == Path("/h/a/b.csv")
    assert home.resolve("/a/b.csv") == Path("/a/b.csv")


@pytest.mark.parametrize("name", ["", "../roster", "A" * 64, "5" * 63, "5" * 64 + "/x", "5" * 65])
def test_a_name_from_outside_never_becomes_a_path(name: str) -> None:
    with pytest.raises(UsageError, match="study id"):
        Home(Path("/h")).study(name)
    with pytest.raises(UsageError, match="study id"):
        Home(Path("/h")).model(name, "run")


@pytest.mark.parametrize("run", ["", ".", "..", ".hidden", "a/b", "a\0", "a\n", "ä", "a" * 65])
def test_a_run_from_outside_never_becomes_a_path(run: str) -> None:
    with pytest.raises(UsageError, match="run id"):
        Home(Path("/h")).model(STUDY, run)


def test_models_are_no_ones_business_and_a_home_without_them_opens(home: Home) -> None:
    assert not home.models.exists()
    Home.open(home.path)
    home.models.mkdir(0o700)
    Home.open(home.path)
    home.models.chmod(0o750)
    with pytest.raises(UsageError, match="models"):
        Home.open(home.path)


@pytest.mark.parametrize(
    ("name", "mode", "remedy"),
    [
        ("", 0o750, "chmod 700"),
        ("", 0o701, "chmod 700"),
        ("keys", 0o705, "chmod 700"),
        ("ledger", 0o770, "chmod 700"),
        ("run", 0o751, "chmod 750"),
        ("run", 0o770, "chmod 750"),
        ("keys/identity.pem", 0o640, "chmod 600"),
        ("keys/node", 0o604, "chmod 600"),
        ("keys/holdout", 0o660, "chmod 600"),
        ("policy.toml", 0o620, "chmod 600"),
        ("institution.toml", 0o602, "chmod 600"),
        ("coordinator.pub", 0o666, "chmod 600"),
        ("roster.signed", 0o660, "chmod 600"),
        ("keys/identity.pub", 0o620, "chmod 600"),
    ],
)
def test_what_others_can_reach_is_refused_with_the_remedy(
    home: Home, name: str, mode: int, remedy: str
) -> None:
    path = home.path / name
    if not path.exists():
        path.touch()
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"found {mode:04o}: {remedy} {path}"):
        Home.open(home.path)


@pytest.mark.parametrize("name", ["policy.toml", "keys/identity.pub", "keys/node.pub"])
def test_what_is_no_secret_may_be_read(home: Home, name: str) -> None:
    (home.path / name).touch()
    (home.path / name).chmod(0o644)
    assert Home.open(home.path) == home


def test_a_sockets_folder_may_be_closed_to_the_group(home: Home) -> None:
    home.run.chmod(0o700)
    assert Home.open(home.path) == home
