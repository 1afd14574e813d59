"""Every file of a home has a stated bound, in the table and in docs/watch.md."""

import re
from collections.abc import Sequence
from inspect import getattr_static
from pathlib import Path
from typing import Final

import pytest

from fieldfare.client.home.files import INSTITUTION_FILES
from fieldfare.client.home.layout import Home
from fieldfare.server.home.files import COORDINATOR_FILES
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.party.home_files import Growth, HomeFile, kind_of
from fieldfare.shared.system.home_folder import HomePath

ROOT: Final = Path(__file__).parents[3]
PARTIES: Final = (
    pytest.param(Home, INSTITUTION_FILES, id="institution"),
    pytest.param(CoordinatorHome, COORDINATOR_FILES, id="coordinator"),
)


def stated() -> list[list[str]]:
    """The cells of the rows of docs/watch.md that begin with a word of `Growth`."""
    words = {one.value for one in Growth}
    text = (ROOT / "docs" / "watch.md").read_text()
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines()]
    return [row for row in rows if row[0] in words]


def test_the_document_states_the_growth_of_every_kind() -> None:
    columns = {1: INSTITUTION_FILES, 2: COORDINATOR_FILES}
    for column, table in columns.items():
        said = {row[0]: sorted(re.findall(r"`([^`]+)`", row[column])) for row in stated()}
        held = {one.value: list[str]() for one in Growth}
        for kind in table:
            held[kind.growth.value].append(kind.pattern)
        assert said == {word: sorted(patterns) for word, patterns in held.items()}


def paths_in(home: Home | CoordinatorHome) -> dict[str, str]:
    """What a layout names, by its name there, below its home."""
    named = {}
    for name in dir(type(home)):
        if isinstance(getattr_static(home, name), property | HomePath):
            found = getattr(home, name)
            several = found if isinstance(found, tuple) else (found,)
            for number, path in enumerate(one for one in several if isinstance(one, Path)):
                named[f"{name} {number}"] = path.relative_to(home.path).as_posix()
    return named


@pytest.mark.parametrize(("layout", "table"), PARTIES)
def test_whatever_a_layout_names_is_in_the_table(
    layout: type[Home | CoordinatorHome], table: Sequence[HomeFile], tmp_path: Path
) -> None:
    named = paths_in(layout(tmp_path))
    assert len(named) > 20
    lost = {
        name: path
        for name, path in named.items()
        if kind_of(path, table) is None and not any(one.lies_below(path) for one in table)
    }
    assert not lost, "add it to files.py, with how far it grows"
