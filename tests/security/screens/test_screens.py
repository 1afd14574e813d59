"""Attacks H8, M10, L9: no file that a command reads writes a stranger's verdict on the screen.

Every command that reads a file from outside, with marks in all texts of it: none of their bytes
reaches a terminal or a pipe. The list of commands is their tree (`commands.py`). The long form
reads as many files as `FIELDFARE_MARKED_FILES` says.
"""

import os
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.security.screens.commands import CALLS, NOT_READ, read_paths
from tests.security.screens.marked import (
    DATABASES,
    EVERY,
    FORMS,
    MARKS,
    database,
    paper,
    raw,
    toml,
    traces,
)
from tests.security.screens.places import Place, made_place
from tests.security.screens.terminals import typed

from fieldfare.client.alerts.reports.forms import ReportFormat
from fieldfare.client.records.importers.registry import ImportFormat

FILES: Final = int(os.environ.get("FIELDFARE_MARKED_FILES", "500"))
PARTS: Final = 20
SEED: Final = 70
SHORT: Final = (".txt", ".toml", ".csv")  # of one of these each call gets a file, if not
# of the paper that fits it best.
BEST: Final = {
    "audit.deletions": "roster", "audit.stories": "roster", "audit.transcript": "transcript",
    "coordinator.enrol": "enrolment", "coordinator.roster": "roster", "evidence.pack": "transcript",
    "evidence.verify": "pack.zip", "institution.import": "study", "institution.join": "invitation",
    "institution.roster.accept": "roster",
    "institution.verify": "transcript",
    "query.ask": "questions.toml", "query.plan": "questions.toml",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("screens")
    yield made_place(folder)
    shutil.rmtree(folder)


def words_of(place: Place, call: str, file: Path, drawn: random.Random, out: Path) -> list[str]:
    command, _, _ = call.partition(" ")
    given = {
        **place.given,
        "it": str(file),
        "out": str(out),
        "form": drawn.choice(list(ImportFormat)).value,
        "report": drawn.choice(list(ReportFormat)).value,
    }
    return [*command.split("."), *(one.format(**given) for one in CALLS[call].split())]


def written(folder: Path, name: str, place: Place, mark: str, drawn: random.Random) -> Path:
    """Write a marked file: of a form, a paper's, a database; its name is marked too."""
    own = folder / f"{mark}{name}"
    if name in DATABASES:
        database(own, mark)
    elif name in FORMS:
        own.write_bytes(FORMS[name](mark))
    else:
        content = place.papers[name]
        signed = content[:1] == b"{" and b"\n" not in content.strip()
        change = toml if name.endswith(".toml") else raw
        own.write_bytes(
            paper(content, place.keys, mark, drawn) if signed else change(content, mark, drawn)
        )
    return own


def shown(
    place: Place, call: str, name: str, folder: Path, drawn: random.Random, *, terminal: bool
) -> Sequence[str]:
    """Return what is wrong with the screen of a call with a marked file."""
    mark = EVERY if drawn.random() < 0.5 else drawn.choice(MARKS)
    folder.mkdir()
    file = written(folder, name, place, mark, drawn)
    words = words_of(place, call, file, drawn, folder / "out")
    status, said = typed(words, terminal=terminal)
    shutil.rmtree(folder)
    problems = [ascii(one) for one in traces(said)]
    if not isinstance(status, int):
        problems.append(f"a defect: {ascii(status)[:400]}")
    if "try 'fieldfare" in said:
        problems.append(f"the call itself: {ascii(said)[:400]}")
    return problems


def test_every_path_is_looked_at() -> None:
    """Whoever adds a command that reads a file adds its call to `CALLS`."""
    assert set(read_paths()) == {*CALLS, *NOT_READ}


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_a_mark_would_be_seen(tmp_path: Path, *, terminal: bool) -> None:
    """The net holds what the test is about: without the streams every mark is there."""
    told = os.fsencode(tmp_path)
    status, said = typed(["study", "check", f"{tmp_path}/{EVERY}"], terminal=terminal)
    assert (status, traces(said)) == (2, [])
    assert told.decode() in said
    assert len(traces(f"{EVERY}")) >= len(EVERY) // 2


@pytest.mark.parametrize("call", CALLS)
def test_no_mark_of_a_file_gets_to_the_screen(place: Place, tmp_path: Path, call: str) -> None:
    drawn = random.Random(f"{SEED} {call}")  # noqa: S311 -- the same files every time
    best = BEST.get(call.partition(" ")[0])
    name = best or drawn.choice(SHORT)
    assert not shown(place, call, name, tmp_path / "marked", drawn, terminal=drawn.random() < 0.5)


@pytest.mark.promises
@pytest.mark.parametrize("part", range(PARTS))
def test_no_mark_of_many_files_does(place: Place, tmp_path: Path, part: int) -> None:
    drawn = random.Random(SEED + part)  # noqa: S311 -- the same files every night
    names = [*FORMS, *DATABASES, *place.papers]
    found = {}
    for at in range(FILES // PARTS):
        call, name = drawn.choice(list(CALLS)), drawn.choice(names)
        best = BEST.get(call.partition(" ")[0])
        name = best if best and drawn.random() < 0.5 else name
        problems = shown(place, call, name, tmp_path / str(at), drawn, terminal=bool(at % 2))
        if problems:
            found[f"{at} {call} {name}"] = problems
    assert found == {}
