"""Two builds of the wheel are the same bytes, whatever the folder, the umask and the clock."""

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
FOLDERS = ("api", "shared", "client", "server", "simulations")


def tree_at(place: Path, *, mode: int) -> Path:
    """Copy the sources, every file with this mode and its own time."""
    place.mkdir(parents=True)
    for name in SOURCES:
        shutil.copy(ROOT / name, place)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for number, path in enumerate(sorted(place.rglob("*.*"))):
        if path.is_file():
            path.chmod(mode)
            os.utime(path, (1_600_000_000 + 7 * number * mode,) * 2)
    return place


def built(tree: Path, *, umask: int) -> Path:
    out = tree.parent / "dist"
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, tree],
        capture_output=True,
        text=True,
        umask=umask,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.mark.faults
def test_two_builds_are_the_same_bytes(tmp_path: Path) -> None:
    first = built(tree_at(tmp_path / "a" / "tree", mode=0o644), umask=0o022)
    other = tree_at(tmp_path / "somewhere" / "deeper" / "checkout", mode=0o664)
    left = other / "build" / "lib" / "fieldfare" / "left_behind.py"  # of an earlier build
    left.parent.mkdir(parents=True)
    left.write_text("")
    second = built(other, umask=0o077)
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.faults
def test_the_wheel_says_nothing_of_where_and_when_it_was_built(tmp_path: Path) -> None:
    with zipfile.ZipFile(built(tree_at(tmp_path / "tree", mode=0o600), umask=0o027)) as wheel:
        found = wheel.infolist()
    assert {one.date_time for one in found} == {(1980, 1, 1, 0, 0, 0)}
    assert {stat.S_IMODE(one.external_attr >> 16) for one in found} <= {0o644, 0o664}
    assert {one.compress_type for one in found} == {zipfile.ZIP_STORED}


@pytest.mark.faults
def test_a_checkout_installs_editable(tmp_path: Path) -> None:
    tree, out = tree_at(tmp_path / "tree", mode=0o644), tmp_path / "dist"
    out.mkdir()
    code = "import sys; from setuptools import build_meta as b; b.build_editable(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, out], cwd=tree, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path.suffix for path in out.iterdir()] == [".whl"]
