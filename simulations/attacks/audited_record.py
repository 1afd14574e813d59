"""The account of a run that is audited: what each sum leaves without the auditor's own."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fieldfare.server.run.record import DecodedSum
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import ReleaseTerms
from fieldfare.shared.run.optimizer import local_step
from fieldfare.shared.run.replay import initial_state
from fieldfare.simulations.attacks.canary_study import BANKS
from fieldfare.simulations.attacks.canary_vectors import CanaryVectors, OwnArithmetic
from fieldfare.simulations.federation.noise_audit import WatchedRecord

Vector = NDArray[np.float64]

# Their requests carry parameters that follow from the run, and no state of training.
_BOUND = frozenset({ReleaseKind.GUARD, ReleaseKind.EVALUATION, ReleaseKind.FAIRNESS})


@dataclass
class AuditedRecord(WatchedRecord):
    """A run's account; whoever audits says in `sift` what becomes of what is left."""

    own: OwnArithmetic = field(kw_only=True)

    def look(self, kind: ReleaseKind, terms: ReleaseTerms, total: DecodedSum) -> None:
        """Take the auditor's own sum out of one that was decoded, and compare the two."""
        if kind not in self.own.form.kinds:
            return
        vectors = self.own.vectors(kind, self._parameters(kind), self.run.results.geometry)
        drawn = self.own.canaries
        present = drawn.coins & np.isin(np.array(BANKS)[drawn.banks], total.participants)
        known = vectors.added(present.astype(np.float64), terms.vectors.entries)
        self.own.check(kind, self.exact(kind, terms, total.participants), known)
        self.sift(terms, vectors, self._noised(terms, total) - known, total)

    def sift(
        self, terms: ReleaseTerms, vectors: CanaryVectors, left: Vector, total: DecodedSum
    ) -> None:
        """Tally what is left of a sum, which is noise."""
        del vectors
        self.tally(terms, left, len(total.participants))

    def _parameters(self, kind: ReleaseKind) -> Vector:
        if kind in _BOUND:
            return np.frombuffer(self.run.content.data, "<f8")
        state = self.run.results.training
        return (initial_state(self.plan.study) if state is None else state).parameters

    def _noised(self, terms: ReleaseTerms, total: DecodedSum) -> Vector:
        """Return the noised sum; of one local step, what it was before it became a change."""
        if not terms.local_steps:
            return total.values
        one = local_step(self.plan.study, np.zeros(1), np.ones(1), len(total.participants))
        return np.asarray(total.values / one)
