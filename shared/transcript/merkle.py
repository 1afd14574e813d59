"""Merkle trees of a log that only grows: its root, leaf by leaf, and proofs that it grew.

RFC 6962 section 2.1, with SHA-256 (FIPS 180-4). A leaf is hashed under the byte 0 and an
inner node under the byte 1, so that no leaf can be read as a node. Everything here takes
and gives 32-byte hashes and is pure.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from fieldfare.shared.errors import ProtocolError

HASH_BYTES: Final = 32
LEAF: Final = b"\x00"
NODE: Final = b"\x01"


def leaf_hash(content: bytes) -> bytes:
    """Return SHA-256(0x00 || content), 32 bytes (RFC 6962 section 2.1)."""
    return hashlib.sha256(LEAF + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), 32 bytes (RFC 6962 section 2.1)."""
    return hashlib.sha256(NODE + left + right).digest()


class RootBuilder:
    """The root of a growing log: leaves go in one by one, in order.

    Keeps one hash for each perfect subtree of the log so far (the binary digits of its
    size), so a log of any length takes logarithmic memory.
    """

    def __init__(self) -> None:
        """Start with the empty log."""
        self._size = 0
        self._peaks: list[bytes] = []  # largest subtree first

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._size

    def add(self, leaf: bytes) -> None:
        """Append the hash of a leaf."""
        node, below = _checked(leaf), self._size
        while below & 1:
            node = node_hash(self._peaks.pop(), node)
            below >>= 1
        self._peaks.append(node)
        self._size += 1

    def root(self) -> bytes:
        """Return the root over everything so far; SHA-256 of nothing for the empty log."""
        if not self._peaks:
            return hashlib.sha256().digest()
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node


def root(hashes: Sequence[bytes]) -> bytes:
    """Return MTH(D[n]) of the leaves' hashes, in order (RFC 6962 section 2.1)."""
    builder = RootBuilder()
    for leaf in hashes:
        builder.add(leaf)
    return builder.root()


def consistency_path(hashes: Sequence[bytes], old: int) -> tuple[bytes, ...]:
    """Return PROOF(old, D[n]): that the first `old` leaves are the beginning of all.

    RFC 6962 section 2.1.2; empty where `old` is 0 or all of them.

    Raises:
        ProtocolError: more leaves than there are.
    """
    if not 0 <= old <= len(hashes):
        raise ProtocolError(f"expected at most {len(hashes)} leaves, found {old}")
    return _subproof(hashes, old, whole=True) if old else ()


def _subproof(hashes: Sequence[bytes], old: int, *, whole: bool) -> tuple[bytes, ...]:
    """SUBPROOF of the RFC: `whole` says whether the old tree is a complete one up to here."""
    if old == len(hashes):
        return () if whole else (root(hashes),)
    half = 1 << (len(hashes) - 1).bit_length() - 1
    if old <= half:
        return (*_subproof(hashes[:half], old, whole=whole), root(hashes[half:]))
    return (*_subproof(hashes[half:], old - half, whole=False), root(hashes[:half]))


def _checked(node: bytes) -> bytes:
    if len(node) != HASH_BYTES:
        raise ProtocolError(f"expected hashes of {HASH_BYTES} bytes, found {len(node)}")
    return node


def hashes_in(content: bytes) -> tuple[bytes, ...]:
    """Return hashes that were written one after the other.

    Raises:
        ProtocolError: a length that no number of them has.
    """
    if len(content) % HASH_BYTES:
        raise ProtocolError(f"expected hashes of {HASH_BYTES} bytes each")
    return tuple(content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES))
