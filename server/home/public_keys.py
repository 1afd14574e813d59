"""The public halves of a coordinator's keys, as its home keeps them."""

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.protocol.identity import parse_public_hex
from fieldfare.shared.system.private_files import read_public


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
