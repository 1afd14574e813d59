"""Each process loads what its work needs: no more lines of ours than its ceiling, at import."""

import ast
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
from tests.support.system.loaded import CEILINGS, ROOT, SLACK, loaded_at_import, own_lines

MOST_OF_THE_DOOR: Final = 520  # lines


@pytest.mark.parametrize("process", CEILINGS)
def test_a_process_stays_below_its_ceiling(process: str) -> None:
    """Where it is far below: lower the ceiling, so that it stays there."""
    ceiling = CEILINGS[process]
    found = own_lines(loaded_at_import(ceiling.module))
    assert ceiling.lines * (1 - SLACK) <= found <= ceiling.lines


def test_the_door_is_read_in_one_sitting() -> None:
    """The one file that may let anything out: it only gets shorter."""
    text = (ROOT / "client/custodian/release.py").read_text("utf-8")
    assert len(text.splitlines()) <= MOST_OF_THE_DOOR


def test_what_is_counted_is_our_own_source() -> None:
    assert own_lines(["json", "flwr", "fieldfare.client.wire.frame_pb2"]) == 0
    both = ["fieldfare", "fieldfare.shared.errors"]
    assert own_lines(both) > own_lines(both[:1]) > 0


# -- names in texts -------------------------------------------------------------------------------
#
# What is imported at its first use stands as a text until then, and no type checker reads it.

_PARTS: Final = ("client", "server", "shared", "simulations")
_NAMED: Final = re.compile(rf"fieldfare\.({'|'.join(_PARTS)})(\.[a-z_0-9]+)*")
SOURCES: Final = {
    path: ast.parse(path.read_text("utf-8"))
    for part in ("api", *_PARTS)
    for path in sorted((ROOT / part).rglob("*.py"))
}
LATE: Final = sorted(
    {
        tuple(one.value for one in node.args if isinstance(one, ast.Constant))
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "late"
    }
)
NAMED: Final = sorted(
    {
        str(node.value)
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and _NAMED.fullmatch(str(node.value))
    }
)
TABLES: Final = sorted(
    ".".join(["fieldfare", *path.parent.relative_to(ROOT).parts]).removesuffix(".api")
    for path, tree in SOURCES.items()
    if any(isinstance(one, ast.FunctionDef) and one.name == "__getattr__" for one in tree.body)
)
COMMANDS: Final = sorted(
    ".".join(["fieldfare", *path.parent.relative_to(ROOT).parts])
    for path, tree in SOURCES.items()
    if path.name == "__init__.py"
    for node in ast.walk(tree)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Part"
)


def test_the_names_below_are_found() -> None:
    assert ("fieldfare.client.institution.open", "open_custody") in LATE
    assert {len(one) for one in LATE} == {2}  # all of them are texts
    assert {"fieldfare.client.daemon.process", "fieldfare.server.store.export"} <= {*NAMED}
    assert TABLES == ["fieldfare", "fieldfare.client.records"]
    assert {"fieldfare.client.cli", "fieldfare.server.cli"} <= {*COMMANDS}


@pytest.mark.parametrize("name", NAMED)
def test_a_module_that_a_text_names_is_there(name: str) -> None:
    assert find_spec(name) is not None


@pytest.mark.parametrize(("module", "name"), LATE)
def test_what_is_imported_late_is_there(module: str, name: str) -> None:
    """Read and not imported: all of it is more than one process ever loads."""
    found = find_spec(module)
    assert found is not None
    assert found.origin is not None
    body = ast.parse(Path(found.origin).read_text("utf-8")).body
    assert name in {getattr(one, "name", "") for one in body}


@pytest.mark.parametrize("module", TABLES)
def test_each_name_of_a_table_that_imports_late_is_there(module: str) -> None:
    room = import_module(module)
    assert {*room._WHERE} <= {*room.__all__}
    for name in room.__all__:
        assert getattr(room, name) is not None


@pytest.mark.parametrize("room", COMMANDS)
def test_each_module_of_commands_is_there(room: str) -> None:
    app = import_module(room).app
    tables = app.party.tables.values() if app.party else ()
    for module in {*app.modules.values(), *(one.rpartition(".")[0] for one in tables)}:
        assert find_spec(module) is not None
