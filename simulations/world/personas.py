"""The personas of the world: lives by the month, look-alikes and odd months.

Their figures are in `personas.toml`. Behaviours are those that published
red flags and their benign explanations name (FinCEN FIN-2020-A008; FINTRAC 2016-OA003 and
2021-OA001; FATF 2018; AUSTRAC 2022). `people` is the smaller set of the demo's world.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from fieldfare.simulations.world.habits import Habit, Pattern, habits_of, overlay, read_figures

Ages = Literal["any", "young", "adult", "older"]


@dataclass(frozen=True, slots=True)
class Persona(Pattern):
    """A life: its habits, and an institution's own data on such a customer.

    Attributes:
        said: what people call those who live it.
        apart: what tells it apart from exploitation; "" where nothing resembles it.
        income: median declared yearly income, in currency units.
        business: the customer is a business.
        ages: which age bands.
        segment: what the institution calls such customers.
    """

    said: str = ""
    apart: str = ""
    income: float = 42_000
    business: bool = False
    ages: Ages = "adult"
    segment: str = "retail"

    @property
    def look_alike(self) -> bool:
        """True where it shares indicators with exploitation: a labelled negative (harm rule 5)."""
        return bool(self.apart)


_FILE: Final = read_figures("personas.toml")


def _lives(kind: str) -> tuple[Persona, ...]:
    return tuple(_life(**one) for one in _FILE[kind])


def _life(
    *, base: str = "life", habits: Mapping[str, Any] = MappingProxyType({}), **facts: Any
) -> Persona:
    """Return a life: the habits and facts that it begins with, some replaced."""
    own = habits_of({**_FILE[base]["habits"], **habits})
    return Persona(**{**_FILE[base], **facts, "habits": own})


EVERYBODY: Final[Mapping[str, Habit]] = MappingProxyType(habits_of(_FILE["life"]["habits"]))
"""The habits that a person's life is made of where nothing else is said."""

ORDINARY: Final = _lives("ordinary")
"""Lives that resemble no indicator for long."""

LOOK_ALIKES: Final = _lives("look_alike")
"""Lives that share indicators with exploitation: labelled negatives (harm rule 5)."""


def _overlay(*, name: str, share: float = 0.0, habits: Mapping[str, Any]) -> Pattern:
    return overlay(name, share, **habits_of(habits))


EPISODES: Final = tuple(_overlay(**one) for one in _FILE["episode"])
"""Odd months of ordinary people; `share` is the probability to have one in the window."""

SENDING: Final = _overlay(**_FILE["sending"])
"""A life as a remittance firm sees it."""

REMITTER: Final = _overlay(**_FILE["remitter"])
"""What a ring's centre does at a remittance firm."""

PERSONAS: Final = (*ORDINARY, *LOOK_ALIKES)
"""Every life; shares are weights."""

PROTECTED_LOOK_ALIKES: Final = (
    "night_shift_worker",
    "travelling_nurse",
    "student",
    "migrant_sending_home",
    "independent_adult_worker",
)
"""The look-alikes that harm rule 5 names."""
