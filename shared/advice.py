"""Advice on a missing library, on the name that was probably meant, on the next command."""

import difflib
import shlex
from collections.abc import Iterable
from typing import Final

import click
from click.core import ParameterSource

from fieldfare.shared.errors import PackageError

EXTRA_OF: Final = {
    "adbc_driver_manager": "institution",
    "adbc_driver_postgresql": "institution",
    "adbc_driver_sqlite": "institution",
    "captum": "torch",
    "duckdb": "institution",
    "lxml": "institution",
    "matplotlib": "coordinator",
    "opacus": "torch",
    "opendp": "institution",
    "pyarrow": "institution",
    "scipy": "auditor",
    "sklearn": "institution",
    "threadpoolctl": "institution",
    "sqlalchemy": "coordinator",
    "sqlglot": "sql",
    "starlette": "institution",
    "torch": "torch",
    "uvicorn": "coordinator",
    "yaml": "institution",
}
FOR: Final = {
    "auditor": "checking a study or a run needs",
    "coordinator": "a coordinator needs",
    "demo": "simulations need",
    "institution": "an institution needs",
    "sql": "indicators as SQL of another engine need",
    "torch": "networks (mlp, modules) need",
}


def told(error: ModuleNotFoundError, role: str | None = None) -> Exception:
    """Return the error for a failed import: how to install the library, or the error itself.

    A library that no extra brings is part of every installation: its absence is a defect.

    Args:
        error: of the import; it names what it did not find.
        role: the extra whose work this is, where that is known; it brings all but torch's.
    """
    library = (error.name or "").partition(".")[0]
    extra = EXTRA_OF.get(library)
    if extra is None:
        return error
    extra = extra if role is None or extra in {"sql", "torch"} else role
    return PackageError(
        f"expected {library}, which {FOR[extra]}, found that it is not installed here: where "
        f"fieldfare is installed, run: pip install 'fieldfare[{extra}]'"
    )


# -- nearest --------------------------------------------------------------------------------------

LIKENESS: Final = 0.66  # of 1: "Ruhedruk" and "Ruhedruck" are .94 alike
LONGEST: Final = 200  # characters: the comparison's time grows with their square
MOST: Final = 10_000  # names that are compared


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the name of `known` that is most like `name`, whatever its case; None if none is.

    Source: Ratcliff-Obershelp likeness, Python's difflib.
    """
    listed = [one for one in known if len(one) <= LONGEST][:MOST]
    folded = {one.casefold(): one for one in reversed(listed)}
    found = difflib.get_close_matches(name[:LONGEST].casefold(), folded, n=1, cutoff=LIKENESS)
    return folded[found[0]] if found else None


def meant(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` to end a message with, or nothing."""
    found = nearest(name, known)
    shown = found if found is None or found.isprintable() else ascii(found)
    return "" if shown is None else f"; did you mean {shown}?"


# -- next command ---------------------------------------------------------------------------------


def at_home(command: str) -> str:
    """Return a command with the `--home` that the present one was given on its own line.

    A home that an environment variable names, or the default one, is found again without it.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return command
    if context.get_parameter_source("home") is not ParameterSource.COMMANDLINE:
        return command
    return f"{command} --home {shlex.quote(str(context.params['home']))}"
