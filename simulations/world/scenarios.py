"""Exploitation as accounts see it: roles, and the scenarios S1 to S6 that combine them.

At the level of published red flags; the figures are in `scenarios.toml`. A label says that
an account serves a ring; it never says that its holder is a culprit. `party` says who the
holder is: who may be a victim is a possible victim, never a subject (docs/design.md, "The
harm rules", rule 1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from fieldfare.simulations.world.habits import Pattern, habits_of, overlay, read_figures

Party = Literal["potential_victim", "controller", "front_business", "employer", "recruiter"]


@dataclass(frozen=True, slots=True)
class Role:
    """The activity of one account for a ring, above its holder's own life.

    Attributes:
        pattern: habits on top of the cover's.
        party: who the holder is.
        covers: weights of the personas whose life the account shows besides.
        thin: how much of that life is left, uniform between the two.
        from_centre: lines whose counterparty is the ring's centre.
        shared_device: probability that another person's device orders its payments.
        young: probability that the account was opened for it, not long before the window.
    """

    pattern: Pattern
    party: Party
    covers: Mapping[str, float]
    thin: tuple[float, float] = (0.5, 1.1)
    from_centre: frozenset[str] = frozenset()
    shared_device: float = 0.0
    young: float = 0.1


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of ring: which role is its centre, and who else serves it.

    Attributes:
        name: S1 to S6 and a word.
        share: weight at the start of the window; `later` after a year (drift).
        centre: role that the others' money goes to.
        others: role to (fewest, most).
        exploitation: what a case worker would record.
    """

    name: str
    share: float
    later: float
    centre: str
    others: Mapping[str, tuple[int, int]]
    exploitation: Literal["SexualExploitation", "ForcedLabour"]


_FILE: Final = read_figures("scenarios.toml")


def _role(
    name: str,
    *,
    habits: Mapping[str, Any],
    covers: Mapping[str, float],
    from_centre: Sequence[str] = (),
    thin: Sequence[float] = (0.5, 1.1),
    **facts: Any,
) -> Role:
    low, high = thin
    return Role(
        overlay(name, 0.0, **habits_of(habits)),
        covers=MappingProxyType(covers),
        from_centre=frozenset(from_centre),
        thin=(low, high),
        **facts,
    )


def _scenario(*, others: Mapping[str, Sequence[int]], **facts: Any) -> Scenario:
    ranges = {role: (fewest, most) for role, (fewest, most) in others.items()}
    return Scenario(others=MappingProxyType(ranges), **facts)


ROLES: Final[Mapping[str, Role]] = MappingProxyType(
    {name: _role(name, **one) for name, one in _FILE["role"].items()}
)
"""Roles in rings; figures are choices of this world."""

SCENARIOS: Final = tuple(_scenario(**one) for one in _FILE["scenario"])
"""Every ring follows one; its accounts lie at several banks."""

SCENARIO_NAMES: Final = tuple(scenario.name for scenario in SCENARIOS)

MISSING_INDICATORS: Final[tuple[float, float]] = tuple(_FILE["missing_indicators"])
"""Share of its role's indicators that an account does not show, uniform between the two."""
