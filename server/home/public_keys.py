"""A coordinator's keys as a home shows them: public halves, and whether both private ones lie here.

A console shows these; no private half is read here.
"""

import os
from pathlib import Path
from typing import Final

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.errors import KeysError
from fieldfare.shared.protocol.identity import parse_public_hex
from fieldfare.shared.system.private_files import open_regular, read_public

TOKEN: Final = b"pkcs11:"  # how the URI of a key in a token begins, RFC 7512


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
        KeysError: it cannot be read.
    """
    if not place.exists():
        return False
    try:
        with open_regular(place) as file:
            return os.pread(file.fileno(), len(TOKEN), 0) == TOKEN
    except OSError as error:
        raise KeysError(f"{place}: expected a readable file, found: {error.strerror}") from None


def together(home: CoordinatorHome) -> str:
    """Say that both keys lie in the home, where they do; else nothing."""
    if not home.roster_key.exists() or is_token(home.roster_key):
        return ""
    return (
        f"{home.roster_key} lies beside the online key: who copies this machine can change who "
        "takes part. Move it, with its .last, to a stick: docs/coordinator.md"
    )
