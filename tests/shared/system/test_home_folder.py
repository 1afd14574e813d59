"""Both parties' folders keep to `HomeFolder`: private, never overwritten, checked when opened."""

import os
import stat
import tomllib
from pathlib import Path
from typing import Final

import pytest

from fieldfare.client.home.layout import Home
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.first_settings import fill_toml
from fieldfare.shared.system.home_folder import HomeFolder

HOMES: Final[dict[str, type[HomeFolder]]] = {"institution": Home, "coordinator": CoordinatorHome}


@pytest.fixture(params=list(HOMES))
def kind(request: pytest.FixtureRequest) -> type[HomeFolder]:
    return HOMES[str(request.param)]


@pytest.fixture
def home(kind: type[HomeFolder], tmp_path: Path) -> HomeFolder:
    """A finished home with every file of its layout, empty."""
    made = kind.create(tmp_path / "deep" / "home")
    for path in (*made.secret, *made.trusted, made.settings):
        if not path.exists() and path.suffix:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.touch(0o600)
    return made


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_its_folders_are_private_whatever_the_umask(
    kind: type[HomeFolder], tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        home = kind.create(tmp_path / "home")
    finally:
        os.umask(before)
    assert mode_of(home.path) == 0o700
    for folder in home.folders:
        assert mode_of(folder) == home.access(folder)[1]
        assert not mode_of(folder) & 0o027  # a group enters one folder at most, others none


def test_an_empty_folder_becomes_a_home_and_a_full_one_stays_as_it_is(
    kind: type[HomeFolder], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir(mode=0o755)
    assert mode_of(kind.create(tmp_path / "empty").path) == 0o700
    for name in ("file", "full/inside"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    for name in ("empty", "file", "full"):
        with pytest.raises(UsageError, match="nothing is overwritten"):
            kind.create(tmp_path / name)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["inside"]


def test_a_good_home_opens_by_a_relative_path_too(
    home: HomeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type(home).open(home.path) == home
    monkeypatch.chdir(home.path.parent)
    assert type(home).open(Path("home")) == home


def test_an_unfinished_home_is_none(kind: type[HomeFolder], tmp_path: Path) -> None:
    for path in (tmp_path / "none", kind.create(tmp_path / "unfinished").path):
        with pytest.raises(UsageError, match=f"fieldfare {kind.INIT}"):
            kind.open(path)


@pytest.mark.parametrize("name", ["", "../roster", "A" * 64, "5" * 63, "5" * 64 + "/x", "5" * 65])
def test_a_hash_from_outside_never_becomes_a_path(kind: type[HomeFolder], name: str) -> None:
    home = kind(Path("/h"))
    assert isinstance(home, Home | CoordinatorHome)
    with pytest.raises(UsageError, match="study id"):
        home.study(name)


@pytest.mark.parametrize(("mode", "secret"), [(0o640, True), (0o604, True), (0o620, False)])
def test_files_that_others_can_reach_are_refused_with_the_remedy(
    home: HomeFolder, mode: int, secret: bool
) -> None:
    for path in home.secret if secret else home.trusted:
        if path.is_file():
            before = mode_of(path)
            path.chmod(mode)
            with pytest.raises(UsageError, match=f"found {mode:04o}: chmod 600 {path}"):
                type(home).open(home.path)
            path.chmod(before)
    assert type(home).open(home.path) == home


@pytest.mark.parametrize("mode", [0o701, 0o770])
def test_folders_that_others_can_reach_are_refused_with_the_remedy(
    home: HomeFolder, mode: int
) -> None:
    for folder in (home.path, *home.folders):
        right = 0o700 if folder == home.path else home.access(folder)[1]
        folder.chmod(mode)
        with pytest.raises(UsageError, match=f"found {mode:04o}: chmod {right:o} {folder}\\b"):
            type(home).open(home.path)
        folder.chmod(right)


def test_every_problem_is_said_at_once(home: HomeFolder) -> None:
    (empty, *_) = (one for one in home.folders if one.name == "studies")
    home.path.chmod(0o755)
    empty.rmdir()
    home.settings.chmod(0o622)
    with pytest.raises(UsageError) as refused:
        type(home).open(home.path)
    assert len(str(refused.value).split("\n")) == 3
    assert f"mkdir -m 700 {empty}" in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_home_is_refused(home: HomeFolder) -> None:
    os.chown(home.path, 12345, 12345)
    with pytest.raises(UsageError, match="found uid 12345"):
        type(home).open(home.path)


# -- first settings: what `init` writes holds what it was given, whatever that is


def test_texts_are_quoted_and_comments_stay() -> None:
    superlink, bundles = 'x"\n[other]\\', ('"', "{superlink}")
    text = fill_toml(
        "fieldfare.client.institution", "node.toml", superlink=superlink, bundles=bundles
    )
    found = tomllib.loads(text)
    assert found["superlink"] == superlink
    assert found["bundles"] == list(bundles)
    assert "other" not in found
    assert text.startswith("# What the node")


def test_a_value_that_is_not_given_is_refused() -> None:
    with pytest.raises(KeyError, match="bundles"):
        fill_toml("fieldfare.client.institution", "node.toml", superlink="x:1")
