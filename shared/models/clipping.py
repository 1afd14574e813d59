"""Where one unit is clipped: a bound on its residual, exactly, in the models of one product.

A unit's gradient is a residual times what it holds: its norm is |residual| times a known one, and
the largest residual that keeps it within C follows in whole numbers. Networks scale what flows back
instead (`DenseNetwork.clipped`, `NetworkSums`), and Opacus clips a named module
(`ModuleModel.clipped`).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.basis import WEIGHT_BITS
from fieldfare.shared.features.rows import ROW_BITS

RESIDUAL_BITS: Final = 20
RESIDUAL_STEPS: Final = 1 << RESIDUAL_BITS
CLIPPING_BITS: Final = 10  # the study admits clipping norms on multiples of 2^-10 only
MOST_NORM: Final = 2.0  # |(1, x)| <= sqrt(2): a larger C clips nobody
_CURVE_BITS: Final = RESIDUAL_BITS + WEIGHT_BITS
_ROW_BITS: Final = RESIDUAL_BITS + ROW_BITS


def clip_residuals(residuals: NDArray[np.float64], caps: NDArray[np.int32]) -> None:
    """Cut residuals, in units of 2^-20, to whole ones towards zero and to their caps, in place.

    Args:
        residuals: float64 (units,).
        caps: int32 (units,), of `residual_caps` or `row_caps`.
    """
    np.trunc(residuals, out=residuals)
    np.clip(residuals, -caps, caps, out=residuals)


def residual_caps(squared_norms: NDArray[np.int64], clipping_norm: float) -> NDArray[np.int64]:
    """Return the largest residual, in units of 2^-20, that keeps each unit within C.

    Args:
        squared_norms: int64 (units,), |basis|^2 in units of 2^-16, at least 2^16 (the bias).
        clipping_norm: C, a multiple of 2^-10, at most 8.

    Formal Guarantees:
        cap^2 * squared_norm <= (C * 2^28)^2 in integers, so |residual| * |basis| <= C
        exactly, with no floating-point slack.

    Edge cases:
        | input | result |
        |---|---|
        | norm so small that C allows a residual above 1 | capped at 2^20: none is larger |
        | float square root one too high | corrected by the integer comparison |

    Source: docs/design.md, "Integers".
    """
    limit = int(clipping_norm * (1 << CLIPPING_BITS)) ** 2 << (2 * (_CURVE_BITS - CLIPPING_BITS))
    quotient = np.int64(limit) // squared_norms
    return _whole_caps(quotient)


def row_caps(squared_norms: NDArray[np.int64], clipping_norm: float) -> NDArray[np.int64]:
    """Return the largest residual, in units of 2^-20, that keeps each unit within C.

    Args:
        squared_norms: int64 (units,), |x|^2 in units of 2^-20, at most 2^20.
        clipping_norm: C, a multiple of 2^-10.

    Formal Guarantees:
        cap^2 * (2^20 + squared_norm) <= (C * 2^30)^2 in integers, so
        |residual| * |(1, x)| <= C exactly, with no floating-point slack.

    Edge cases:
        | input | result |
        |---|---|
        | C so large that a residual above 1 were allowed | capped at 2^20: none is larger |
        | float square root one too high | corrected by the integer comparison |

    Source: docs/design.md, "Integers".
    """
    steps = int(min(clipping_norm, MOST_NORM) * (1 << CLIPPING_BITS))
    limit = np.int64(steps**2 << (2 * (_ROW_BITS - CLIPPING_BITS)))
    quotient = limit // (squared_norms + (1 << (2 * ROW_BITS)))
    return _whole_caps(quotient)


def _whole_caps(quotient: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the whole square roots, at most a residual of 1."""
    caps = np.floor(np.sqrt(quotient.astype(np.float64))).astype(np.int64)
    caps -= (caps * caps > quotient).astype(np.int64)
    return np.minimum(caps, RESIDUAL_STEPS)
