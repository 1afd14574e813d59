"""One interface over parts of an institution's units: a pure function of each part, added up.

Every release is a sum of whole numbers over units, so the sum over parts is the sum over units,
however they were cut and whoever adds up (docs/design.md, "Integers"). What is asked of a part is
one of a closed choice, never code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.sums.run_sums import RunSums
from fieldfare.client.sums.spilled import PartUnits
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import Study

Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AskedSum:
    """What is summed over every part.

    Attributes:
        kind: of the release.
        content: of questions their canonical bytes, else float64 parameters.
        geometry: the coordinates of a training step; empty: the features' own.
    """

    kind: ReleaseKind
    content: bytes
    geometry: bytes = b""

    @classmethod
    def by(
        cls, kind: ReleaseKind, parameters: NDArray[np.float64], geometry: Geometry | None
    ) -> "AskedSum":
        """Return what a release by parameters asks of every part."""
        given = b"" if geometry is None else geometry.to_bytes()
        return cls(kind, np.ascontiguousarray(parameters, "<f8").tobytes(), given)


class Partitions(Protocol):
    """Parts of one institution's units."""

    def added(self, asked: AskedSum) -> Whole:
        """Return int64 (entries,): the sum over all parts, in units of gamma.

        Raises:
            PolicyRefusal: as `RunSums.vector` and `RunSums.answers`.
        """
        ...


def part_sum(sums: RunSums, asked: AskedSum) -> Whole:
    """Return int64 (entries,): the sum over one part, a function of it and of nothing else.

    Raises:
        PolicyRefusal: as `RunSums.vector` and `RunSums.answers`.
    """
    if asked.kind is ReleaseKind.QUERY:
        return sums.answers(QuestionGroup.from_bytes(asked.content))
    geometry = Geometry.from_bytes(asked.geometry) if asked.geometry else None
    return sums.vector(asked.kind, np.frombuffer(asked.content, "<f8").copy(), geometry)


class InOneProcess:
    """Parts that this process sums itself, one after the other."""

    def __init__(self, study: Study, parts: Sequence[PartUnits], split: str = "") -> None:
        """Prepare them; at least one."""
        self._parts = [part.sums(study, split) for part in parts]

    def added(self, asked: AskedSum) -> Whole:
        """Return the sum over all parts."""
        return added_up([part_sum(part, asked) for part in self._parts])


def added_up(sums: Sequence[Whole]) -> Whole:
    """Return int64 (entries,): parts' sums added; beyond int64 it wraps silently, as one's does."""
    total = np.zeros_like(sums[0])
    for one in sums:
        total += one
    return total
