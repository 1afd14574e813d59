"""The packages that this Python would import, each by what its installer wrote down.

A package's files are hashed as its RECORD lists them (PEP 376, PEP 627), so that two machines with
the same files say the same, wherever they lie and whoever installed them.
"""

import base64
import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath
from typing import Final

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

OURS: Final = "fieldfare"
OUR_PARTS: Final = ("client", "server", "shared", "simulations")  # folders beside the root
LICENCE_WORDS: Final = 80  # characters: longer is the licence's own text, not its name


@dataclass(frozen=True)
class InstalledPackage:
    """One package.

    Attributes:
        name: normalised (PEP 503).
        version: as its metadata say.
        licence: an SPDX expression where `is_expression`, else as its makers call it; may be "".
        is_expression: whether `licence` is one (PEP 639).
        needs: the names of installed packages that it requires here, sorted.
        files: how many files of it are imported or read, scripts and compiled files left out.
        digest: SHA-256, hex, of their names and hashes; "" where nothing was written down.
        editable: whether it is a checkout, not an installed copy.
    """

    name: str
    version: str
    licence: str
    is_expression: bool
    needs: tuple[str, ...]
    files: int
    digest: str
    editable: bool


def installed_packages() -> tuple[InstalledPackage, ...]:
    """Return every package that can be imported here, by name; of two of one name the first."""
    found = _found()
    return tuple(_facts(name, found[name], found.keys()) for name in sorted(found))


def changed_files() -> tuple[str, ...]:
    """Return each installed file that is not as its installer wrote it, as `package: path`, sorted.

    It reads every file; some seconds for a gigabyte.
    """
    return tuple(
        f"{name}: {path}" for name, one in sorted(_found().items()) for path in _changed(one)
    )


def _found() -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    for one in distributions():
        if one.metadata["Name"]:
            name = canonicalize_name(one.metadata["Name"])
            if name not in found or not _record(found[name]):  # such as a build's left-over folder
                found[name] = one
    return found


def _record(one: Distribution) -> dict[str, str]:
    """Return what stands in RECORD: hashes (hex) by path, of files that have one.

    Of `Distribution.files` a library may replace the reading by one that leaves lost files out.
    """
    rows = csv.reader((one.read_text("RECORD") or "").splitlines())
    return {
        row[0]: _hex(row[1].removeprefix("sha256="))
        for row in rows
        if len(row) > 1 and row[1].startswith("sha256=")
    }


def _facts(name: str, one: Distribution, present: Iterable[str]) -> InstalledPackage:
    licence, is_expression = _licence(one)
    editable = _is_editable(one)
    hashes = dict(_checkout() if editable and name == OURS else _recorded(one))
    return InstalledPackage(
        name=name,
        version=one.version,
        licence=licence,
        is_expression=is_expression,
        needs=_needs(one, set(present)),
        files=len(hashes),
        digest=_digest(hashes) if hashes else "",
        editable=editable,
    )


def _licence(one: Distribution) -> tuple[str, bool]:
    for expression in one.metadata.get_all("License-Expression") or ():
        return str(expression), True
    classified = [
        value.rpartition(" :: ")[2]
        for value in one.metadata.get_all("Classifier") or []
        if value.startswith("License :: ") and value.count(" :: ") > 1
    ]
    named = "".join(one.metadata.get_all("License") or ()).strip()
    if named and len(named) <= LICENCE_WORDS and "\n" not in named:
        return named, False
    return "; ".join(sorted(classified)), False


def _needs(one: Distribution, present: set[str]) -> tuple[str, ...]:
    extras = ["", *(one.metadata.get_all("Provides-Extra") or [])]
    if canonicalize_name(one.metadata["Name"]) != OURS:
        extras = [""]  # whose extras were asked for, nobody wrote down
    return tuple(sorted({n for n in _required(one.requires or (), extras) if n in present}))


def _required(lines: Iterable[str], extras: Iterable[str]) -> Iterator[str]:
    here = {name: str(value) for name, value in default_environment().items()}
    for line in lines:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:  # of an old package; it is listed all the same
            continue
        name = canonicalize_name(wanted.name)
        if name != OURS and (
            wanted.marker is None
            or any(wanted.marker.evaluate({**here, "extra": extra}) for extra in extras)
        ):
            yield name


def _is_editable(one: Distribution) -> bool:
    told = json.loads(one.read_text("direct_url.json") or "{}")
    return bool(told.get("dir_info", {}).get("editable"))


def _recorded(one: Distribution) -> Iterator[tuple[str, str]]:
    """Yield path and hash (hex) of what a package brought; not of what its installer made."""
    for path, digest in _record(one).items():
        parts = PurePosixPath(path).parts
        if path.endswith(".pyc") or ".." in parts:
            continue  # scripts name the Python of this machine
        if not parts[0].endswith((".dist-info", ".egg-info")):
            yield path, digest


def _checkout() -> Iterator[tuple[str, str]]:
    """Yield the same of this project where it is imported from its sources."""
    for package in (OURS, *(f"{OURS}.{part}" for part in OUR_PARTS)):
        above, seen = package.replace(".", "/"), set[Path]()
        for folder in map(Path, import_module(package).__path__):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts and path not in seen:
                    seen.add(path)
                    name = f"{above}/{path.relative_to(folder).as_posix()}"
                    yield name, hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(hashes: Mapping[str, str]) -> str:
    lines = "".join(f"{hashes[path]}  {path}\n" for path in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def _changed(one: Distribution) -> Iterator[str]:
    for path, digest in sorted(_record(one).items()):
        try:
            with Path(str(one.locate_file(path))).open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError:
            found = "cannot be read"
        if found != digest:
            yield path


def _hex(recorded: str) -> str:
    return base64.urlsafe_b64decode(f"{recorded}==").hex()
