"""PROXY headers: whole ones byte by byte, and truncated, spoofed, huge and random ones."""

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.server.superlink.connections import Peer
from fieldfare.server.superlink.proxy_header import (
    MOST_BYTES,
    SIGNATURE,
    bytes_missing,
    source_in,
)
from fieldfare.shared.errors import ProtocolError

TLS: Final = b"\x16\x03\x01\x02\x00\x01\x00"  # what follows: the first bytes of a handshake
V4: Final = bytes([192, 0, 2, 7, 192, 0, 2, 1]) + struct.pack("!HH", 40_000, 8443)


def binary(command: int, family: int, rest: bytes, length: int | None = None) -> bytes:
    stated = len(rest) if length is None else length
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", stated) + rest


def read_from(sent: bytes) -> tuple[Peer | None, bytes]:
    """Read as a listener does: as many bytes as are asked for; returns what was left too."""
    header = b""
    while missing := bytes_missing(header):
        part = sent[len(header) : len(header) + missing]
        if not part:
            raise EOFError
        header += part
    return source_in(header), sent[len(header) :]


@pytest.mark.parametrize(
    ("header", "source"),
    [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 8443\r\n", ("192.0.2.7", 40_000)),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 0 0\r\n", ("1.1.1.1", 0)),
        (b"PROXY TCP6 2001:DB8::7 2001:db8::1 65535 1\r\n", ("2001:db8::7", 65_535)),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 1\r\n", ("192.0.2.7", 1)),
        (b"PROXY TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n",
         (":".join(["ffff"] * 8), 65_535)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (binary(0x21, 0x11, V4), ("192.0.2.7", 40_000)),
        (binary(0x21, 0x11, V4 + b"\x04\x00\x03abc"), ("192.0.2.7", 40_000)),
        (binary(0x21, 0x21, IPv6Address("2001:db8::7").packed * 2 + b"\x00\x01\x00\x02"),
         ("2001:db8::7", 1)),
        (binary(0x21, 0x21, IPv6Address("::ffff:192.0.2.7").packed * 2 + b"\x00\x01\x00\x02"),
         ("192.0.2.7", 1)),
        (binary(0x20, 0x00, b""), None),
        (binary(0x20, 0x11, V4), None),
        (binary(0x21, 0x00, b"whatever"), None),
        (binary(0x21, 0x11, V4 + b"\x00" * (MOST_BYTES - 16 - len(V4))), ("192.0.2.7", 40_000)),
    ],
)  # fmt: skip
def test_a_header_is_read_and_no_byte_more(header: bytes, source: Peer | None) -> None:
    assert read_from(header + TLS) == (source, TLS)


@pytest.mark.parametrize(
    "sent",
    [
        TLS + b"\x00" * 100,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n" + TLS,
        b"PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 \r\n",
        b"PROXY TCP4 192.0.2.07 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 -1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 " + b"9" * 60 + b"\r\n",
        b"PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n",
        b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY \n\r\n\r\n\r\n\r\n\r\n",
        b"PROXY UNKNOWN" + b"x" * 20 + b"\r\n",
        b"PROXY UNKNOWN " + b"x" * 200,
        b"PROXY TCP4 " + b"1" * 5000,
        binary(0x21, 0x11, b"", length=0xFFFF),
        binary(0x20, 0x00, b"", length=MOST_BYTES - 15),
        binary(0x22, 0x11, V4),
        binary(0x11, 0x11, V4),
        binary(0x31, 0x11, V4),
        binary(0x21, 0x12, V4),
        binary(0x21, 0x31, bytes(216)),
        binary(0x21, 0x11, V4[:-1]),
        binary(0x21, 0x21, V4),
    ],
)
def test_anything_else_is_refused(sent: bytes) -> None:
    with pytest.raises(ProtocolError, match="expected"):
        read_from(sent)


@pytest.mark.parametrize(
    "header", [b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 8443\r\n", binary(0x21, 0x11, V4 + b"\x04")]
)
def test_every_part_of_a_header_is_a_part(header: bytes) -> None:
    for length in range(len(header)):
        assert 0 < bytes_missing(header[:length]) <= len(header) - length
    assert bytes_missing(header) == 0


@given(
    v6=st.booleans(),
    text=st.booleans(),
    source=st.integers(0, 2**128 - 1),
    port=st.integers(0, 65_535),
)
def test_what_a_proxy_says_is_what_is_read(
    v6: bool,
    text: bool,
    source: int,
    port: int,
) -> None:
    address = IPv6Address(source) if v6 else IPv4Address(source % 2**32)
    line = f"PROXY TCP{6 if v6 else 4} {address} {address} {port} 1\r\n".encode()
    packed = address.packed * 2 + struct.pack("!HH", port, 1)
    header = line if text else binary(0x21, 0x21 if v6 else 0x11, packed)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    assert read_from(header + TLS) == ((str(mapped or address), port), TLS)


@given(
    begin=st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]),
    rest=st.binary(max_size=300),
)
def test_whatever_comes_is_read_or_refused(begin: bytes, rest: bytes) -> None:
    sent = begin + rest
    try:
        source, left = read_from(sent)
    except (ProtocolError, EOFError):
        return
    assert sent.endswith(left)
    assert source is None or 0 <= source[1] <= 65_535
