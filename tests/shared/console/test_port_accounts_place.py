"""Both consoles keep to `AccountsPlace`: a private folder, each act in a log before it is done."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.coordinators import found

from fieldfare.client.console.place import ConsolePlace, console_place
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.server.console.place import CoordinatorPlace, coordinator_place
from fieldfare.shared.console.accounts import ConsoleAct
from fieldfare.shared.console.place import AccountsPlace
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.errors import UsageError

PLACES: Final[dict[str, type[AccountsPlace]]] = {
    "institution": ConsolePlace,
    "coordinator": CoordinatorPlace,
}
OPENS: Final[dict[str, Callable[..., AbstractContextManager[AccountsPlace]]]] = {
    "institution": console_place,
    "coordinator": coordinator_place,
}


@pytest.fixture(params=list(PLACES))
def party(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def own_home(party: str, tmp_path: Path) -> Path:
    if party == "coordinator":
        return found(tmp_path / "home").path
    return create_institution(tmp_path / "home", "bank-a").path


@pytest.fixture
def place(party: str, own_home: Path) -> Iterator[AccountsPlace]:
    with OPENS[party](own_home, None, os.urandom, make=True) as opened:
        yield opened


def log_of(home: Path) -> bytes:
    """All that the home holds outside the console's own folder and the keys."""
    files = sorted(path for path in home.rglob("*") if path.is_file())
    return b"".join(one.read_bytes() for one in files if "console" not in one.parts)


def test_it_opens_in_a_private_folder_of_its_own_and_says_whose_it_is(
    party: str, place: AccountsPlace, own_home: Path
) -> None:
    assert type(place) is PLACES[party]
    assert place.home == own_home
    assert place.folder == own_home / "console"
    assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
    assert place.name
    assert place.beside_keys


def test_without_accounts_it_says_how_the_first_one_is_made(party: str, own_home: Path) -> None:
    first = "fieldfare console account add NAME"
    with pytest.raises(UsageError, match=first), OPENS[party](own_home, None, os.urandom):
        pass


def test_what_was_told_stands_in_the_log_under_the_person(
    place: AccountsPlace, own_home: Path
) -> None:
    before = log_of(own_home)
    place.tell(ConsoleAct.ADDED, "wilhelmina", "otto")
    after = log_of(own_home)
    assert b"wilhelmina" in after
    assert b"wilhelmina" not in before


def test_accounts_are_there_when_it_is_opened_again(party: str, own_home: Path) -> None:
    with OPENS[party](own_home, None, os.urandom, make=True) as one:
        one.book.add("otto", ConsoleRole.OPERATOR, lambda _: None)
    with OPENS[party](own_home, None, os.urandom) as again:
        assert [account.name for account in again.book.all()] == ["otto"]


def test_two_folders_have_two_cookies(party: str, place: AccountsPlace, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    with OPENS[party](place.home, tmp_path / "elsewhere", os.urandom, make=True) as other:
        assert other.cookie != place.cookie
