"""The PROXY protocol: what a proxy says of whom it passes on, before the first byte of TLS.

Versions 1 (text, what nginx sends) and 2 (binary) of HAProxy's specification, "The PROXY protocol,
versions 1 & 2", section 2, for TCP over IPv4 and IPv6. Pure: how many bytes are needed, and what
they say. A byte too many would be taken from TLS, so the header is asked for piece by piece.
"""

import ipaddress
import re
import struct
from typing import Final

from fieldfare.server.superlink.connections import Peer
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.system.addresses import LARGEST_PORT

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"  # of version 2 (section 2.2)
MOST_BYTES: Final = 2048  # of a header of version 2; 52 without what a proxy may add

_TEXT: Final = b"PROXY "
_LONGEST_LINE: Final = 107  # bytes, with its end (section 2.1)
_SHORTEST: Final = len(b"PROXY UNKNOWN\r\n")  # of both versions
_FIXED: Final = struct.Struct("!12sBBH")  # signature, version and command, family, length
_LOCAL, _PROXIED = 0x20, 0x21
_UNSPECIFIED: Final = 0x00
_FAMILIES: Final = {0x11: struct.Struct("!4s4sHH"), 0x21: struct.Struct("!16s16sHH")}
_LINE: Final = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (\d+) (\d+)\r\n")
_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def bytes_missing(begun: bytes) -> int:
    """Return how many bytes certainly still belong to a header; 0 where it is whole.

    Args:
        begun: what came so far.

    Raises:
        ProtocolError: it is the beginning of no header, or of one that is too long.
    """
    if begun[: len(SIGNATURE)] == SIGNATURE[: len(begun)]:
        return _binary_missing(begun)
    if begun[: len(_TEXT)] != _TEXT[: len(begun)]:
        raise ProtocolError("expected a PROXY header, found other bytes")
    if b"\n" in begun:
        return 0
    if len(begun) >= _LONGEST_LINE:
        raise ProtocolError(f"expected a PROXY line of at most {_LONGEST_LINE} bytes, found more")
    return max(_SHORTEST - len(begun), 1)


def _binary_missing(begun: bytes) -> int:
    if len(begun) < _FIXED.size:
        # Until the signature is here it could be anything, and that may be shorter.
        return (_SHORTEST if len(begun) < _SHORTEST else _FIXED.size) - len(begun)
    length = _FIXED.size + int(_FIXED.unpack_from(begun)[3])
    if length > MOST_BYTES:
        raise ProtocolError(
            f"expected a PROXY header of at most {MOST_BYTES} bytes, found one of {length}"
        )
    return max(length - len(begun), 0)


def source_in(header: bytes) -> Peer | None:
    """Return whom a proxy passes on; None where it speaks for itself or does not know.

    An IPv4 address that is written as an IPv6 one (RFC 4291, section 2.5.5.2) comes back as IPv4:
    all of them lie in one network of 64 bits and would be counted as one.

    Args:
        header: whole, as `bytes_missing` says.

    Raises:
        ProtocolError: it is not as the specification wants it.
    """
    if header.startswith(SIGNATURE):
        return _binary_source(header)
    if _UNKNOWN.fullmatch(header):
        return None
    found = _LINE.fullmatch(header)
    if found is None or not all(map(_PORT.fullmatch, found.group(4, 5))):
        raise ProtocolError("expected `PROXY TCP4` or `TCP6`, addresses and ports, found others")
    version, source, destination = (part.decode() for part in found.group(1, 2, 3))
    ports = tuple(map(int, found.group(4, 5)))
    addresses = _addresses(version, (source, destination))
    if max(ports) > LARGEST_PORT:
        raise ProtocolError(f"expected ports up to {LARGEST_PORT} in a PROXY line, found larger")
    return _peer(addresses[0], ports[0])


def _addresses(version: str, texts: tuple[str, str]) -> list[Address]:
    read = ipaddress.IPv4Address if version == "4" else ipaddress.IPv6Address
    try:
        return [read(text) for text in texts]
    except ValueError:
        raise ProtocolError(
            f"expected IPv{version} addresses in a PROXY line, found others"
        ) from None


def _binary_source(header: bytes) -> Peer | None:
    _, command, family, length = _FIXED.unpack_from(header)
    if len(header) != _FIXED.size + length:
        raise ProtocolError("expected a PROXY header of the length that it states, found another")
    if command == _LOCAL or (command, family) == (_PROXIED, _UNSPECIFIED):
        return None
    form = _FAMILIES.get(family)
    if command != _PROXIED or form is None or length < form.size:
        raise ProtocolError("expected a PROXY header for TCP over IPv4 or IPv6, found another")
    source, _, port, _ = form.unpack_from(header, _FIXED.size)  # what follows is not needed
    return _peer(ipaddress.ip_address(source), port)


def _peer(address: Address, port: int) -> Peer:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address), port
