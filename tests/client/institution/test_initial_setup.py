from pathlib import Path

import pytest

from fieldfare.client.home.keys import load_holdout_key, load_identity, load_node_key
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy, pinned_coordinator
from fieldfare.client.home.settings import load_settings
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.shared.errors import FieldfareError, KeysError, UsageError

COORDINATOR = "c0" * 32


def test_a_founded_institution_opens_and_every_part_of_it_loads(tmp_path: Path) -> None:
    home = create_institution(tmp_path / "home", "bank-a", coordinator=COORDINATOR)
    assert Home.open(home.path) == home
    assert load_settings(home).id == "bank-a"
    assert pinned_coordinator(home, load_policy(home)) == COORDINATOR
    load_identity(home, None)
    load_node_key(home)
    load_holdout_key(home)


def test_files_are_0600_and_nothing_is_there_that_nobody_promised(tmp_path: Path) -> None:
    home = create_institution(tmp_path / "home", "bank-a", coordinator=COORDINATOR)
    files = {
        path.name: path.stat().st_mode & 0o777 for path in home.path.rglob("*") if path.is_file()
    }
    names = ["institution.toml", "policy.toml", "coordinator.pub", "identity.pem", "identity.pub"]
    assert files == dict.fromkeys([*names, "node", "node.pub", "holdout"], 0o600)


def test_two_institutions_share_no_key(tmp_path: Path) -> None:
    a, b = (create_institution(tmp_path / name, "x") for name in "ab")
    for name in ("identity.pem", "identity.pub", "node", "holdout"):
        assert (a.keys / name).read_bytes() != (b.keys / name).read_bytes()


def test_nothing_is_overwritten(home: Home) -> None:
    before = {path: path.read_bytes() for path in home.path.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="nothing is overwritten"):
        create_institution(home.path, "bank-b")
    assert before == {path: path.read_bytes() for path in home.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("institution", "coordinator"),
    [("coordinator", ""), ("", ""), ("bank", "c0"), ("bank", "C0" * 32), ("bank", "\n" * 64)],
)
def test_bad_input_makes_nothing(tmp_path: Path, institution: str, coordinator: str) -> None:
    with pytest.raises(FieldfareError):
        create_institution(tmp_path / "home", institution, coordinator=coordinator)
    assert not (tmp_path / "home").exists()


def test_a_home_left_half_made_does_not_open(tmp_path: Path, home: Home) -> None:
    home.settings.unlink()  # written last
    with pytest.raises(UsageError, match="institution init"):
        Home.open(home.path)


def test_no_passphrase_is_no_weak_one(tmp_path: Path) -> None:
    with pytest.raises(KeysError):
        create_institution(tmp_path / "home", "bank-a", passphrase=b"")
