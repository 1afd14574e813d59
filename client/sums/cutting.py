"""Which part a unit belongs to: the first bits of the hash of its id.

A network's sums are rounded by buckets, leaves of the tree of these hashes
(`shared/models/unit_batches`). Parts are branches of the same tree, and a branch with no more
training units than a bucket is never cut, so that parts have the buckets of the whole.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.models.network_facts import CAPACITY
from fieldfare.shared.study.model_sections import MlpSection
from fieldfare.shared.study.study import Study

HASH_BITS: Final = 64
MOST_PARTS: Final = 256
PART_BYTES: Final = 128 << 20  # of a part's file: what is copied at once while it is written
_PREPARED: Final = 8  # bytes a unit that sums keep beside the file, without a network


def part_count(study: Study, units: int, unit_bytes: int, *, workers: int, memory: int) -> int:
    """Return how many parts to cut, a power of two: by what is written and computed at a time.

    Args:
        study: the public plan.
        units: how many there are.
        unit_bytes: of one of them in a file.
        workers: processes that sum.
        memory: bytes that all of them may hold beside mapped files.
    """
    written = units * unit_bytes / PART_BYTES
    held = units * _prepared_bytes(study) * workers * 2 / memory
    wanted = max(workers, written, held, 1)
    return int(min(1 << int(np.ceil(np.log2(wanted))), MOST_PARTS))


def _prepared_bytes(study: Study) -> int:
    if isinstance(study.model, MlpSection):  # int16 a slot and row (`UnitInputs`)
        return 2 * study.model.rows * (16 + sum(one.slots for one in study.features))
    return _PREPARED


def parts_of(
    order: NDArray[np.uint64], training: NDArray[np.bool_], parts: int
) -> NDArray[np.uint8]:
    """Return uint8 (units,): the part of each unit.

    Args:
        order: uint64 (units,), a hash of each unit's id, as its bucket goes by.
        training: bool (units,): whose buckets are to stay whole.
        parts: how many, a power of two up to 256.

    Formal Guarantees:
        The training units of each part, put into buckets by themselves, are in the buckets that
        they are in among all: every branch above a part has more than 128 of them, so the whole
        cuts it too, or is one bucket and lies in one part.
    """
    bits = parts.bit_length() - 1
    if bits == 0:
        return np.zeros(len(order), dtype=np.uint8)
    branch = (order >> np.uint64(HASH_BITS - bits)).astype(np.int64)
    counts = np.bincount(branch[training], minlength=parts)
    place = np.arange(parts)
    for height in range(1, bits + 1):  # the highest branch that stays whole decides, so it is last
        within = counts.reshape(-1, 1 << height).sum(axis=1)
        whole = np.repeat(within <= CAPACITY, 1 << height)
        first = np.arange(parts) >> height << height
        place = np.where(whole, first, place)
    return place.astype(np.uint8)[branch]
