"""A coordinator's keys as a home shows them: public halves, and whether both private ones lie here.

A console shows these; no private half is read here.
"""

import os
from pathlib import Path

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.errors import KeysError
from fieldfare.shared.protocol.identity import parse_public_hex
from fieldfare.shared.system.private_files import PKCS11, check_private, open_regular, read_public


def signing_public(home: CoordinatorHome) -> str:
    """Return the online key's public half, hex, from signing.pub.

    Raises:
        KeysError: missing, or no key.
    """
    return parse_public_hex(read_public(home.signing_public), str(home.signing_public))


def roster_public(home: CoordinatorHome) -> str:
    """Return the roster key's public half, hex, which institutions pin.

    Raises:
        KeysError: missing, or no key.
    """
    return parse_public_hex(read_public(home.roster_public), str(home.roster_public))


def is_token(place: Path) -> bool:
    """Tell whether a file names a token, so that a PIN opens it; what comes after is not read.

    Raises:
        KeysError: not readable, or what only its owner may read is open to others.
    """
    if not place.exists():
        return False
    try:
        with open_regular(place) as file:
            check_private(place, os.fstat(file.fileno()))
            return os.pread(file.fileno(), len(PKCS11), 0) == PKCS11.encode()
    except OSError as error:
        raise KeysError(f"{place}: expected a readable file, found: {error.strerror}") from None


def together(home: CoordinatorHome) -> str:
    """Say that both keys lie in the home, where they do; else nothing."""
    if not home.roster_key.exists() or is_token(home.roster_key):
        return ""
    return (
        f"{home.roster_key} lies beside the online key: a person who copies this machine can "
        "change the members. Move it, with its .last, to a stick: docs/coordinator.md"
    )
