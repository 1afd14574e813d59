"""docs/architecture.md: a row for each room of the tree, and a drawing that stands alone."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[2]
PARTS = ("api", "shared", "client", "server", "simulations")
PAGE = (ROOT / "docs" / "architecture.md").read_text()
DRAWING = ROOT / "docs" / "architecture.svg"
ROW = re.compile(r"^\| `([\w/]+)` \| (.+) \|$", re.MULTILINE)
SVG = "{http://www.w3.org/2000/svg}"


def rooms() -> Iterator[str]:
    """Folders with Python files; of the tests the first level, which mirrors parts, and support."""
    for part in PARTS:
        yield from {
            path.parent.relative_to(ROOT).as_posix() for path in (ROOT / part).rglob("*.py")
        }
    for folder in (*(ROOT / "tests").iterdir(), *(ROOT / "tests" / "support").iterdir()):
        if any(folder.rglob("*.py")):
            yield folder.relative_to(ROOT).as_posix()


def test_every_room_has_a_question() -> None:
    named = [room for room, _ in ROW.findall(PAGE)]
    assert sorted(named) == sorted(rooms())  # none is missing, gone or there twice


def test_no_two_rooms_answer_the_same_question() -> None:
    questions = [question for _, question in ROW.findall(PAGE)]
    assert len(set(questions)) == len(questions)
    assert [question for question in questions if not question.endswith("?")] == []


def test_tests_mirror_rooms() -> None:
    known = set(rooms())
    mirrors = {
        path.parent.relative_to(ROOT / "tests").as_posix()
        for part in PARTS
        for path in (ROOT / "tests" / part).rglob("test_*.py")
    }
    # A room with many tests has folders for what they are about, one level deep.
    assert {
        mirror for mirror in mirrors if not {mirror, mirror.rpartition("/")[0]} & known
    } == set()


def test_the_drawing_needs_nothing_else() -> None:
    drawn = ET.parse(DRAWING)  # noqa: S314 -- our own file
    tags = {element.tag.removeprefix(SVG) for element in drawn.iter()}
    assert not tags & {"image", "script", "foreignObject", "use"}
    assert tags >= {"title", "desc"}  # for whoever cannot see it
    assert "prefers-color-scheme: dark" in DRAWING.read_text()
    assert "](architecture.svg)" in PAGE
