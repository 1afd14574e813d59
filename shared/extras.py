"""Extras by library: the meaning of a missing library, and the command that installs it."""

from typing import Final

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
    "sklearn": "institution",
    "sqlalchemy": "coordinator",
    "torch": "torch",
    "uvicorn": "coordinator",
    "yaml": "institution",
}
FOR: Final = {
    "coordinator": "a hub needs",
    "demo": "simulations need",
    "institution": "records need",
    "torch": "networks (mlp, modules) need",
}


def told(error: ModuleNotFoundError, role: str | None = None) -> Exception:
    """Return what to raise for a failed import: how to install the library, or the error itself.

    A library that no extra brings is part of every installation: its absence is a defect.

    Args:
        error: of the import; it names what it did not find.
        role: the extra whose work this is, where that is known; it brings all but torch's.
    """
    library = (error.name or "").partition(".")[0]
    extra = EXTRA_OF.get(library)
    if extra is None:
        return error
    extra = extra if role is None or extra == "torch" else role
    return PackageError(
        f"expected {library}, which {FOR[extra]}, found that it is not installed here: where "
        f"fieldfare is installed, run: pip install 'fieldfare[{extra}]'"
    )
