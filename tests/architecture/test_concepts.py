"""A budget for concepts: how much there is of each kind, counted from its declarations."""

import ast
import importlib
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import pytest

from fieldfare.client.home.files import INSTITUTION_FILES
from fieldfare.server.home.files import COORDINATOR_FILES
from fieldfare.shared.cli.root import root
from fieldfare.shared.study.toml import Section

ROOT: Final = Path(__file__).parents[2]
PRODUCT: Final = ("client", "server", "shared")
PARTS: Final = ("api", *PRODUCT, "simulations")
FILES: Final = [
    path
    for part in PARTS
    for path in sorted((ROOT / part).rglob("*.py"))
    if "_pb2" not in path.name
]
SETTINGS: Final = re.compile(r"^class \w+\(.*\bSection\)", re.MULTILINE)
PROGRAM: Final = re.compile(r"^if __name__ == .__main__.:", re.MULTILINE)
SENDS: Final = re.compile(r"\.(?:sendall|send_bytes|unary_unary)\(")
FRAMES: Final = "client/wire"
NO_CODE: Final = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}


def commands() -> int:
    """Whatever a person can type that does something."""
    return sum(1 for _ in _commands(root))


def _commands(command: click.Command) -> Iterator[click.Command]:
    if not isinstance(command, click.Group):
        yield command
        return
    if command.invoke_without_command:
        yield command
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        if below is not None:
            yield from _commands(below)


def settings() -> int:
    """Keys of every TOML file that is a `Section`; a study's own are its questions."""
    for path in FILES:
        if SETTINGS.search(path.read_text()):
            importlib.import_module(_module(path))
    return sum(len(one.model_fields) for one in set(_sections(Section)))


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("fieldfare", *parts[parts[0] == "api" :]))


def _sections(kind: type[Section]) -> Iterator[type[Section]]:
    for below in kind.__subclasses__():
        if below.__module__.startswith("fieldfare."):
            yield below
        yield from _sections(below)


def kinds_of_file() -> int:
    """Rows of both homes' tables."""
    return len(INSTITUTION_FILES) + len(COORDINATOR_FILES)


def programs() -> int:
    """Modules that run as a process of their own, beside the command."""
    texts = [path.read_text() for part in PRODUCT for path in (ROOT / part).rglob("*.py")]
    return sum(PROGRAM.search(text) is not None for text in texts)


def rooms() -> int:
    """Folders of the source with Python files."""
    return len({path.parent for path in FILES})


def private_ways_to_call() -> int:
    """Rooms that send to another process of ours in an encoding of their own."""
    sending = {
        path.parent.relative_to(ROOT).as_posix(): path.parent
        for part in PRODUCT
        for path in (ROOT / part).rglob("*.py")
        if SENDS.search(path.read_text())
    }
    return len({FRAMES if _takes_frames(room) else name for name, room in sending.items()})


def _takes_frames(room: Path) -> bool:
    of_frames = f"from fieldfare.{FRAMES.replace('/', '.')}"
    return any(of_frames in path.read_text() for path in room.glob("*.py"))


def decisions() -> int:
    """Records of decisions, the template aside."""
    return len([*(ROOT / "docs" / "adr").glob("[0-9]*.md")]) - 1


def words_of_documents() -> int:
    """Words of docs/, without its measurements."""
    docs = ROOT / "docs"
    pages = [p for p in docs.rglob("*.md") if p.relative_to(docs).parts[0] != "measurements"]
    return sum(len(page.read_text().split()) for page in pages)


def code_lines() -> int:
    """Lines of source without docstrings, comments and blanks; what protoc wrote aside."""
    return sum(len(lines_of_code(path.read_text())) for path in FILES)


def lines_of_code(text: str) -> set[int]:
    found = set[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            found.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found -= _docstring(node)
    return found


def _docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> set[int]:
    if not node.body or ast.get_docstring(node, clean=False) is None:
        return set()
    said = node.body[0]
    return set(range(said.lineno, (said.end_lineno or said.lineno) + 1))


@dataclass(frozen=True)
class Budget:
    """The most that there may be of one kind of concept.

    Attributes:
        count: of today.
        ceiling: only goes down.
        wanted: where it may stop.
        slack: by which a figure may be below its ceiling before that has to be lowered.
    """

    count: Callable[[], int]
    ceiling: int
    wanted: int
    slack: int = 0

    def verdict(self, found: int) -> str:
        """Say what to do about a figure; nothing where it is right."""
        name = self.count.__name__.replace("_", " ")
        if found > max(self.ceiling, self.wanted):
            return f"{name}: expected at most {self.ceiling:,}, found {found:,}: remove as many"
        if self.ceiling > self.wanted and found < self.ceiling - self.slack:
            lower = max(found, self.wanted)
            return f"{name}: {found:,} are left: lower the ceiling of {self.ceiling:,} to {lower:,}"
        return ""


BUDGETS: Final = {
    budget.count.__name__: budget
    for budget in (
        Budget(commands, 115, wanted=115),
        Budget(settings, 145, wanted=145),
        Budget(kinds_of_file, 70, wanted=70),
        Budget(programs, 13, wanted=13),
        Budget(rooms, 78, wanted=78),
        Budget(private_ways_to_call, 2, wanted=2),
        Budget(decisions, 53, wanted=53),  # 50, and the three that speed may add
        Budget(words_of_documents, 100_000, wanted=100_000),
        Budget(code_lines, 87_770, wanted=79_500, slack=400),
    )
}


@pytest.mark.parametrize("name", BUDGETS)
def test_there_is_no_more_than_the_budget_and_no_budget_above_what_there_is(name: str) -> None:
    budget = BUDGETS[name]
    verdict = budget.verdict(budget.count())
    assert not verdict, verdict


@pytest.mark.parametrize(
    ("found", "ceiling", "said"),
    [
        (21, 20, "remove as many"),
        (20, 20, ""),
        (19, 20, "lower the ceiling of 20 to 19"),
        (7, 20, "lower the ceiling of 20 to 10"),
        (11, 10, "remove as many"),
        (10, 10, ""),
        (7, 10, ""),
        (9, 8, ""),
    ],
)
def test_a_ceiling_only_goes_down_until_it_is_what_is_wanted(
    found: int, ceiling: int, said: str
) -> None:
    verdict = Budget(commands, ceiling, wanted=10).verdict(found)
    assert said in verdict
    assert bool(said) == bool(verdict)


def test_slack_is_given_below_a_ceiling_and_not_above_it() -> None:
    budget = Budget(code_lines, 100, wanted=10, slack=5)
    assert [bool(budget.verdict(found)) for found in (101, 100, 95, 94)] == [
        *(True, False),
        *(False, True),
    ]


def test_a_line_of_code_holds_more_than_words() -> None:
    text = '"""M."""\n\n# why\ndef f(\n    x,  #\n):\n    """Say."""\n\n    return """a\nb"""\n'
    assert lines_of_code(text) == {4, 5, 6, 9, 10}
