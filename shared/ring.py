"""Integers on a grid and the ring they travel in.

A released vector is a vector of integers in units of gamma = 2^-gamma_bits. It
travels in Z_2^k, k = 32 or 64, so that masks are uniform and cancel exactly; only
the sum of all participants is decoded, as centred integers (docs/design.md, "Integers").
"""

from enum import Enum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import ProtocolError

Word = NDArray[np.uint64]
MAX_GAMMA_BITS: Final = 40


class WordBits(Enum):
    """The ring Z_2^k that a release travels in."""

    K32 = 32
    K64 = 64

    @property
    def dtype(self) -> np.dtype[np.uint32] | np.dtype[np.uint64]:
        """Little-endian unsigned words of k bits."""
        return np.dtype("<u4") if self is WordBits.K32 else np.dtype("<u8")


def word_bits_for(largest_sum: float) -> WordBits:
    """Return the smallest ring whose centred range holds `largest_sum` (units of gamma).

    Raises:
        ProtocolError: the sum does not fit 64 bits.
    """
    for bits in WordBits:
        if largest_sum < 2.0 ** (bits.value - 1):
            return bits
    raise ProtocolError(
        f"expected a sum below 2^63 grid units, found {largest_sum:.3g}: use a coarser grid"
    )


def to_ring(vector: NDArray[np.int64], bits: WordBits) -> Word:
    """Reduce int64 (d,) modulo 2^k; overflow wraps silently (docs/design.md, "Integers")."""
    return _reduce(vector.astype(np.uint64), bits)


def add(left: Word, right: Word, bits: WordBits) -> Word:
    """Add two ring vectors modulo 2^k."""
    return _reduce(left + right, bits)


def subtract(left: Word, right: Word, bits: WordBits) -> Word:
    """Subtract two ring vectors modulo 2^k."""
    return _reduce(left - right, bits)


def encode(vector: Word, bits: WordBits) -> bytes:
    """Return the wire form: k/8 little-endian bytes an entry."""
    return vector.astype(bits.dtype).tobytes()


def decode(content: bytes, bits: WordBits, entries: int) -> Word:
    """Parse the wire form.

    Raises:
        ProtocolError: the length is not entries * k / 8 bytes.
    """
    return encoded_words(content, bits, entries).astype(np.uint64)


def encoded_words(content: bytes, bits: WordBits, entries: int) -> NDArray[Any]:
    """Return the wire form as it lies: unsigned words of k bits (entries,), not to be written to.

    Raises:
        ProtocolError: the length is not entries * k / 8 bytes.
    """
    expected = entries * bits.value // 8
    if len(content) != expected:
        raise ProtocolError(f"expected a vector of {expected} bytes, found {len(content)}")
    return np.frombuffer(content, dtype=bits.dtype)


def centre(vector: Word, bits: WordBits) -> NDArray[np.int64]:
    """Return the representatives in [-2^(k-1), 2^(k-1)) as int64 (d,)."""
    if bits is WordBits.K64:
        return vector.astype(np.int64)
    return vector.astype(np.uint32).astype(np.int32).astype(np.int64)


def _reduce(vector: Word, bits: WordBits) -> Word:
    """Reduce a vector that nobody else holds, in its place."""
    if bits is not WordBits.K64:
        vector &= np.uint64(0xFFFF_FFFF)
    return vector
