"""The import root: a name, a version, a command; the same installed, in place, and read."""

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import fieldfare

ROOT = Path(__file__).parents[2]
HEAVY = ("flwr", "numpy", "pydantic", "torch", "typer")


def python(*arguments: str, path: Path | None = None, cwd: Path | None = None) -> str:
    """Run Python; with a `path`, without this environment's own way to the sources."""
    alone = ["-S"] if path else []
    env = {"PYTHONPATH": str(path), "PATH": ""} if path else None
    done = subprocess.run(
        [sys.executable, *alone, *arguments],
        capture_output=True, text=True, check=True, cwd=cwd, env=env,
    )  # fmt: skip
    return done.stdout.strip()


def test_the_version_is_said_once() -> None:
    assert fieldfare.__version__ == version("fieldfare")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert ("version" in project, project["dynamic"]) == (False, ["version"])


@pytest.mark.parametrize("where", [ROOT, ROOT / "tests"])
def test_it_runs_as_a_module_from_anywhere(where: Path) -> None:
    assert python("-m", "fieldfare", "--version", cwd=where) == f"fieldfare {version('fieldfare')}"


def test_the_checkout_imports_without_an_installation() -> None:
    said = "import fieldfare, fieldfare.shared as s; print(fieldfare.__version__, s.__name__)"
    found = python("-c", said, path=ROOT / ".typing")
    assert found == f"{fieldfare.__version__} fieldfare.shared"


def test_the_bare_name_loads_nothing() -> None:
    code = f"import sys, fieldfare; print([n for n in {HEAVY} if n in sys.modules])"
    assert python("-c", code) == "[]"
