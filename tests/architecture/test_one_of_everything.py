"""No statements stand twice in the source, and no public name stands there without a user."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PARTS: Final = ("api", "shared", "client", "server", "simulations")
USERS: Final = ("architecture", "deployment")  # of no one room; what tests share is no user
MOST_EQUAL: Final = 7  # statements in a row that may stand in two places
WORD: Final = re.compile(r"\w+")


@dataclass
class Source:
    """The source's trees, and how often each name is read in it."""

    trees: dict[str, ast.Module] = field(default_factory=dict)
    read: Counter[str] = field(default_factory=Counter)


def names_read(tree: ast.AST) -> Iterator[str]:
    """Yield what is read: names, attributes, imports, keywords, words of short texts."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
                yield name
            case ast.alias(name=name):
                yield name.rpartition(".")[2]
            case ast.keyword(arg=str(name)):
                yield name
            case ast.Constant(value=str(text)) if len(text) < 100:
                yield from WORD.findall(text)


@pytest.fixture(scope="module")
def source() -> Source:
    made = Source()
    made.read.update(WORD.findall((ROOT / "pyproject.toml").read_text("utf-8")))
    made.read.update(WORD.findall((ROOT / "docs" / "api.md").read_text("utf-8")))  # users in Python
    for part in PARTS:
        for path in (ROOT / part).rglob("*.py"):
            if not path.stem.endswith("_pb2"):
                tree = ast.parse(path.read_text("utf-8"))
                made.trees[str(path.relative_to(ROOT))] = tree
                made.read.update(names_read(tree))
        for page in (*(ROOT / part).rglob("*.html"), *(ROOT / part).rglob("*.jinja")):
            made.read.update(WORD.findall(page.read_text("utf-8")))
    for folder in USERS:
        for path in (ROOT / "tests" / folder).rglob("*.py"):
            made.read.update(names_read(ast.parse(path.read_text("utf-8"))))
    return made


def fingerprint(node: Any) -> int:
    """Two nodes have one fingerprint where they are the same code, wherever it stands."""
    if isinstance(node, ast.AST):
        return hash(
            (type(node).__name__, *(fingerprint(each) for _, each in ast.iter_fields(node)))
        )
    if isinstance(node, list):
        return hash(tuple(map(fingerprint, node)))
    return hash(repr(node))


def blocks(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    """Yield every list of statements, without imports and texts."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            found = getattr(node, name, None)
            if isinstance(found, list):
                plain = (ast.Import, ast.ImportFrom)
                yield [
                    one
                    for one in found
                    if not isinstance(one, plain)
                    and not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
                ]


def size(statement: ast.stmt) -> int:
    return sum(isinstance(node, ast.stmt) for node in ast.walk(statement))


def equal_runs(trees: dict[str, ast.Module]) -> Iterator[tuple[int, str, str]]:
    """Yield pairs of equal runs of statements: how many, and where both begin."""
    kept = [(path, block) for path, tree in trees.items() for block in blocks(tree) if block]
    prints = [[fingerprint(one) for one in block] for _, block in kept]
    places = defaultdict(list)
    for at, line in enumerate(prints):
        for start, value in enumerate(line):
            places[value].append((at, start))
    for found in places.values():
        for (one, x), (two, y) in combinations(found, 2):
            if x and y and prints[one][x - 1] == prints[two][y - 1]:
                continue  # within a longer run
            length = common(prints[one][x:], prints[two][y:])
            count = sum(map(size, kept[one][1][x : x + length]))
            if count > MOST_EQUAL:
                yield count, where(kept[one], x), where(kept[two], y)


def common(one: list[int], two: list[int]) -> int:
    for length, (a, b) in enumerate(zip(one, two, strict=False)):
        if a != b:
            return length
    return min(len(one), len(two))


def where(kept: tuple[str, list[ast.stmt]], start: int) -> str:
    return f"{kept[0]}:{kept[1][start].lineno}"


def test_no_statements_stand_twice(source: Source) -> None:
    found = sorted(equal_runs(source.trees), reverse=True)
    assert not found, f"expected at most {MOST_EQUAL} equal statements in a row, found {found[:9]}"


def test_equal_statements_are_found() -> None:
    body = "\n".join(f"    x{n} = f({n})" for n in range(MOST_EQUAL + 1))
    trees = {name: ast.parse(f"def {name}():\n{body}\n    return {name}") for name in "ab"}
    assert [*equal_runs(trees)] == [(MOST_EQUAL + 1, "a:2", "b:2")]


def declared(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield public names that a module or a class declares; decorated ones are registered."""
    for node in [*tree.body, *members(tree)]:
        match node:
            case ast.FunctionDef() | ast.ClassDef() if registers(node.decorator_list):
                continue
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.AnnAssign(target=ast.Name(id=name)) if node in tree.body:
                yield name, node.lineno
            case ast.Assign(targets=[ast.Name(id=name)]) if node in tree.body:
                yield name, node.lineno


def members(tree: ast.Module) -> Iterable[ast.stmt]:
    """Return the members of classes that no library's class can call by name."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not overrides(node):
            yield from node.body


def overrides(node: ast.ClassDef) -> bool:
    """A library calls what its subclasses override; those stand with an explanation."""
    return any(isinstance(base, ast.Attribute) or base.id in LIBRARY for base in bases(node))


def bases(node: ast.ClassDef) -> list[Any]:
    return [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]


LIBRARY: Final = {
    "Grid",
    "TyperGroup",
    "RotatingFileHandler",
    "EventLogWriterPlugin",
    "WSGIRequestHandler",
    "format_arguments",
}


def registers(decorators: list[ast.expr]) -> bool:
    """A command, a validator or a serializer is called by whoever it is registered with."""
    called = ("command", "callback", "validator", "serializer", "contextmanager")
    return any(ast.unparse(one).partition("(")[0].endswith(called) for one in decorators)


def test_every_public_name_has_a_user(source: Source) -> None:
    found = [
        f"{path}:{line} {name}"
        for path, tree in source.trees.items()
        for name, line in declared(tree)
        if not name.startswith("_") and not source.read[name]
    ]
    assert not found, f"expected a user of each public name, found none of {found}"
