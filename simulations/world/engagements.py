"""Who follows which pattern of life, how strongly and when."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Engagements:
    """Who follows which pattern, how strongly and when; one row each.

    Attributes:
        unit: index of the customer, int64.
        pattern: index into `society.PATTERNS`, int64.
        strength: multiplies the habits' monthly means, float64.
        start, end: first day and the day after the last, float64.
        night: shift of the log-odds of night, float64.
        payee: ring number if money moves on to the ring's payee, else -1.
        overlay: True for scenarios and episodes, False for personas.
    """

    unit: IntArray
    pattern: IntArray
    strength: FloatArray
    start: FloatArray
    end: FloatArray
    night: FloatArray
    payee: IntArray
    overlay: npt.NDArray[np.bool_]
