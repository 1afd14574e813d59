"""Canonical bytes, hashes and signatures of everything that is agreed on.

Canonical bytes are RFC 8785 JSON with defaults filled in; a hash or a
signature covers a type string, a zero byte and those bytes, so that nothing
signed can be read as something else (docs/protocol.md, "Bytes").

What a signed message claims before anything of it was checked: to say where to look.
"""

import hashlib
import json
from typing import Final

import rfc8785
from pydantic import BaseModel

TYPE_SEPARATOR: Final = b"\x00"
MAX_EXACT_INT: Final = 2**53 - 1  # RFC 8785 section 3.2.2.3: numbers are IEEE doubles


def canonical_bytes(value: BaseModel) -> bytes:
    """Return the RFC 8785 bytes of a frozen model, defaults filled in.

    Raises:
        rfc8785.CanonicalizationError: a number cannot be written exactly.
    """
    return rfc8785.dumps(value.model_dump(mode="json"))


def typed_bytes(type_string: str, value: BaseModel) -> bytes:
    """Return what a hash or a signature of `value` covers: type, zero byte, canonical bytes."""
    return type_string.encode("ascii") + TYPE_SEPARATOR + canonical_bytes(value)


def content_hash(type_string: str, value: BaseModel) -> str:
    """Return the lower-case hex SHA-256 (FIPS 180-4) of `typed_bytes`."""
    return hashlib.sha256(typed_bytes(type_string, value)).hexdigest()


def bytes_hash(content: bytes) -> str:
    """Return the lower-case hex SHA-256 of raw bytes (vectors, files)."""
    return hashlib.sha256(content).hexdigest()


# -- unverified -----------------------------------------------------------------------------------


def claimed(content: bytes, name: str) -> str | None:
    """Return one text of a message's body as it stands there; None where there is none.

    Never to be believed: it may only choose which error is shown.
    """
    try:
        found = json.loads(content)["body"][name]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if isinstance(found, str) else None
