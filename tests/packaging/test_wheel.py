"""The built wheel, installed elsewhere, holds every module and every data file, and nothing else.

An editable install forgives what a wheel does not: a subpackage without `__init__.py`, a data
file that no pattern names, an import that only works beside the sources.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Folder -> what it is under the import root.
FOLDERS = {
    "api": "fieldfare",
    **{part: f"fieldfare/{part}" for part in ("shared", "client", "server", "simulations")},
}
# Sources that are not shipped, and why.
NOT_SHIPPED: dict[str, str] = {}

IMPORT_EVERYTHING = """
import importlib, importlib.metadata, importlib.resources, json, sys

elsewhere, site_packages, files = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
sys.path.insert(0, elsewhere)
sys.path.append(site_packages)  # dependencies only: -S kept the editable finder away
found = {}
for name in files:
    folder, _, leaf = name.rpartition("/")
    package = folder.replace("/", ".")
    if leaf.endswith(".py"):
        module = importlib.import_module(f"{package}.{leaf[:-3]}".removesuffix(".__init__"))
        found[name] = module.__file__
    else:
        resource = importlib.resources.files(package).joinpath(leaf)
        resource.read_bytes()
        found[name] = str(resource)
installed = importlib.metadata.distribution("fieldfare").entry_points
for point in installed.select(group="fieldfare.parts"):
    part = point.load()
    for name in part.modules:
        part.load(name)
        found[f"command {name}"] = str(point.dist.locate_file(""))
print(json.dumps(found))
"""
COMMANDS = ("demo", "records.derive", "simulate", "study.check", "study.new")


def sources() -> list[str]:
    """Every file of the root and the four parts as the path that it is imported by."""
    return sorted(
        f"{name}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, name in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.relative_to(ROOT).as_posix() not in NOT_SHIPPED
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, so that leftovers of an earlier build cannot help."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for folder in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    out = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, tree)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("elsewhere")
    quiet = ("--quiet", "--no-deps", "--no-index", "--no-compile")
    _run(sys.executable, "-m", "pip", "install", *quiet, "--target", target, wheel)
    return target


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)  # noqa: PLW1510
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_sources_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert sorted(names) == sources()


def test_the_wheel_carries_the_licence_and_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = {name.partition(".dist-info/")[2]: name for name in archive.namelist()}
        assert b"Apache License" in archive.read(info["licenses/LICENSE"])
        assert b"fieldfare = fieldfare.shared.cli.root:main" in archive.read(
            info["entry_points.txt"]
        )


@pytest.mark.promises
def test_everything_opens_away_from_the_sources(elsewhere: Path) -> None:
    files = sources()
    found = json.loads(
        _run(
            sys.executable,
            "-I",
            "-S",
            "-c",
            IMPORT_EVERYTHING,
            elsewhere,
            sysconfig.get_path("purelib"),
            json.dumps(files),
        ).splitlines()[-1]
    )
    assert {name for name in found if not name.startswith("command ")} == set(files)
    assert {f"command {name}" for name in COMMANDS} <= set(found)
    assert all(Path(place).is_relative_to(elsewhere) for place in found.values())
