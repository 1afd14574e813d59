"""A newcomer finds the tests of a room without searching: `a/room/` -> `tests/a/room/test_*.py`."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("shared", "client", "server", "simulations")
MOST_FILES = 15  # of a folder: more are two rooms


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
def test_a_room_says_what_it_is(room: str) -> None:
    assert (ROOT / room / "__init__.py").is_file()


def test_no_folder_is_a_hall() -> None:
    """Make two rooms of what is found here; this holds for the tests, too."""
    folders = {
        file.parent for part in (*PARTS, "api", "tests") for file in (ROOT / part).rglob("*.py")
    }
    sizes = {path.relative_to(ROOT).as_posix(): len(python_files(path)) for path in folders}
    assert {folder: size for folder, size in sizes.items() if size > MOST_FILES} == {}
    assert len(sizes) > 100
