"""Which units evaluation uses: a keyed hash of the unit id decides, alone and for good."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import UsageError

_BYTES = 8


def unit_order(units: Iterable[str], *, key: bytes) -> NDArray[np.uint64]:
    """Return uint64 (units,): keyed BLAKE2b (RFC 7693) of each id, unlike the hold-out's.

    Args:
        units: unit ids as text.
        key: 1 to 64 bytes, the institution's own.
    """
    return _digests(units, hashlib.blake2b(key=key, digest_size=_BYTES, person=b"fieldfare-cells"))


def _digests(units: Iterable[str], keyed: hashlib.blake2b) -> NDArray[np.uint64]:
    digests = bytearray()
    for unit in units:
        state = keyed.copy()
        state.update(unit.encode())
        digests += state.digest()
    return np.frombuffer(bytes(digests), dtype="<u8").astype(np.uint64)


def split_name(*, key: bytes, share: float) -> str:
    """Return 64 hex digits that name a split: the same for the same key and share, and only then.

    Keyed BLAKE2b of the share, under a label that no unit id is hashed with; it tells nothing of
    the key.
    """
    label = b"fieldfare split\0" + repr(float(share)).encode()
    return hashlib.blake2b(label, key=key, digest_size=32, person=b"split").hexdigest()


def holdout_mask(units: Iterable[str], *, key: bytes, share: float) -> NDArray[np.bool_]:
    """Tell which units belong to the hold-out.

    Keyed BLAKE2b (RFC 7693) of the id, below `share` of its range: a unit stays on its side
    whoever stands beside it and however often it is asked, and without the key nobody can
    choose an id for a side.

    Args:
        units: unit ids as text.
        key: 1 to 64 bytes.
        share: the share to hold out, 0 to 1.

    Returns:
        bool (units,).

    Raises:
        UsageError: a key or share out of range.
    """
    if not 1 <= len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
        raise UsageError(f"hold-out key: expected 1 to 64 bytes, found {len(key)}")
    if not 0 <= share <= 1:
        raise UsageError(f"hold-out share: expected 0 to 1, found {share}")
    places = _digests(units, hashlib.blake2b(key=key, digest_size=_BYTES))
    limit = int(share * 2.0 ** (8 * _BYTES))
    if limit == 0:
        return np.zeros(len(places), dtype=np.bool_)
    mask: NDArray[np.bool_] = places <= np.uint64(limit - 1)
    return mask
