"""Torch modules that a study names: `package:Class`, and only where this process may use it.

Code is never shipped. A study says the distribution and its version; whoever runs it has that
version installed and has said so (an institution in its policy, others on the command line).
Until then nothing of the package is imported.
"""

import importlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any, Final

from fieldfare.shared.errors import StudyError

PACKAGE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._+!-]*$"
MODULE_PATTERN: Final = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"

VARIABLE: Final = "FIELDFARE_PACKAGES"  # the command line's answer, for processes that it starts

_permitted: set[str] = set()  # of this process; empty: no module at all


def permit(packages: Iterable[str]) -> None:
    """Say which packages, as `name==version`, this process may take modules from; no others."""
    _permitted.clear()
    _permitted.update(packages)


def class_named(module: str, package: str) -> Any:
    """Return the class that a study names.

    Args:
        module: `import.path:Class`.
        package: `distribution==version` that holds it.

    Raises:
        StudyError: not permitted here, not installed in that version, not of that package, or
            no such class.
    """
    if package not in _permitted:
        raise StudyError(
            f"model.package: a package that is allowed here expected, {package!r} found: list it "
            "under [models] packages of policy.toml, or say fieldfare --package NAME==VERSION"
        )
    name, _, wanted = package.partition("==")
    path, _, wanted_class = module.partition(":")
    top = path.partition(".")[0]
    if name not in packages_distributions().get(top, []):
        raise StudyError(f"model.module: a module of {name} expected, {path!r} is none of it")
    try:
        found = version(name)
    except PackageNotFoundError:
        found = "none"
    if found != wanted:
        raise StudyError(f"model.package: {package} installed expected, version {found} found")
    try:
        return getattr(importlib.import_module(path), wanted_class)
    except (ImportError, AttributeError):
        raise StudyError(f"model.module: a class of {name} expected, {module!r} found") from None
