"""A node's key as OpenSSH and as PEM, and the proof that a request is by its holder."""

import base64
import binascii
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fieldfare.server.superlink.gate import Headers
from fieldfare.shared.errors import RunError, UsageError

# Flower's own; tests/server/superlink/test_flwr_contract.py compares.
PUBLIC_KEY_HEADER: Final = "flwr-public-key"
SIGNATURE_HEADER: Final = "flwr-signature"
TIMESTAMP_HEADER: Final = "flwr-timestamp"
FRESH_SECONDS: Final = 305.0

_NO_KEY: Final = (ValueError, TypeError, UnsupportedAlgorithm, NotImplementedError)
_BAD_PROOF: Final = (*_NO_KEY, UnicodeError, binascii.Error, InvalidSignature)


def spki_of(line: bytes) -> bytes:
    """Return an OpenSSH public key as Flower keeps it: SubjectPublicKeyInfo, PEM.

    Raises:
        UsageError: no public key, or one that Flower does not take from a node.
    """
    try:
        key = serialization.load_ssh_public_key(line)
    except _NO_KEY:
        raise UsageError(
            "expected a node's public key as one OpenSSH line, found something else"
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UsageError(
            "expected a node key over a NIST curve, as `institution init` makes it, found another "
            "kind"
        )
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def openssh_of(pem: bytes) -> bytes:
    """Return a public key that Flower kept as an OpenSSH line without a comment.

    Raises:
        RunError: it is another one than Flower takes.
    """
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise RunError(
            "expected a node key over a NIST curve in the SuperLink's state, found another kind"
        )
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)


def signer_of(headers: Headers, now: datetime) -> bytes | None:
    """Return the key (PEM) that a request's headers hold a fresh signature by, None for none.

    What is signed is the time alone, as Flower has it: it says who asks, not what.

    Args:
        headers: of the request.
        now: with a time zone.
    """
    try:
        pem = base64.b64decode(header_in(headers, PUBLIC_KEY_HEADER), validate=True)
        signature = base64.b64decode(header_in(headers, SIGNATURE_HEADER), validate=True)
        stamp = header_in(headers, TIMESTAMP_HEADER).decode("ascii")
        if abs((now - datetime.fromisoformat(stamp)).total_seconds()) >= FRESH_SECONDS:
            return None
        key = serialization.load_pem_public_key(pem)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return None
        key.verify(signature, stamp.encode(), ec.ECDSA(hashes.SHA256()))
    except _BAD_PROOF:
        return None
    return pem


def header_in(headers: Headers, name: str) -> bytes:
    """Return a header's value, empty where there is none or more than one."""
    found = [value for given, value in headers if given == name.encode()]
    return found[0] if len(found) == 1 else b""
