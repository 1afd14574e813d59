"""Short open texts as integers, and where a public hash puts them.

A text is read as capital letters, digits and a few signs, six bits a character; a longer one is
cut. A sketch adds up the bits of a scrambled text and of a check, each as +1 or -1, so that a
value that many units share can be read off the sums, and a value that few have cannot. They are
scrambled (one to one, publicly) so that texts which look alike have bits that do not: texts that
share a bucket then add noise to a count, but no bias.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.query_blocks import CHARACTER_BITS, CHECK_BITS, Sketch
from fieldfare.shared.splitmix import splitmix

ALPHABET: Final = " ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/>+&'#@*"
MISSING_TEXT: Final = 2**64 - 1
ROUNDS: Final = 4  # of a Feistel network (Luby-Rackoff 1988)
_CODES: Final = {character: code for code, character in enumerate(ALPHABET)}
_CHECK, _BUCKETS = ROUNDS, ROUNDS + 1  # which key of a sketch is for what

Codes = NDArray[np.uint64]


def packed(text: str, length: int) -> int:
    """Return a text as an integer of 6 bits a character; 0 is the empty text."""
    value = 0
    for index, character in enumerate(text.strip().upper()[:length]):
        value |= _CODES.get(character, _CODES["_"]) << (CHARACTER_BITS * index)
    return value


def unpacked(value: int, length: int) -> str | None:
    """Return the text of an integer, or None where it is none that `packed` returns."""
    codes = [(value >> (CHARACTER_BITS * i)) & (2**CHARACTER_BITS - 1) for i in range(length)]
    if any(code >= len(ALPHABET) for code in codes):
        return None
    text = "".join(ALPHABET[code] for code in codes).rstrip()
    return text if text and packed(text, length) == value else None


def scrambled(sketch: Sketch, values: Codes) -> Codes:
    """Return uint64 (values,): packed texts, one to one, with bits that look like chance."""
    half, mask = _half(sketch)
    left, right = values >> half, values & mask
    for number in range(ROUNDS):
        left, right = right, left ^ (_hashed(sketch, right, number) & mask)
    return (left << half) | right


def unscrambled(sketch: Sketch, codes: Codes) -> Codes:
    """Return uint64 (codes,): the packed texts that `scrambled` made these of."""
    half, mask = _half(sketch)
    left, right = codes >> half, codes & mask
    for number in reversed(range(ROUNDS)):
        left, right = right ^ (_hashed(sketch, left, number) & mask), left
    return (left << half) | right


def checks(sketch: Sketch, values: Codes) -> Codes:
    """Return uint64 (values,): 18 bits by which a text that was read is believed."""
    return _hashed(sketch, values, _CHECK) & np.uint64(2**CHECK_BITS - 1)


def buckets(sketch: Sketch, values: Codes) -> NDArray[np.int64]:
    """Return int64 (rows, values): each packed text's bucket in each row."""
    rows = [_hashed(sketch, values, _BUCKETS + row) for row in range(sketch.rows)]
    return (np.stack(rows) % np.uint64(sketch.buckets)).astype(np.int64)


def signs(sketch: Sketch, values: Codes) -> NDArray[np.int64]:
    """Return int64 (values, bits): +1 or -1 for each bit of a scrambled text, then of its check."""
    parts = [
        (scrambled(sketch, values), CHARACTER_BITS * sketch.length),
        (checks(sketch, values), CHECK_BITS),
    ]
    bits = [
        (codes[:, None] >> np.arange(count, dtype=np.uint64)) & np.uint64(1)
        for codes, count in parts
    ]
    return 2 * np.concatenate(bits, axis=1).astype(np.int64) - 1


def _half(sketch: Sketch) -> tuple[np.uint64, np.uint64]:
    bits = CHARACTER_BITS * sketch.length // 2
    return np.uint64(bits), np.uint64(2**bits - 1)


def _hashed(sketch: Sketch, values: Codes, number: int) -> Codes:
    """Return one of a sketch's public hashes of each value."""
    salt = np.array([int(sketch.salt[:16], 16), number], dtype=np.uint64)
    key = splitmix(splitmix(salt[:1]) + salt[1:])
    return splitmix(splitmix(values ^ key) + key)
