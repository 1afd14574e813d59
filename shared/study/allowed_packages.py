"""Torch modules that a study names: `package:Class`, and only where this process may use it.

Code is never shipped. A study says the distribution and its version; every party that runs it has
installed that version and allowed it (an institution in its policy, others on the command line).
Until then nothing of the package is imported. A study also says how many numbers the module learns:
plan, review and approval follow from that, and the module is held against it where it is built.
"""

import importlib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError
from typing import Any, Final

from fieldfare.shared.errors import PackageError, StudyError

PACKAGE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._+!-]*$"
MODULE_PATTERN: Final = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
ALLOWED_PATTERN: Final = f"{PACKAGE_PATTERN[:-1]}:{MODULE_PATTERN[1:]}"

VARIABLE: Final = "FIELDFARE_PACKAGES"  # the command line's answer, for processes that it starts

_permitted: set[str] = set()  # of this process; empty: no module at all


def permit(packages: Iterable[str]) -> None:
    """Allow this process to import `name==version`, or one class of it, and nothing else.

    A class is `name==version:import.path:Class`, which is all that a policy may list.
    """
    _permitted.clear()
    _permitted.update(packages)


def permit_as_told(environment: Mapping[str, str]) -> None:
    """Permit the packages that this process's command line allowed; none if it did not."""
    permit(environment.get(VARIABLE, "").split())


def allowed_as(module: str, package: str) -> str:
    """Return how a policy lists one class: `name==version:import.path:Class`."""
    return f"{package}:{module}"


def is_permitted(allowed: str) -> bool:
    """Say whether this process may import a class, as `allowed_as` writes it."""
    return not _permitted.isdisjoint({allowed, allowed.partition(":")[0]})


def class_named(module: str, package: str) -> Any:
    """Return the class that a study names.

    Args:
        module: `import.path:Class`.
        package: `distribution==version` that holds it.

    Raises:
        PackageError: not permitted here, or not installed in that version.
        StudyError: not of that package, or no such class.
    """
    if not is_permitted(allowed_as(module, package)):
        raise PackageError(
            f"model.package: expected a package that is allowed here, found {package!r}: an "
            f"institution lists {allowed_as(module, package)!r} under [models] packages of "
            f"policy.toml, every other user gives fieldfare --package {package} (a coordinator "
            "with `coordinator start` too)"
        )
    name, _, wanted = package.partition("==")
    path, _, wanted_class = module.partition(":")
    top = path.partition(".")[0]
    try:
        found = Distribution.from_name(name)
    except PackageNotFoundError:
        found = None
    if found is None or found.version != wanted:
        raise PackageError(
            f"model.package: expected {package} to be installed, found version "
            f"{found.version if found else 'none'}: install it where fieldfare is installed"
        )
    if top not in _tops(found):
        raise StudyError(
            f"model.module: expected a module of {name}, found {path!r}, which is none of it"
        )
    try:
        return getattr(importlib.import_module(path), wanted_class)
    except (ImportError, AttributeError):
        raise StudyError(f"model.module: expected a class of {name}, found {module!r}") from None


def _tops(found: Distribution) -> set[str]:
    """Return what a distribution can be imported as: what it declares, or else its files say."""
    declared = (found.read_text("top_level.txt") or "").split()
    files = (path for path in found.files or () if path.suffix == ".py")
    return set(declared) or {path.parts[0].removesuffix(".py") for path in files}
