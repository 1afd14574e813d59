"""The bill of materials: every installed package, as CycloneDX 1.6 JSON.

It names no time and no number of its own: the same software gives the same bytes. Source: CycloneDX
1.6 (ECMA-424), JSON.
"""

import json
import platform
from typing import Any, Final
from urllib.parse import quote

from fieldfare.shared.party.installed_software import OURS, InstalledPackage, installed_packages
from fieldfare.shared.party.software_lock import locked

FORMAT: Final = "1.6"
DIGEST: Final = "fieldfare:files-sha256"
FILES: Final = "fieldfare:files"
LOCKS: Final = "fieldfare:locks"
EDITABLE: Final = "fieldfare:editable"


def bill_of_materials() -> dict[str, Any]:
    """Return a CycloneDX 1.6 document of what is installed here.

    Each component has its licence, the SHA-256 of its installed files (`fieldfare:files-sha256`: of
    one line "<sha256>  <path>" for each file, sorted by path), the roles whose lock names this very
    version (`fieldfare:locks`, "" for none), and under `externalReferences` the hashes that the
    lock takes for its archive. The Python that runs it is a component too.
    """
    found = installed_packages()
    parts = [_component(one) for one in found if one.name != OURS]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": FORMAT,
        "version": 1,
        "metadata": {"component": next((_root(one) for one in found if one.name == OURS), {})},
        "components": [_python(), *parts],
        "dependencies": [
            {"ref": _ref(one), "dependsOn": [_ref(two) for two in found if two.name in one.needs]}
            for one in found
        ],
    }


def bill_bytes() -> bytes:
    """Return the same as a file: JSON, indented, keys sorted, ended by a newline."""
    return (json.dumps(bill_of_materials(), indent=1, sort_keys=True) + "\n").encode()


def _ref(one: InstalledPackage) -> str:
    """Return the package URL of a package: also the name by which the document speaks of it."""
    return f"pkg:pypi/{one.name}@{quote(one.version, safe='')}"


def _root(one: InstalledPackage) -> dict[str, Any]:
    return {**_component(one), "type": "application"}


def _component(one: InstalledPackage) -> dict[str, Any]:
    locks = locked().get((one.name, one.version), {})
    said = {FILES: str(one.files), DIGEST: one.digest, LOCKS: " ".join(sorted(locks))}
    said |= {EDITABLE: "yes"} if one.editable else {}
    hashes = sorted({one for role in locks.values() for one in role})
    return {
        "type": "library",
        "bom-ref": _ref(one),
        "name": one.name,
        "version": one.version,
        "purl": _ref(one),
        "properties": [{"name": name, "value": value} for name, value in said.items()],
        **({"licenses": [_licence(one)]} if one.licence else {}),
        **({"externalReferences": [_archive(one, hashes)]} if hashes else {}),
    }


def _licence(one: InstalledPackage) -> dict[str, Any]:
    return {"expression": one.licence} if one.is_expression else {"license": {"name": one.licence}}


def _archive(one: InstalledPackage, hashes: list[str]) -> dict[str, Any]:
    return {
        "type": "distribution",
        "url": _ref(one),
        "comment": "installed by the lock, it came as a file with one of these hashes",
        "hashes": [{"alg": "SHA-256", "content": one} for one in hashes],
    }


def _python() -> dict[str, Any]:
    name, version = platform.python_implementation().lower(), platform.python_version()
    return {
        "type": "platform",
        "bom-ref": f"{name}@{version}",
        "name": name,
        "version": version,
        "properties": [{"name": "fieldfare:machine", "value": platform.machine()}],
    }
