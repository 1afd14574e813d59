"""An institution's sums over parts: the same vectors as in one, bit for bit.

Small institutions stay in the custodian's own process; what a part is and who adds it up is no
part of any promise, and a coordinator sees no trace of it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.asked import AskedUnits
from fieldfare.client.records.encoding.holdout import unit_order
from fieldfare.client.records.encoding.id_sketch import NO_IDS, IdSketch
from fieldfare.client.records.load import BUCKETS_KEY, LoadedRecords
from fieldfare.client.sums.cutting import part_count, parts_of
from fieldfare.client.sums.local_workers import LocalWorkers
from fieldfare.client.sums.partitions import AskedSum, Partitions, Whole
from fieldfare.client.sums.run_sums import RunSums
from fieldfare.client.sums.spilled import PartUnits, spill
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.models import GridVectors, gradient_vectors
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import Study

SMALL_UNITS: Final = 200_000  # whose step takes 20 ms: less than a second process would save
MEGABYTE: Final = 1 << 20


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class PartitionedSums(RunSums):
    """Sums of one study over parts of an institution's units."""

    study: Study
    partitions: Partitions
    split: str = ""
    ids: IdSketch = NO_IDS

    def vector(
        self, kind: ReleaseKind, parameters: NDArray[np.float64], geometry: Geometry | None = None
    ) -> Whole:
        """Return int64 (entries,): as `RunSums.vector`."""
        return self.partitions.added(AskedSum.by(kind, parameters, geometry))

    def answers(self, questions: QuestionGroup) -> Whole:
        """Return int64 (entries,): as `RunSums.answers`."""
        return self.partitions.added(AskedSum(ReleaseKind.QUERY, questions.to_bytes()))

    @property
    def gradients(self) -> GridVectors:
        """Public facts about a unit's vector of a training step."""
        return gradient_vectors(self.study)


@dataclass(frozen=True)
class Workplace:
    """Where and by how many processes records are added up.

    Attributes:
        folder: on whose disk parts lie while they are used; made where it is absent.
        workers: processes; 0: as many as cores, for 200,000 units and more; 1: the own one.
        megabytes: that the processes may keep beside mapped files.
        packages: that a study's module may be imported from.
        parts: a power of two; 0: as many as memory asks for.
    """

    folder: Path
    workers: int = 0
    megabytes: int = 1024
    packages: Sequence[str] = ()
    parts: int = 0

    def count(self, units: int) -> int:
        """Return how many processes sum so many units."""
        if self.workers:
            return self.workers
        return 1 if units < SMALL_UNITS else len(os.sched_getaffinity(0))


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class WholeUnits:
    """All units of an institution, before they are cut.

    Attributes:
        data: of both sides.
        holdout: bool (units,).
        order: uint64 (units,), a hash of each id, as a network's buckets go by.
        asked: as questions and groups see them; None where the study has neither.
        split: names the key and the share behind `holdout`.
    """

    data: EncodedUnits
    holdout: NDArray[np.bool_]
    order: NDArray[np.uint64]
    asked: AskedUnits | None = None
    split: str = ""

    def cut(self, study: Study, parts: int) -> "list[PartUnits]":
        """Return the units in parts, all at once: for tests and simulations."""
        return [self._part(study, here) for here in self._masks(parts)]

    def sums(self, study: Study, at: Workplace) -> PartitionedSums:
        """Return the sums of a study over parts, by workers.

        Raises:
            UsageError: the disk has no room for the parts.
        """
        workers = at.count(len(self.data))
        memory = at.megabytes * MEGABYTE
        parts = at.parts or part_count(
            study, len(self.data), self._unit_bytes(), workers=workers, memory=memory
        )
        files = [spill(self._part(study, here), at.folder) for here in self._masks(parts)]
        local = LocalWorkers(
            study, files, workers=workers, memory=memory, split=self.split, packages=at.packages
        )
        return PartitionedSums(study, local, self.split)

    def _masks(self, parts: int) -> "list[NDArray[np.bool_]]":
        place = parts_of(self.order, ~self.holdout, parts)
        return [place == part for part in range(parts)]

    def _part(self, study: Study, here: NDArray[np.bool_]) -> PartUnits:
        training, held = (self.data.select(here & side) for side in (~self.holdout, self.holdout))
        if self.asked is None:
            return PartUnits(training, held)
        codes = self.asked.values.codes
        groups = {one.column: codes[one.column][here & self.holdout] for one in study.groups}
        return PartUnits(training, held, groups, self.asked.select(here) if study.asks else None)

    def _unit_bytes(self) -> int:
        units = max(1, len(self.data))
        rows = self.data.rows
        cells = self.data.positions.nbytes + (
            0 if self.data.tables is None else self.data.tables.positions.nbytes
        )
        return (cells + (0 if rows is None else 2 * rows.columns * units)) // units + 1


def sums_of(
    study: Study,
    records: LoadedRecords,
    holdout: NDArray[np.bool_],
    asked: AskedUnits | None,
    *,
    split: str,
    at: Workplace,
    ids: IdSketch = NO_IDS,
) -> RunSums:
    """Return the sums of a study over an institution's records, in this process or by workers.

    Args:
        study: the public plan.
        records: as they were read.
        holdout: bool (units,).
        asked: as questions and groups see them; None where the study has neither.
        split: names the key and the share behind `holdout`.
        at: where, and by how many.
        ids: a sketch of the units' ids.

    Raises:
        UsageError: the disk has no room for the parts.
    """
    data = records.data
    if at.count(len(data)) == 1:
        whole = StudySums.prepare(study, data, holdout, asked, split=split)
        return replace(whole, ids=ids)
    order = unit_order(records.units, key=BUCKETS_KEY) if data.order is None else data.order
    return replace(WholeUnits(data, holdout, order, asked, split).sums(study, at), ids=ids)
