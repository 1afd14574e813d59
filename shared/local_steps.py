"""Local mode: steps of gradient descent inside an institution, plain averaging on top.

    inside:  q <- p;  local_steps times: q <- q - rate n / N (clipped sum at q + own full noise)
    leaves:  q - p, within +-16 log-odds, on the grid; masked, so that only the sum can be read
    outside: p <- p + (sum of what left) / n

N is the public count of training units and n the number of participants that the request names,
so that small institutions move little and large ones much, and no private count divides anything.
The rate is in units of one over the log loss's curvature at the public prevalence, w (1 - w).
"""

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.adam import TrainingState, moved_to
from fieldfare.shared.plan import LOCAL_REACH, PARAMETER_LIMIT
from fieldfare.shared.study import Study

Vector = NDArray[np.float64]


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
    return moved_to(study, state, np.clip(moved, -PARAMETER_LIMIT, PARAMETER_LIMIT))
