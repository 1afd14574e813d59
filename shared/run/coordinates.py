"""From released moments to the coordinates of training, and from these back to a plain model."""

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.geometry.unit_vectors import unit_vectors
from fieldfare.shared.geometry.whitening import centred_from, whitened_from
from fieldfare.shared.models import model_for
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT, Plan, fraction_bits

Values = NDArray[np.float64]


def geometry_of(plan: Plan, moments: Values, participants: int) -> Geometry:
    """Return the coordinates that follow from a sum of moments.

    Args:
        plan: of a study that trains in other coordinates.
        moments: float64 (entries,), the decoded sum.
        participants: institutions whose shares of the noise are in it.

    Formal Guarantees:
        Post-processing of a released sum and of public numbers, the same bits on any machine.

    Raises:
        ProtocolError: no honest run has such moments.
    """
    study, given = plan.study, plan.study.geometry
    if given is None:
        raise ProtocolError("expected a study with coordinates of its own, found none")
    vectors, units = unit_vectors(model_for(study)), int(study.training_units)
    if not given.whitened:
        return centred_from(vectors, moments, units=units)
    return whitened_from(
        vectors,
        moments,
        sigma=plan.moments.noise_on_sum(participants, study.privacy.collusion_tolerance),
        units=units,
        fraction_bits=fraction_bits(study),
        strength=given.ridge,
    )


def geometry_in(plan: Plan, content: bytes, wanted: str) -> Geometry:
    """Parse coordinates that were sent or kept, by their hash.

    Any coordinates are as private as any other, also crafted ones, as long as their sums fit.

    Args:
        plan: of the study.
        content: as `Geometry.to_bytes` wrote it.
        wanted: the hash; nothing where any will do.

    Raises:
        ProtocolError: others, or such as are none of this study's vectors.
    """
    found = Geometry.from_bytes(content)
    if wanted and found.hash != wanted:
        raise ProtocolError("expected the coordinates that the request binds, found others")
    if found.gamma_bits != plan.training.vectors.gamma_bits:
        raise ProtocolError("expected coordinates on the grid of the plan, found others")
    found.check_reach(unit_vectors(model_for(plan.study)))
    return found


def plain_parameters(geometry: Geometry | None, parameters: Values) -> Values:
    """Return float64 (entries,): what parameters in some coordinates say of the features.

    Args:
        geometry: the coordinates; None: the features' own.
        parameters: float64 (entries,); knots at their end stay as they are.

    Returns:
        Within the bound of every request's parameters, the same bits on any machine.
    """
    if geometry is None:
        return parameters
    return np.clip(geometry.plain(parameters), -PARAMETER_LIMIT, PARAMETER_LIMIT)
