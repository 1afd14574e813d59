"""How small a delta has to be for so many units: a rule of public numbers alone.

A mechanism that publishes one unit's records whole with probability delta, each unit by itself,
keeps the promise; it would give away `delta * units` of them. NIST SP 800-226 asks for a delta far
below one over the number of units; ours stays below a tenth of that.
"""

from typing import Final

USUAL_DELTA: Final = 1e-5  # of studies of few units, and what institutions usually allow at most
UNITS_PER_DELTA: Final = 10  # delta belongs below one over this many times the number of units


def largest_delta(units: int) -> float:
    """Return the delta that a study of so many units has to stay below: 1 / (10 units)."""
    return 1.0 / (UNITS_PER_DELTA * units)


def delta_for(units: int) -> float:
    """Return the largest delta of one digit below `largest_delta`, as people write one: 2e-06.

    Args:
        units: of all institutions together, a public number, at least 1.
    """
    places = len(str(units))  # 10^places is above units
    digit = -(-(10**places) // units) - 1
    return float(f"{digit}e-{places + 1}")


def usual_delta(units: int) -> float:
    """Return the delta that a new study gets: `delta_for(units)`, and `USUAL_DELTA` at most."""
    return min(USUAL_DELTA, delta_for(max(units, 1)))
