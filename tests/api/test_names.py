"""The names of `fieldfare`: few, documented, typed, and loaded when they are used."""

import ast
import doctest
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

import fieldfare

ROOT: Final = Path(__file__).parents[2]
GUIDE: Final = (ROOT / "docs" / "api.md").read_text("utf-8")
PUBLIC: Final = [name for name in fieldfare.__all__ if name != "__version__"]
LAB: Final = sorted(path.stem for path in (ROOT / "api" / "lab").glob("[a-z]*.py"))
HEAVY: Final = ("torch", "flwr", "sklearn", "duckdb", "pyarrow", "matplotlib", "pandas", "numpy")


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout.strip()


def test_every_name_is_there_and_nothing_else_is_promised() -> None:
    assert sorted(fieldfare.__all__) == fieldfare.__all__
    assert dir(fieldfare) == fieldfare.__all__
    for name in PUBLIC:
        assert getattr(fieldfare, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        fieldfare.nothing  # noqa: B018 -- it is looked up


def test_names_for_type_checkers_are_those_that_are_loaded() -> None:
    tree = ast.parse((ROOT / "api" / "__init__.py").read_text("utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in checked.body if isinstance(node, ast.ImportFrom)]
    found = {
        one.asname or one.name: f"{node.module}:{one.name}"
        for node in imports
        for one in node.names
    }
    loaded = {name: f"fieldfare.{where}" for name, where in fieldfare._WHERE.items()}
    assert found == loaded
    assert sorted(found) == PUBLIC


def documented(thing: Any) -> list[str]:
    """Return what lacks of a public thing's documentation, members included."""
    lacks = [] if inspect.getdoc(thing) else ["a docstring"]
    members = vars(thing).items() if inspect.isclass(thing) else ()
    for name, member in members:
        found = getattr(member, "__func__", member)
        if name.startswith("_") or not (inspect.isfunction(found) or isinstance(member, property)):
            continue
        text = inspect.getdoc(found) or ""
        if not text:
            lacks.append(name)
        if (
            inspect.isfunction(found)
            and "raise" in inspect.getsource(found)
            and "Raises:" not in text
        ):
            lacks.append(f"{name}: Raises")
    return lacks


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_documented(name: str) -> None:
    thing = getattr(fieldfare, name)
    assert documented(thing) == []
    assert name in GUIDE
    if inspect.isfunction(thing):
        text = inspect.getdoc(thing) or ""
        given = list(inspect.signature(thing).parameters)
        assert [one for one in given if f"    {one}: " not in text] == []
        assert "Raises:" in text


SLOW: Final = {"worlds": [pytest.mark.promises]}  # it makes one


@pytest.mark.parametrize("name", [pytest.param(one, marks=SLOW.get(one, [])) for one in LAB])
def test_examples_run(name: str) -> None:
    module: ModuleType = import_module(f"fieldfare.lab.{name}")
    assert doctest.testmod(module).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    found = [one for name in LAB for one in finder.find(import_module(f"fieldfare.lab.{name}"))]
    assert sum(bool(one.examples) for one in found) >= 2


def test_the_name_alone_loads_nothing_heavy() -> None:
    code = f"import sys, fieldfare; print([n for n in {HEAVY} if n in sys.modules])"
    assert python(code) == "[]"
