"""The additive model that starts from public curves: one multiplier a feature is learned.

A unit's score is b + sum over features of m_f c_f(x), with public curves c_f (`public_start`). Its
gradient is residual * (1, c_1(x), ..., c_F(x)): the closed formula of the additive model with one
entry a feature, so that clipping is a bound on the residual here too.

Exactness: a curve's value at a position is a multiple of 2^-8, rounded once from public integers,
and clipped residuals are multiples of 2^-20 (docs/design.md, "Integers"). What is delivered is a
plain additive model: each feature's curve times its multiplier.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.basis import WEIGHT_BITS, Basis
from fieldfare.shared.features.public_start import CURVE_STEPS, PublicStart
from fieldfare.shared.models.additive import AdditiveModel

Curves = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, eq=False)
class StartBasis(Basis):
    """The bias, then one entry for each feature: its public curve.

    Attributes:
        curves: int64 (slots,) of each feature, in units of 2^-8.
    """

    curves: Curves = ()

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Index of each feature's multiplier; the bias is entry 0."""
        return tuple(range(1, 1 + len(self.features)))

    @cached_property
    def entries(self) -> int:
        """Length of a sum and of the learned parameters: the bias, and one for each feature."""
        return 1 + len(self.features)

    @cached_property
    def folds(self) -> tuple[NDArray[np.int64], ...]:
        """One int64 (positions, 1) per feature: its curve at each position, in units of 2^-8."""
        half = 1 << (WEIGHT_BITS - 1)
        plain = Basis(self.features).folds
        return tuple(
            ((fold @ curve + half) >> WEIGHT_BITS)[:, None]
            for fold, curve in zip(plain, self.curves, strict=True)
        )

    def slices(self) -> tuple[slice, ...]:
        """Return each multiplier's slice of a parameter vector."""
        return tuple(slice(start, start + 1) for start in self.offsets)


@dataclass(frozen=True)
class StartedModel(AdditiveModel):
    """What a study that starts from public curves trains: a bias, and a multiplier a feature.

    Attributes:
        start: the public curves.

    Formal Guarantees:
        A unit's vector is r * (1, c_1(x), ..., c_F(x)) with |r| * |(1, c(x))| <= C in integers
        (`residual_caps`), on multiples of 2^-28: adding or removing one unit moves the sum by at
        most C, and there is no rounding term. It depends on that unit's records and on the public
        start alone, whatever the start says.

    Edge cases:
        | input | result |
        |---|---|
        | curves of zeros | the bias alone learns |
        | curves at their bound, so that C allows a unit no whole step of 2^-20 | residual 0 |
    """

    start: PublicStart

    @property
    def basis(self) -> StartBasis:
        """The public curves of the study's features."""
        return StartBasis(self.features, curves=self.start.curves_for(self.features))

    def initial(self, log_odds: float) -> NDArray[np.float64]:
        """Return float64 (1 + features,): the start itself, at the study's own log-odds."""
        parameters = np.ones(1 + len(self.features))
        parameters[0] = log_odds + self.start.offset
        return parameters

    def delivered(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64 (entries,): the plain additive model of a bias and multipliers.

        Args:
            parameters: float64 (1 + features,).
        """
        curves = self.start.curves_for(self.features)
        parts = [
            curve * multiplier / CURVE_STEPS
            for curve, multiplier in zip(curves, parameters[1:].tolist(), strict=True)
        ]
        return np.concatenate([parameters[:1], *parts])
