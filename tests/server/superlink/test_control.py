from pathlib import Path

import pytest
from tests.support.network.coordinator import new_home

from fieldfare.server.home.settings import load_settings
from fieldfare.server.superlink.control import control_target, read_token
from fieldfare.shared.errors import KeysError


def test_a_home_says_where_its_superlink_is_and_what_opens_it(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    target = control_target(home)
    assert target.address == f"127.0.0.1:{load_settings(home).local_port}"
    assert target.authority == home.authority.read_bytes()
    assert target.token == home.control_token.read_text()
    assert len(target.token) == 64


def test_a_token_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text("secret\n")
    assert read_token(path) == "secret"


def test_a_token_that_others_can_read_is_none(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    home.control_token.chmod(0o644)
    with pytest.raises(KeysError, match="expected mode 0600"):
        control_target(home)
    home.control_token.unlink()
    with pytest.raises(KeysError, match="expected a readable file"):
        control_target(home)
