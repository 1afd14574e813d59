"""Fieldfare as it was at a commit: its wheel, built from the history and installed beside ours."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

from tests.support.system.environments import VERSION, environment

ROOT: Final = Path(__file__).parents[3]


def in_history(commit: str) -> bool:
    """Tell whether the history is here and reaches back to a commit."""
    command = ["git", "-C", str(ROOT), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def earlier_version(commit: str, folder: Path) -> Path:
    """Build a commit's wheel and install it into an environment with our dependencies.

    Returns:
        Its `fieldfare`; every process that it starts is of that commit too.
    """
    tree, wheels = folder / "tree", folder / "wheels"
    tree.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
    _python("build", "--wheel", "--no-isolation", "--outdir", wheels, tree)
    (wheel,) = wheels.glob("*.whl")
    python = environment(folder / "environment", sys.executable)
    packages = folder / "environment" / "lib" / VERSION / "site-packages"
    _python("pip", "install", "--quiet", "--no-deps", "--no-index", "--target", packages, wheel)
    # Not what an editable installation of ours points at: theirs alone is found.
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.with_name("fieldfare")


def _python(*words: object) -> None:
    environment_kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        check=True,
        capture_output=True,
        env=environment_kept,
    )
