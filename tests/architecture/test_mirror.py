"""A newcomer finds the tests of a room without searching: `a/room/` -> `tests/a/room/test_*.py`."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("shared", "client", "server", "simulations")
MOST_FILES = 15  # of a room: more are two rooms
MOST_TESTS = 15


def python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if "_pb2" not in path.name)


ROOMS = sorted(
    folder.relative_to(ROOT).as_posix()
    for part in PARTS
    for folder in (ROOT / part, *(ROOT / part).rglob("*"))
    if folder.is_dir() and [path.stem for path in python_files(folder)] not in ([], ["__init__"])
)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_its_tests(room: str) -> None:
    assert list((ROOT / "tests" / room).glob("test_*.py")), f"tests/{room} holds no test"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_and_is_no_hall(room: str) -> None:
    files = python_files(ROOT / room)
    assert ROOT / room / "__init__.py" in files
    assert len(files) <= MOST_FILES, f"{room}: {len(files)} files; make two rooms of it"
