"""Opaque keys, as an institution's own keyed hash would give them, but fast: made-up ids only.

Each institution's keys are mixed with its own salt, so nothing joins across institutions.
A mixer is no cryptography; there is nobody here to protect.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_HEX: Final = np.array([f"{byte:02x}".encode() for byte in range(256)], "S2")
_CHARACTERS: Final = 16


def mixed(ids: npt.NDArray[np.int64], salt: int) -> npt.NDArray[np.uint64]:
    """Return splitmix64 of id and salt (Steele, Lea, Flood 2014): no two ids collide."""
    z = ids.astype(np.uint64) + np.uint64(salt % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def keys(ids: npt.NDArray[np.int64], salt: int, valid: npt.NDArray[np.bool_] | None = None) -> Any:
    """Return a string array of 16 hex characters for each id; null where not `valid`."""
    digits = _HEX[mixed(ids, salt).astype(">u8").view(np.uint8)]
    offsets = np.arange(ids.size + 1, dtype=np.int32) * _CHARACTERS
    bitmap = (
        None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    )
    return pa.StringArray.from_buffers(
        ids.size, pa.py_buffer(offsets.tobytes()), pa.py_buffer(digits.tobytes()), bitmap
    )
