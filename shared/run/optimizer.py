"""Adam on noisy sums, or steps measured in their noise, with the average of the last iterates.

Integers and elementwise IEEE operations only (+ - x / sqrt), so that anyone can recompute the model
from a transcript, bit for bit, on another machine (docs/design.md, "Recomputation"). Powers of beta
are running products, never `pow`.

Local mode: steps of gradient descent inside an institution, plain averaging on top.

    inside:  q <- p;  local_steps times: q <- q - rate n / N (clipped sum at q + own full noise)
    leaves:  q - p, within +-16 log-odds, on the grid; masked, so that only the sum can be read
    outside: p <- p + (sum of what left) / n

N is the public count of training units and n the number of participants that the request names,
so that small institutions move little and large ones much, and no private count divides anything.
The rate is in units of one over the log loss's curvature at the public prevalence, w (1 - w).
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.features.directions import direct_curves
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.protocol.plan import LOCAL_REACH, PARAMETER_LIMIT, Plan
from fieldfare.shared.study.study import Study

Vector = NDArray[np.float64]

ADAM_EPSILON: Final = 1e-8  # Kingma-Ba 2015, algorithm 1
REACH: Final = 3.0  # of a step measured in its noise: further out is signal, however strong
TENSORS: Final = ("parameters", "first", "second", "tail", "powers", "counts")


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Everything that the next step depends on; the content of a checkpoint.

    Attributes:
        step: releases taken in so far.
        parameters: float64 (entries,), the current iterate.
        first: float64 (entries,), Adam's first moment.
        second: float64 (entries,), Adam's second moment.
        beta1_power: beta1^step.
        beta2_power: beta2^step.
        tail: float64 (entries,), the sum of the iterates that are averaged.
        tail_count: how many those are.
    """

    step: int
    parameters: Vector
    first: Vector
    second: Vector
    beta1_power: float
    beta2_power: float
    tail: Vector
    tail_count: int

    @classmethod
    def start(cls, parameters: Vector) -> "TrainingState":
        """Begin at `parameters`."""
        zeros = np.zeros_like(parameters)
        return cls(0, parameters, zeros, zeros, 1.0, 1.0, zeros, 0)

    def to_bytes(self) -> bytes:
        """Return the state as a safetensors file; the same state gives the same bytes."""
        return save(
            {
                "parameters": self.parameters,
                "first": self.first,
                "second": self.second,
                "tail": self.tail,
                "powers": np.array([self.beta1_power, self.beta2_power]),
                "counts": np.array([self.step, self.tail_count], dtype=np.int64),
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> "TrainingState":
        """Parse what `to_bytes` wrote.

        Raises:
            ProtocolError: anything else.
        """
        try:
            tensors = load(content)
            counts, powers = tensors["counts"], tensors["powers"]
            vectors = [tensors[name] for name in TENSORS[:4]]
            (step, tail_count), (beta1_power, beta2_power) = counts.tolist(), powers.tolist()
        except (SafetensorError, KeyError, ValueError, TypeError):
            raise ProtocolError("expected a state of a training run, found other bytes") from None
        if {vector.dtype.str for vector in vectors} != {"<f8"}:
            raise ProtocolError("expected a state of float64 vectors, found others")
        parameters, first, second, tail = vectors
        return cls(step, parameters, first, second, beta1_power, beta2_power, tail, tail_count)

    @property
    def model(self) -> Vector:
        """The averaged iterates, or the current one before averaging starts."""
        return self.tail / self.tail_count if self.tail_count else self.parameters


def next_state(
    plan: Plan, state: TrainingState, gradient_sum: Vector, geometry: Geometry | None = None
) -> TrainingState:
    """Take one step of Adam on a decoded sum (Kingma-Ba 2015, algorithm 1).

    Where beta2 is 1 there is no second moment to learn: the step is the mean gradient, within +-3,
    in units of the standard deviation of its own noise, which is public (decision 0082).

    Args:
        plan: the noise, and the study's learning rate, betas, steps, and the public unit count
            that divides the sum (never a private count: docs/design.md, "The model").
        state: before the step.
        gradient_sum: float64 (entries,), the decoded sum over all units. Parameters after
            these (knots that were asked for) do not move.
        geometry: the run's coordinates, whose means weigh the slots of curves with a direction.

    Returns:
        The state after the step, its iterate added to the tail when it belongs there.
    """
    study, training = plan.study, plan.study.training
    unmoved = np.zeros(len(state.parameters) - len(gradient_sum))
    gradient = np.concatenate([gradient_sum, unmoved]) / study.training_units
    first = training.beta1 * state.first + (1.0 - training.beta1) * gradient
    second = training.beta2 * state.second + (1.0 - training.beta2) * (gradient * gradient)
    power1, power2 = state.beta1_power * training.beta1, state.beta2_power * training.beta2
    corrected = first / (1.0 - power1)
    spread: Vector | float = plan.training.sigma / study.training_units
    if training.beta2 == 1.0:
        corrected = np.clip(corrected, -REACH * spread, REACH * spread)
    else:
        spread = np.sqrt(second / (1.0 - power2)) + ADAM_EPSILON
    moved = state.parameters - training.learning_rate * corrected / spread
    after = moved_to(study, state, moved, geometry)
    return replace(after, first=first, second=second, beta1_power=power1, beta2_power=power2)


def moved_to(
    study: Study, state: TrainingState, moved: Vector, geometry: Geometry | None = None
) -> TrainingState:
    """Return the state a step later, added to the tail when it belongs there.

    It is at `moved`, with curves in their directions and within the bound of every request's
    parameters. So is an average of such iterates (decision 0082).
    """
    step = state.step + 1
    shaped = direct_curves(study.features, moved, None if geometry is None else geometry.mean)
    parameters = np.clip(shaped, -PARAMETER_LIMIT, PARAMETER_LIMIT)
    averaged = step > study.training.steps - tail_length(study)
    return replace(
        state,
        step=step,
        parameters=parameters,
        tail=state.tail + parameters if averaged else state.tail,
        tail_count=state.tail_count + int(averaged),
    )


def tail_length(study: Study) -> int:
    """Return how many of the last iterates are averaged, at least one."""
    return max(1, int(study.training.steps * study.training.average_last))


# -- local steps ----------------------------------------------------------------------------------


def local_step(study: Study, parameters: Vector, noised_sum: Vector, participants: int) -> Vector:
    """Take one step of gradient descent on one institution's noised sum.

    Args:
        study: rate, prevalence and the public unit count.
        parameters: float64 (entries,), where the institution stands.
        noised_sum: float64 (at most entries,), its own; parameters after these (knots that were
            asked for) do not move.
        participants: n, of the request.

    Returns:
        float64 (entries,), none beyond the bound of every request's parameters.
    """
    prevalence = study.records.prevalence
    rate = study.training.local_rate / (prevalence * (1.0 - prevalence))
    moved = parameters.copy()
    moved[: len(noised_sum)] -= rate * participants / study.training_units * noised_sum
    return np.clip(moved, -PARAMETER_LIMIT, PARAMETER_LIMIT)


def local_change(before: Vector, after: Vector, gamma_bits: int) -> NDArray[np.int64]:
    """Return int64 (entries,): how far an institution moved, within +-16, in units of gamma."""
    change = np.clip(after - before, -LOCAL_REACH, LOCAL_REACH)
    return np.rint(np.ldexp(change, gamma_bits)).astype(np.int64)


def averaged_state(
    study: Study, state: TrainingState, changes: Vector, participants: int
) -> TrainingState:
    """Move by the plain average of everybody's change: + - x / only, the same on any machine.

    Args:
        study: how many iterates are averaged at the end.
        state: before.
        changes: float64 (at most entries,), the decoded sum of all changes.
        participants: how many are in it.
    """
    moved = state.parameters.copy()
    moved[: len(changes)] += changes / participants
    return moved_to(study, state, moved)
