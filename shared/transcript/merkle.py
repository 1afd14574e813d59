"""Merkle trees of a log that only grows: roots, and proofs of growth.

RFC 6962 section 2.1, with SHA-256 (FIPS 180-4). A leaf is hashed under the byte 0 and an
inner node under the byte 1, so that no leaf can be read as a node. Everything here takes
and gives 32-byte hashes and is pure.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from fieldfare.shared.errors import ProtocolError

HASH_BYTES: Final = 32
MAX_SIZE: Final = 2**53 - 1  # sizes are written as exact integers of JSON
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


def consistency_path(old_size: int, hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return PROOF(m, D[n]): that the first m leaves are still there (RFC 6962 section 2.1.2).

    Args:
        old_size: m; 0 and n need no proof and give an empty path.
        hashes: of all n leaves, in order.

    Raises:
        ProtocolError: m is above n or below 0.
    """
    if not 0 <= old_size <= len(hashes):
        raise ProtocolError(f"expected an older size up to {len(hashes)}, found {old_size}")
    if old_size in {0, len(hashes)}:
        return ()
    path = []
    start, end, complete = 0, len(hashes), True  # complete: the subtree is the whole old tree
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(root(hashes[middle:end]))
            end = middle
        else:
            path.append(root(hashes[start:middle]))
            start, complete = middle, False
    if not complete:
        path.append(root(hashes[start:end]))
    return tuple(reversed(path))


def verify_consistency(
    old_size: int, old_root: bytes, size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Check that a tree is an older tree with leaves added at its end, and nothing else.

    Args:
        old_size: leaves of the older tree; 0 is the empty log.
        old_root: 32 bytes.
        size: leaves of the newer tree.
        new_root: 32 bytes.
        path: as `consistency_path` gives it, exactly.

    Edge cases:
        | case | accepted when |
        |---|---|
        | old size 0 | the old root is that of the empty log, the path is empty |
        | the same size | the roots are the same, the path is empty |
        | a smaller new size | never |

    Raises:
        ProtocolError: the sizes, the path's length, or either root do not fit.

    Source: RFC 9162 section 2.1.4.2 (the same tree; RFC 6962 leaves the algorithm open).
    """
    if not 0 <= old_size <= size <= MAX_SIZE:
        raise ProtocolError(f"expected a tree of at least {old_size} leaves, found {size}")
    if old_size in {0, size}:
        _check_trivial(old_size, old_root, size, new_root, path)
        return
    siblings = list(path)
    if old_size & (old_size - 1) == 0:  # a perfect tree: its root is a node of the newer one
        siblings.insert(0, old_root)
    if not siblings:
        raise ProtocolError("expected a longer path")
    at, last = old_size - 1, size - 1
    while at & 1:  # up to the largest subtree that the older tree's last leaf ends
        at, last = at >> 1, last >> 1
    old_node = new_node = _checked(siblings[0])
    for on_left, sibling in _climb(at, last, siblings[1:]):
        if on_left:
            old_node = node_hash(sibling, old_node)
        new_node = node_hash(sibling, new_node) if on_left else node_hash(new_node, sibling)
    if old_node != old_root:
        raise ProtocolError("expected a consistency path from the older root: history was changed")
    if new_node != new_root:
        raise ProtocolError("expected a consistency path to the newer root, found another root")


def _climb(at: int, last: int, path: Sequence[bytes]) -> Iterator[tuple[bool, bytes]]:
    """Go from a node up to the root: yield each sibling, and whether it stands on the left.

    Args:
        at: the node's position in its row.
        last: the last position in that row.
        path: the siblings, lowest first; exactly as many as there are.

    Raises:
        ProtocolError: a path that is too long, too short, or holds what is no hash.
    """
    for sibling in path:
        if last == 0:
            raise ProtocolError("expected a shorter path")
        on_left = bool(at & 1) or at == last
        yield on_left, _checked(sibling)
        if at == last:
            while not at & 1 and at:  # rows in which this subtree has no sibling
                at, last = at >> 1, last >> 1
        at, last = at >> 1, last >> 1
    if last != 0:
        raise ProtocolError("expected a longer path")


def _check_trivial(
    old_size: int, old_root: bytes, size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    if path:
        raise ProtocolError("expected an empty consistency path: nothing has to be shown")
    if old_size == 0 and old_root != root(()):
        raise ProtocolError("expected the root of the empty log for size 0")
    if old_size == size and old_root != new_root:
        raise ProtocolError("expected the same root for the same size: history was changed")


def _split(size: int) -> int:
    """Return k: the largest power of two below `size` (RFC 6962 section 2.1), size >= 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _checked(node: bytes) -> bytes:
    if len(node) != HASH_BYTES:
        raise ProtocolError(f"expected hashes of {HASH_BYTES} bytes, found {len(node)}")
    return node
