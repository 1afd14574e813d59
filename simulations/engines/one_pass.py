"""Several institutions' releases in one pass: their raw sums and their noise, added up.

Where a model's sums are of whole numbers, the sum over everybody's units is the sum of the
institutions' sums, whatever stands beside whom (docs/design.md, "Integers"); a pass then costs what
its units cost, and nothing for each institution but its draws. Networks of features round by
buckets within an institution, and local steps follow from an institution's own sums: those, and
questions, are added institution by institution, by the code that custodians run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.asked import AskedUnits, AskedValues
from fieldfare.client.sums.partitioned_sums import PartitionedSums, WholeUnits
from fieldfare.client.sums.partitions import Partitions
from fieldfare.client.sums.question_sums import question_sum
from fieldfare.client.sums.run_sums import RunSums
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.features.rows import splitmix
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.models import AdditiveModel, LinearModel, trained_model
from fieldfare.shared.privacy.samplers import NoiseSource
from fieldfare.shared.protocol.messages import ReleaseKind, parameters_from_bytes
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT, Plan
from fieldfare.shared.ring import Word, to_ring
from fieldfare.shared.study.question_layout import layout_for
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import Study

Values = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class InstitutionUnits:
    """One institution of a simulation.

    Attributes:
        name: of it.
        data: all its units.
        holdout: bool (units,).
        noise: its own stream.
        asked: its units as questions and groups see them; None where the study has neither.
    """

    name: str
    data: EncodedUnits
    holdout: NDArray[np.bool_]
    noise: NoiseSource
    asked: AskedUnits | None = None

    def sums(self, study: Study) -> StudySums:
        """Return the sums that its custodian would compute."""
        return StudySums.prepare(study, self.data, self.holdout, self.asked)


@dataclass(frozen=True, eq=False)
class AskedRelease:
    """What everybody is asked for at once.

    Attributes:
        kind: of the release; one that reads records.
        content: the bytes that a request would bind.
        participants: n, all institutions of the simulation.
        geometry: the coordinates of a training step; None: the features' own.
    """

    kind: ReleaseKind
    content: bytes
    participants: int
    geometry: Geometry | None = None


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class PooledSum:
    """The sum of several institutions, with and without their noise.

    Attributes:
        words: uint64 (entries,), noise included, in the ring of the release.
        exact: int64 (entries,), before noise, for the audit that every simulation makes; of local
            steps the changes, in which noise is already.
    """

    words: Word
    exact: Whole


class OnePass:
    """Institutions whose sums nobody looks at one by one."""

    def __init__(
        self,
        plan: Plan,
        institutions: Sequence[InstitutionUnits],
        partitions: Partitions | None = None,
    ) -> None:
        """Take institutions in; their units are laid side by side where sums are exact so.

        Args:
            plan: of the study.
            institutions: of the simulation.
            partitions: of all their units, where others add those up; None: this pass does.
        """
        self._plan, self._institutions, study = plan, institutions, plan.study
        self._joined: RunSums | None = None
        if partitions is not None:
            self._joined = PartitionedSums(study, partitions)
        elif sums_join(study):
            units = joined(study, institutions)
            given = (study, units.data, units.holdout, units.asked)
            self._joined = StudySums.prepare(*given)

    def summed(self, asked: AskedRelease) -> PooledSum:
        """Return everybody's sum and noise, added up.

        Noise is drawn as each custodian of a simulation draws it, from the same streams in the
        same order, so that one pass and real custodians give the same words.

        Raises:
            AccountingError: a noise share that is too fine for the grid.
            ProtocolError: parameters beyond the bound of every request's.
        """
        terms, study = self._plan.terms(asked.kind), self._plan.study
        share = terms.share(asked.participants, study.privacy.collusion_tolerance)
        if terms.local_steps:
            changes = self._changes(asked, share)
            return PooledSum(to_ring(changes, terms.word_bits), changes)
        exact = self._sum(asked)
        total = exact.copy()
        for one in self._institutions:
            total += one.noise.sample(terms.vectors.entries, share)
        return PooledSum(to_ring(total, terms.word_bits), exact)

    @cached_property
    def _each(self) -> list[StudySums]:
        return [one.sums(self._plan.study) for one in self._institutions]

    def _sum(self, asked: AskedRelease) -> Whole:
        kind, entries = asked.kind, self._plan.terms(asked.kind).vectors.entries
        if kind is ReleaseKind.QUERY:
            return self._answers(QuestionGroup.from_bytes(asked.content), entries)
        parameters = self._parameters(asked)
        if self._joined is not None:
            return self._joined.vector(kind, parameters, asked.geometry)
        total = np.zeros(entries, dtype=np.int64)
        for one in self._each:
            total += one.vector(kind, parameters, asked.geometry)
        return total

    def _answers(self, questions: QuestionGroup, entries: int) -> Whole:
        columns = self._plan.study.asked_columns
        layout, total = layout_for(questions, columns), np.zeros(entries, dtype=np.int64)
        for one in self._institutions:
            if one.asked is not None:
                total += question_sum(layout, columns, one.asked)
        return total

    def _changes(self, asked: AskedRelease, share: float) -> Whole:
        """Add up how far everybody's own noised steps move the parameters."""
        terms, parameters = self._plan.terms(asked.kind), self._parameters(asked)
        entries, total = terms.vectors.entries, np.zeros(terms.vectors.entries, dtype=np.int64)
        for sums, one in zip(self._each, self._institutions, strict=True):
            noise = (one.noise.sample(entries, share) for _ in range(terms.local_steps))
            total += sums.local_change(parameters, noise, asked.participants)
        return total

    def _parameters(self, asked: AskedRelease) -> Values:
        entries = self._plan.terms(asked.kind).parameter_entries
        return parameters_from_bytes(asked.content, entries, PARAMETER_LIMIT)


def sums_join(study: Study) -> bool:
    """Say whether the units of several institutions may be added up as if they were one's."""
    return study.trains and isinstance(trained_model(study), AdditiveModel | LinearModel)


def joined(study: Study, institutions: Sequence[InstitutionUnits]) -> WholeUnits:
    """Return all institutions' units as if they were one's.

    Args:
        study: the public plan, of a model whose sums are of whole numbers.
        institutions: one or more; what they ask is not in it.
    """
    data = concatenate([one.data for one in institutions])
    held = np.concatenate([one.holdout for one in institutions])
    asked = [one.asked.values for one in institutions if one.asked is not None]
    codes = {
        group.column: np.concatenate([values.codes[group.column] for values in asked])
        for group in study.groups
    }
    order = splitmix(np.arange(len(data), dtype=np.uint64))
    nobody = AskedUnits("", data.labels, AskedValues(codes=codes), order)
    return WholeUnits(data, held, order, nobody)
