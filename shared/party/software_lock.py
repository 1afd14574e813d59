"""The locks: for each role, every package at one version, with the hashes of its files.

A lock is a requirements file of pip (`pip install --require-hashes -r FILE`). It names no index and
no path, so it holds wherever the packages come from.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from fieldfare.shared.errors import UsageError

FOLDER: Final = Path(__file__).with_name("locks")
ROLES: Final = ("auditor", "coordinator", "institution", "lab", "node")
PINNED: Final = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)")
HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class LockedPackage:
    """One line of a lock.

    Attributes:
        name: of the package, normalised (PEP 503).
        version: the one that the lock takes.
        hashes: SHA-256 in hex of every file of that version, sorted.
    """

    name: str
    version: str
    hashes: tuple[str, ...]


def lock_text(role: str) -> str:
    """Return the lock of a role, as pip reads it.

    Raises:
        UsageError: no role has this name.
    """
    if role not in ROLES:
        raise UsageError(f"expected one of {', '.join(ROLES)}, found {role!r}")
    return (FOLDER / f"{role}.txt").read_text(encoding="utf-8")


def packages_in(text: str) -> tuple[LockedPackage, ...]:
    """Return what a lock's text names; comments and empty lines say nothing.

    Raises:
        UsageError: a line pins no version or has no hash.
    """
    lines = text.replace("\\\n", " ").splitlines()
    return tuple(_package(line) for line in lines if line.strip() and not line.startswith("#"))


def _package(line: str) -> LockedPackage:
    found, hashes = PINNED.match(line), HASH.findall(line)
    if found is None or not hashes:
        raise UsageError(f"expected NAME==VERSION with hashes, found {line[:80]!r}")
    name = canonicalize_name(found["name"])
    return LockedPackage(name, found["version"], tuple(sorted(hashes)))


@cache
def locked() -> Mapping[tuple[str, str], Mapping[str, tuple[str, ...]]]:
    """Return, by name and version, the roles whose lock has that package, each with its hashes."""
    found: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}
    for role in ROLES:
        for one in packages_in(lock_text(role)):
            found.setdefault((one.name, one.version), {})[role] = one.hashes
    return found
