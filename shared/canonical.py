"""Canonical bytes, hashes and signatures of everything that is agreed on.

Canonical bytes are RFC 8785 JSON with defaults filled in; a hash or a
signature covers a type string, a zero byte and those bytes, so that nothing
signed can be read as something else (docs/protocol.md, "Bytes").

What a signed message claims before anything of it was checked: to say where to look.
"""

import hashlib
import json
import re
from itertools import islice
from typing import Any, Final

import rfc8785
from pydantic import BaseModel

TYPE_SEPARATOR: Final = b"\x00"
MAX_EXACT_INT: Final = 2**53 - 1  # RFC 8785 section 3.2.2.3: numbers are IEEE doubles
# Of names: no sign that cannot be seen. One could move a cursor, break a line, turn the direction
# of reading, or let two names look alike.
SHOWN: Final = r"^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$"
_PLAIN: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":")
)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LEXEME: Final = re.compile(rb'"[^"]*"|[\[{,]')


def canonical_bytes(value: BaseModel) -> bytes:
    """Return the RFC 8785 bytes of a frozen model, defaults filled in.

    Raises:
        rfc8785.CanonicalizationError: a number cannot be written exactly.
    """
    return content_bytes(value.model_dump(mode="json"))


def content_bytes(content: Any) -> bytes:
    """Return the RFC 8785 bytes of JSON values.

    Signed messages hold texts in ASCII and whole numbers, but for a few: of these the standard
    library's encoder, which is compiled, writes the same bytes in a tenth of the time.

    Raises:
        rfc8785.CanonicalizationError: a number or text that cannot be written exactly.
    """
    if _is_plain(content):
        return _PLAIN.encode(content).encode("ascii")
    return rfc8785.dumps(content)


def _is_plain(content: Any) -> bool:
    """Tell whether both encoders write the same: no fraction, no text beyond ASCII."""
    kind = type(content)
    if kind is str:
        return bool(content.isascii())
    if kind is int:
        return bool(-MAX_EXACT_INT <= content <= MAX_EXACT_INT)
    if kind is dict:
        return all(type(name) is str and name.isascii() for name in content) and all(
            map(_is_plain, content.values())
        )
    if kind is list:
        return all(map(_is_plain, content))
    return content is None or kind is bool


def typed_bytes(type_string: str, value: BaseModel) -> bytes:
    """Return the bytes that are hashed or signed: type, zero byte, canonical bytes of `value`."""
    return under_type(type_string, canonical_bytes(value))


def under_type(type_string: str, content: bytes) -> bytes:
    """Return the bytes that are hashed or signed, of canonical bytes."""
    return type_string.encode("ascii") + TYPE_SEPARATOR + content


def content_hash(type_string: str, value: BaseModel) -> str:
    """Return the lower-case hex SHA-256 (FIPS 180-4) of `typed_bytes`."""
    return bytes_hash(typed_bytes(type_string, value))


def chained_hash(before: bytes, content: dict[str, Any]) -> str:
    """Return the lower-case hex SHA-256 of `before` and the RFC 8785 bytes of `content`.

    One link of a chain: `before` is the hash of the link before it; or the type and a zero byte,
    where the content itself names the link before.

    Raises:
        rfc8785.CanonicalizationError: a number cannot be written exactly.
    """
    return bytes_hash(before + content_bytes(content))


def is_sha256(value: object) -> bool:
    """Tell whether `value` is 64 lower-case hex digits."""
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def bytes_hash(content: bytes) -> str:
    """Return the lower-case hex SHA-256 (FIPS 180-4) of raw bytes (vectors, files)."""
    return hashlib.sha256(content).hexdigest()


def json_text(content: bytes, most: int) -> str:
    """Return JSON that has few values, for a parser to read: it makes 700 bytes of an empty object.

    A parser of bytes would guess their encoding, and find a quotation mark elsewhere.

    Args:
        content: in UTF-8; whether it is JSON is its parser's to find out.
        most: of lists, objects, commas, and texts, names among them.

    Raises:
        ValueError: more, or bytes that are not UTF-8.
    """
    ends_alone = content.replace(rb"\\", b"").replace(rb"\"", b"")  # no mark inside a text
    if next(islice(_LEXEME.finditer(ends_alone), most, None), None) is not None:
        raise ValueError("expected JSON of fewer values, found more")
    return content.decode()


# -- unverified -----------------------------------------------------------------------------------


def claimed_type(content: bytes) -> str | None:
    """Return which type a message says it is; None where it says none.

    Whether it is one is for its reader to find out.
    """
    try:
        found = json.loads(content)["type"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def claimed(content: bytes, name: str) -> str | None:
    """Return one text of a message's body as it stands there; None where there is none.

    Never to be believed: it may only choose which error is shown.
    """
    try:
        found = json.loads(content)["body"][name]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if isinstance(found, str) else None
