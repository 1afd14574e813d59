"""The federation's baselines, under the same features, steps and budget.

    alone      each institution by itself, without privacy, under the study's steps; where a score
               is a sum, a simulation measures its own best model instead (homes.py)
    alone_dp   each by itself, at the study's epsilon, with its own full noise
    local_dp   all together, but each adds the full noise to its own sums
    central    all records in one place, without privacy
    central_dp all records in one place, one trusted curator, at the study's epsilon

Where a study starts from public curves, all of them do; beside them stand the start untouched
(`start`), and each institution by itself from the same start (`alone_start`).

Baselines release nothing, so their noise is always the fast seeded kind. `local_dp` and
`central_dp` use the draws of the federation's own simulated noise, each at its own scale
(common random numbers), so that what differs between them is the scale and not the luck.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.sums.coordinates import TurnedUnits
from fieldfare.client.sums.study_sums import guard_sum
from fieldfare.server.run.server_app import Outcome
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.models import UnitSums
from fieldfare.shared.models.additive import AdditiveSums
from fieldfare.shared.protocol.plan import Plan, plan_for
from fieldfare.shared.run.coordinates import geometry_of, plain_parameters
from fieldfare.shared.run.kinds.guard import is_better
from fieldfare.shared.run.optimizer import TrainingState, next_state
from fieldfare.shared.run.replay import delivered_state, initial_state
from fieldfare.simulations.federation.federation import noise_stream

Vector = NDArray[np.float64]
GradientOf = Callable[[Vector], Vector]

ALONE_STREAMS: Final = 2**16  # far from the federation's own
GUARD_STREAM: Final = 2**17


class Baseline(Enum):
    """The baselines; hyphenated on the command line, underscored in results."""

    ALONE = "alone"
    ALONE_DP = "alone_dp"
    LOCAL_DP = "local_dp"
    CENTRAL = "central"
    CENTRAL_DP = "central_dp"

    @property
    def by_institution(self) -> bool:
        """True where there is one model for each institution."""
        return self in (Baseline.ALONE, Baseline.ALONE_DP)


@dataclass(frozen=True)
class Trainer:
    """Trains baselines of one study.

    Attributes:
        plan: noise and steps, the same as the federation's.
        sums: prepared training units by institution.
        units: training units by institution, for the divisor of `alone*`.
        seed: of all noise.
        answer: float64 (entries,), the federation's sum that knots follow from, if any: every
            baseline starts on the same ones.
        turned: training units by institution where the study trains in other coordinates.
        geometry: the federation's coordinates, in which every baseline trains too; None: moments
            are summed first.
    """

    plan: Plan
    sums: Mapping[str, UnitSums]
    units: Mapping[str, int]
    seed: int
    answer: Vector | None = None
    turned: Mapping[str, TurnedUnits] = field(default_factory=dict)
    geometry: Geometry | None = None

    @classmethod
    def beside(
        cls,
        plan: Plan,
        outcome: Outcome,
        sums: Mapping[str, UnitSums],
        units: Mapping[str, int],
        seed: int,
    ) -> Self:
        """Return what baselines of a finished run learn from, on its knots, in plain coordinates.

        Args:
            plan: of the run.
            outcome: of the run.
            sums: prepared training units, by institution or of all together.
            units: how many each institution trains on.
            seed: of all noise.
        """
        # In local mode baselines take as many steps, at the same price each, all of them by sums.
        study = plan.study
        stepwise = plan_for(study.stepwise) if study.training.local else plan
        return cls(
            stepwise, sums, units, seed, outcome.answers[0].values if outcome.answers else None
        )

    def train(self, baseline: Baseline) -> dict[str, Vector]:
        """Return parameters by institution; the key is "" for one model of all."""
        if baseline.by_institution:
            return {name: self._alone(baseline, name) for name in sorted(self.sums)}
        return {"": self._descend(self._together(baseline))}

    def federated(self, *, guarded: bool = True) -> Vector:
        """Return parameters learned as the federation learns, without its masks and ledgers.

        All n shares of the noise are in its sums, of which n - t make sigma: more noise than one
        curator adds (`Baseline.CENTRAL_DP`), by sqrt(n / (n - t)).
        """
        tolerance = self.plan.study.privacy.collusion_tolerance
        noise = self.plan.training.noise_on_sum(len(self.sums), tolerance)
        factor = noise / self.plan.training.sigma
        if self.turned and self.geometry is None:
            return replace(self, geometry=self._released(factor)).federated()
        state = self._trained(self._shared_noise(factor))
        return self.delivered(self._guarded(state) if guarded else state)

    def _released(self, factor: float) -> Geometry:
        """Return the coordinates that follow from moments with everybody's noise on them."""
        terms, start = self.plan.moments, self.start.parameters
        exact = _added(
            [
                np.ldexp(one.moments(start).astype(np.float64), -terms.vectors.gamma_bits)
                for one in self.turned.values()
            ]
        )
        share = terms.sigma * factor / math.sqrt(len(self.turned))
        draws = [stream.normal(0.0, share, len(exact)) for stream in self._streams(before=False)]
        return geometry_of(self.plan, _added([exact, *draws]), len(self.turned))

    def untouched(self) -> Vector:
        """Return the study's public start as it is, or its first parameters."""
        return self.delivered(self.start)

    def _guarded(self, state: TrainingState) -> TrainingState:
        """Return what goes on where a study starts from public curves, with the guard's noise."""
        plan, start = self.plan, self.start
        if not plan.guard.steps:
            return state
        both = np.concatenate([state.model, start.parameters])
        units = [one.data for one in self.sums.values() if isinstance(one, AdditiveSums)]
        total = sum(int(guard_sum(plan.study, both, data)[0]) for data in units)
        count, tolerance = len(self.sums), plan.study.privacy.collusion_tolerance
        sigma = plan.guard.noise_on_sum(count, tolerance)
        drawn = noise_stream(self.seed, GUARD_STREAM).normal(0.0, sigma)
        value = math.ldexp(total, -plan.guard.vectors.gamma_bits) + drawn
        return state if is_better(plan, value, count) else start

    def _alone(self, baseline: Baseline, name: str) -> Vector:
        """Train on one institution; its own count, like the public one, divides the sum."""
        if baseline is Baseline.ALONE:
            return self._descend(self.own_gradient(name))
        stream = noise_stream(self.seed, ALONE_STREAMS + sorted(self.sums).index(name))
        noisy = self._noisy(self._decoded(self._sums[name]), 1.0, [stream])
        return self._descend(lambda p: noisy(p) * self._ratio(name))

    def own_gradient(self, name: str) -> GradientOf:
        """Return what gives one institution's gradient, as large as if all units were its own."""
        sums, ratio = self._sums[name], self._ratio(name)
        return lambda p: sums.plain_gradient(p) * ratio

    def _ratio(self, name: str) -> float:
        return self.plan.study.training_units / max(1, self.units[name])

    def _together(self, baseline: Baseline) -> GradientOf:
        if baseline is Baseline.CENTRAL:
            return lambda p: _added([sums.plain_gradient(p) for sums in self._sums.values()])
        # The full noise of all adds up to sqrt(n) times what one curator needs.
        return self._shared_noise(
            math.sqrt(len(self.sums)) if baseline is Baseline.LOCAL_DP else 1.0
        )

    def _shared_noise(self, factor: float) -> GradientOf:
        """Return the sum over all institutions with `factor` sigma from each one's stream."""
        parts = [self._decoded(sums) for sums in self._sums.values()]
        streams = self._streams(before=self.geometry is not None)
        return self._noisy(lambda p: _added([part(p) for part in parts]), factor, streams)

    def _streams(self, *, before: bool) -> list[np.random.Generator]:
        """Return everybody's stream of noise; `before`: what moments took of it is gone."""
        streams = [noise_stream(self.seed, index) for index in range(len(self.sums))]
        for stream in streams if before else ():
            stream.normal(size=self.plan.moments.vectors.entries)
        return streams

    @property
    def start(self) -> TrainingState:
        """Where every training of the study begins."""
        return initial_state(self.plan.study, self.answer)

    @cached_property
    def _sums(self) -> Mapping[str, UnitSums]:
        """Training units, in the coordinates of training."""
        if self.geometry is None:
            return self.sums
        start = self.start.parameters
        return {name: one.on(self.geometry, start) for name, one in self.turned.items()}

    def _decoded(self, sums: UnitSums) -> GradientOf:
        bits = self.plan.training.vectors.gamma_bits
        return lambda p: np.ldexp(sums.gradient_sum(p).astype(np.float64), -bits)

    def _noisy(
        self, gradient: GradientOf, factor: float, streams: Sequence[np.random.Generator]
    ) -> GradientOf:
        """Add noise of `factor` sigma, shared out evenly over the streams."""
        share = self.plan.training.sigma * factor / math.sqrt(len(streams))

        def noisy(parameters: Vector) -> Vector:
            """Return a gradient with everybody's share of the noise."""
            exact = gradient(parameters)
            draws = [stream.normal(0.0, share, len(exact)) for stream in streams]
            return _added([exact, *draws])

        return noisy

    def _descend(self, gradient: GradientOf) -> Vector:
        return self.delivered(self._trained(gradient))

    def delivered(self, state: TrainingState) -> Vector:
        """Return float64 (entries,): the plain model of a finished training."""
        model = delivered_state(self.plan.study, state).model
        return plain_parameters(self.geometry, model)

    def _trained(self, gradient: GradientOf) -> TrainingState:
        state = self.start
        for _ in range(self.plan.study.training.steps):
            state = next_state(self.plan, state, gradient(state.parameters), self.geometry)
        return state


def _added(vectors: list[Vector]) -> Vector:
    return sum(vectors, np.zeros_like(vectors[0]))
