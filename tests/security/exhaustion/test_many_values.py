"""A node that was taken over, a coordinator or a member fills no memory by one frame of nothing.

Each row is refused, and names how many MiB it took before its values were counted first.
"""

import base64
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from typing import Final

import pytest

from fieldfare.client.wire.calls import LARGEST_FRAME
from fieldfare.shared.protocol.messages import MAX_MESSAGE_BYTES, Approval
from fieldfare.shared.protocol.remembered import LARGEST
from fieldfare.shared.study.study import MAX_STUDY_BYTES

_FRAME: Final = "decode(content, CALLS[Call.RELEASE].question)"
_OFFERED: Final = "offered(RosterOffer.model_construct(roster=content.decode()))"
_MESSAGE: Final = "open_envelope(content, Approval, RosterKey('0' * 64), Protection.EXACT)"
MEGABYTE: Final = 1 << 20
MOST: Final = 96 * MEGABYTE  # some copies of what came
READER: Final = """
    import re, sys
    from pathlib import Path
    from fieldfare.client.wire.calls import CALLS
    from fieldfare.client.wire.frames import decode
    from fieldfare.shared.errors import ProtocolError
    from fieldfare.shared.privacy.protection import Protection
    from fieldfare.shared.protocol.flower_record import Call
    from fieldfare.shared.protocol.messages import Approval, open_envelope
    from fieldfare.shared.protocol.remembered import RememberedMessages
    from fieldfare.shared.protocol.roster import RosterKey
    from fieldfare.shared.protocol.signed_files import RosterOffer, offered
    from fieldfare.shared.transcript.leaves import Leaf, SumRecord

    def peak():
        return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10

    content = sys.stdin.buffer.read()
    before = peak()
    try:
        {reads}
        found = "read"
    except ProtocolError:
        found = "refused"
    print(found, peak() - before)
"""


def part(tag: int, content: bytes) -> bytes:
    """Bytes under a tag of protobuf's."""
    size, length = len(content), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([tag, *length, size]) + content


def nothings(size: int, ends: int = 64) -> bytes:
    """JSON of a list of empty objects, that takes nearly so many bytes."""
    return b"[" + b"{}," * ((size - ends) // 3) + b"{}]"


def of_type(kind: str) -> bytes:
    """A message of a type, of whose body nothing fits."""
    ends = b'"signature":"","signer":"a","type":"%s"}' % kind.encode()
    return b'{"body":{"a":%s},%s' % (nothings(MAX_MESSAGE_BYTES, 256), ends)


def hidden() -> bytes:
    """JSON in UTF-16, where signs hold the byte of a quotation mark: all looks like one text."""
    text = '{"\u2201":' + nothings(MAX_MESSAGE_BYTES // 2).decode() + ',"\u2201":0}'
    return text.encode("utf-16-le")


def remembered() -> bytes:
    """What a member sends inside a key offer."""
    lists = b'{"requests":%s,"replies":[]}' % nothings(LARGEST)
    return base64.b64encode(zlib.compress(lists, 9))


ROWS: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "fields, of which 16 MiB came to 449": (lambda: b"\x0a\x00" * (LARGEST_FRAME // 2), _FRAME),
    "items, 383": (
        lambda: part(0x0A, b"\x0a\x07request" + b"\x12\x00" * (LARGEST_FRAME // 2 - 20)),
        _FRAME,
    ),
    "a signed message, 4,170": (lambda: of_type(Approval.TYPE), _MESSAGE),
    "a message in UTF-16, 218": (hidden, _MESSAGE),
    "what a member remembers, 1,262 of 8 MiB": (
        remembered,
        "RememberedMessages.from_text(content.decode())",
    ),
    "a roster, 1,154 of 4 MiB": (
        lambda: b'{"members":%s}' % nothings(MAX_STUDY_BYTES),
        _OFFERED,
    ),
    "a leaf, 401": (lambda: nothings(MAX_MESSAGE_BYTES), "Leaf.from_bytes(content)"),
    "a leaf's record, 3,374": (
        lambda: b'{"participants":%s}' % nothings(MAX_MESSAGE_BYTES),
        "SumRecord.from_bytes(content)",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_many_values_are_counted_before_they_are_made(row: str) -> None:
    make, reads = ROWS[row]
    code = textwrap.dedent(READER).replace("{reads}", reads)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], input=make(), capture_output=True, check=True
    )
    found, grown = done.stdout.split()
    assert found == b"refused"
    assert int(grown) < MOST
