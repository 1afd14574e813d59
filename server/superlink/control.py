"""A home's own SuperLink, as this host's commands reach it."""

from pathlib import Path

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.server.superlink.facts import ControlTarget
from fieldfare.shared.system.private_files import read_private, read_public


def control_target(home: CoordinatorHome) -> ControlTarget:
    """Return the address of a home's SuperLink control API, and its token.

    Raises:
        StudyError: the settings have mistakes.
        KeysError: a token or the authority is missing, or open to others.
    """
    return ControlTarget(
        address=load_settings(home).local_address,
        authority=read_public(home.authority),
        token=read_token(home.control_token),
    )


def read_token(path: Path) -> str:
    """Return the token in a file.

    Raises:
        KeysError: none there, or one that others can read.
    """
    return read_private(path).decode("ascii", "replace").strip()
