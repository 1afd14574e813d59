"""How the banks differ: size, prevalence, the scenarios and the look-alikes that each sees.

Nobody here sees the same world (not independent, not identically distributed):
that is why a model of one bank alone is lopsided.
"""

from typing import Final

BANKS: Final = ("Bank A", "Bank B", "Bank C", "Bank D", "Bank E")
"""Invented institutions of the demo."""

SCENARIO_LEANING: Final[tuple[float, ...]] = (0.70, 0.16, 0.07, 0.07)
"""A bank's scenario mix; bank b sees it rotated by b, so each sees another one."""

SIZE_LEANING: Final[tuple[float, ...]] = (1.8, 1.2, 0.9, 0.65, 0.45)
"""How a bank's number of customers stands to the mean, in turn."""

PREVALENCE_LEANING: Final[tuple[float, ...]] = (1.0, 0.7, 1.2, 1.4, 0.9)
"""How a bank's prevalence stands to the world's, in turn."""

LOOK_ALIKE_LEANING: Final[tuple[float, ...]] = (3.2, 1.6, 0.4, 0.15, 1.0, 0.2, 1.3, 0.15)
"""How a bank's share of each look-alike stands to the world's; rotated by 3 b."""
