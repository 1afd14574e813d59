"""A bare Debian 12: each role installed by its lock, without a network, by an ordinary user."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import pytest
from tests.support.system.bare_root import BareRoot, bare_root

from fieldfare.shared.party.software_lock import lock_text, packages_in

LONG: Final = os.environ.get("FIELDFARE_OPERATE_LONG")
MOST: Final = {  # MB on disk
    "node": 340,
    "auditor": 550,
    "coordinator": 850,
    "institution": 1100,
    "lab": 9_000,  # with what torch brings for graphics cards
}
HAVE: Final = {
    "node": ("institution", "node"),
    "auditor": ("audit", "transcript"),
    "coordinator": ("coordinator", "start"),
    "institution": ("institution", "custodian"),
    "lab": ("simulate",),
}
FIRST: Final = ("demo", "study check", "coordinator init", "institution init", "software")

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(3600 if LONG else 1200),
    pytest.mark.xdist_group("bare-root"),
    pytest.mark.skipif(
        not os.environ.get("CI") and (os.geteuid() != 0 or not shutil.which("mmdebstrap")),
        reason="a bare root is made by root with mmdebstrap and bubblewrap",
    ),
]


@pytest.fixture(scope="module")
def bare() -> Iterator[BareRoot]:
    folder = Path(mkdtemp(prefix="ff-bare-", dir="/var/tmp"))
    yield bare_root(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize("role", list(MOST) if LONG else ["node"])
def test_a_role_is_installed_by_its_lock_and_taken_away(role: str, bare: BareRoot) -> None:
    lock = lock_text(role)
    bare.fetch(role, lock)
    place = bare.install(role, compiled=role != "lab")  # its modules take ten minutes
    command = f"{place}/fieldfare"
    assert bare.did(command, "--version").startswith("fieldfare ")
    assert "Usage: fieldfare" in bare.did(command, *HAVE[role], "--help")
    for words in FIRST:
        done = bare.run([command, *words.split(), "--help"])
        said = done.stdout + done.stderr
        assert done.returncode == 0 or "pip install 'fieldfare[" in said, said
        assert "Traceback" not in said
    bill = json.loads(bare.did(command, "software", "--check"))
    listed = {one["name"] for one in bill["components"] if one["type"] == "library"}
    assert listed == {one.name for one in packages_in(lock)} | {"pip", "setuptools"}
    assert bare.megabytes(f"/opt/fieldfare/{role}") < MOST[role]
    bare.did(f"{place}/pip", "uninstall", "--yes", "--quiet", "fieldfare")
    left = bare.path / "opt" / "fieldfare" / role
    assert [path for path in left.rglob("fieldfare*") if "__pycache__" not in path.parts] == []


def test_another_byte_in_a_wheel_is_refused(bare: BareRoot) -> None:
    lock = lock_text("node")
    rich = next(one for one in packages_in(lock) if one.name == "rich")
    file = bare.lay("other.txt", f"rich=={rich.version} --hash=sha256:{'0' * 64}\n")
    bare.fetch("node", lock)
    bare.did("python3", "-m", "venv", "/opt/fieldfare/refused")
    words = ["install", "--no-index", "--no-deps", "--find-links", "/mnt", "--require-hashes"]
    done = bare.run(["/opt/fieldfare/refused/bin/pip", *words, "-r", file])
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
