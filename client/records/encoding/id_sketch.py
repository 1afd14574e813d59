"""Whether a load holds the earlier units: a sample of their ids, as keyed hashes.

Which side of a study a unit is on follows from its id (`units.holdout_mask`). Where an extract
writes ids another way, or names everybody anew, people change sides and no sum shows it; the ids
do. The smallest hashes of a set are a uniform sample of it (k minimum values: Bar-Yossef et al.
2002; of two sets at once, Beyer et al. 2007), so two loads are compared by what both have below one
limit, and neither needs the other's records.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.holdout import unit_order
from fieldfare.shared.errors import LedgerError

KEPT: Final = 1024  # hashes, beside a split: shares of a half are known to +-.025
SEEN: Final = 64 * KEPT  # of a load: what a population that grew to the 64fold still shows whole
_WORD: Final = b"fieldfare.ids.v1"  # no other hash under the hold-out key is of it
_BYTES: Final = 8
_LAST: Final = 2**64 - 1
IDS_CHANGED: Final = (
    "study {study}: expected records with the ids by which its units were split at its first "
    "answer, found more than half of them gone and others in their place: ids that are written in "
    "another way, or named anew, put people on the other side of the study. Put the "
    "earlier export back, or say which it is: fieldfare institution ledger holdout-key, where ids "
    "changed (both sides count then), or with --keep-sides, where these are other people"
)


@dataclass(frozen=True)
class IdChange:
    """How the ids of a load differ from those of an earlier one, in the range that both show.

    Attributes:
        here: of the earlier ones, how many are there still.
        gone: of the earlier ones, how many are not.
        come: how many are there that were not.
    """

    here: int
    gone: int
    come: int

    @property
    def renamed(self) -> bool:
        """Whether so many may be the same people under other ids that nobody can go on.

        Who is named anew is gone under one id and comes under another, so no more than the smaller
        of the two were: customers who joined move nothing, nor do those who left, nor an extract
        that holds fewer. More than half of the earlier ids is too many.
        """
        return 2 * min(self.gone, self.come) > self.here + self.gone

    @property
    def words(self) -> str:
        """Say it, for this institution's people."""
        return (
            f"of {self.here + self.gone:,} ids of the study's first answer that were looked at, "
            f"{self.here:,} are here and {self.gone:,} are not; {self.come:,} others are"
        )


@dataclass(frozen=True, eq=False, repr=False)  # hashes of ids are about records
class IdSketch:
    """The smallest keyed hashes of a set of ids.

    Attributes:
        hashes: uint64 (some,), ascending, each once.
        most: how many there may be; fewer are of all ids.
    """

    hashes: NDArray[np.uint64]
    most: int = SEEN

    @classmethod
    def of(cls, units: Iterable[str], *, key: bytes) -> "IdSketch":
        """Sketch the ids of a load.

        *Formal Guarantees.* Without the key nobody can tell whether an id is in it, or choose one
        that is: HMAC-SHA-256 (RFC 2104) makes a key of its own of the hold-out key, under which
        each id is hashed (BLAKE2b, RFC 7693). With the key anybody can try ids.

        *Edge cases.*
            | ids | sketch |
            |---|---|
            | none | empty: it is compared with nothing |
            | the same one twice | it counts once |
            | up to 65,536 | all of them |

        Args:
            units: unit ids as text.
            key: the hold-out key.
        """
        hashes = np.unique(unit_order(units, key=hmac.digest(key, _WORD, "sha256")))
        return cls(hashes[:SEEN])

    @classmethod
    def from_bytes(cls, content: bytes) -> "IdSketch":
        """Read what `to_bytes` kept.

        Raises:
            LedgerError: it is damaged.
        """
        if len(content) % _BYTES or len(content) > KEPT * _BYTES:
            raise LedgerError(
                "expected a sketch of ids as it was kept, found a damaged one: restore the newest "
                "copy of the ledger and its witness"
            )
        return cls(np.frombuffer(content, dtype="<u8").astype(np.uint64), KEPT)

    def to_bytes(self) -> bytes:
        """Return what is kept of it: 1,024 hashes at most."""
        return self.hashes[:KEPT].astype("<u8").tobytes()

    def since(self, then: "IdSketch") -> IdChange:
        """Compare with an earlier load.

        *Edge cases.*
            | the two | found |
            |---|---|
            | small ones | compared whole |
            | one of nobody | nobody came, or nobody is gone |
            | a population more than 64 times as large | by those of the sketch in both ranges |
        """
        limit = np.uint64(min(self.reach, then.reach))
        now, before = (one[one <= limit] for one in (self.hashes, then.hashes))
        here = int(np.count_nonzero(np.isin(before, now, assume_unique=True)))
        return IdChange(here, len(before) - here, len(now) - here)

    @property
    def reach(self) -> int:
        """The largest hash up to which all ids of the set are in it."""
        return _LAST if len(self.hashes) < self.most else int(self.hashes[-1])


NO_IDS: Final = IdSketch(np.empty(0, np.uint64))
