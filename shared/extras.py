"""Which extra brings a library: what a missing one means, and the command that installs it."""

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
FOR: Final = {"torch": "networks (mlp, modules)", "institution": "records", "coordinator": "a hub"}


def told(error: ModuleNotFoundError) -> Exception:
    """Return what to raise for a failed import: how to install the library, or the error itself.

    A library that no extra brings is part of every installation: its absence is a defect.
    """
    library = (error.name or "").partition(".")[0]
    extra = EXTRA_OF.get(library)
    if extra is None:
        return error
    return PackageError(
        f"{library} expected, which {FOR[extra]} need, not installed found: where fieldfare is "
        f"installed, run: pip install 'fieldfare[{extra}]'"
    )
