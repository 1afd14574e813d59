"""Exploitation as accounts see it: roles, and the scenarios S1 to S6 that combine them.

At the level of published red flags. A label says that an account serves a ring; it never
says that its holder is a culprit. `party` says who the holder is: who may be a victim is
a possible victim, never a subject (docs/design.md, "The harm rules", rule 1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from fieldfare.simulations.world.habits import Echo, Habit, Pattern, overlay

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


_PEOPLE: Final = MappingProxyType(
    {
        "salaried": 0.34,
        "second_account": 0.12,
        "student": 0.16,
        "night_shift_worker": 0.10,
        "pay_to_rent": 0.12,
        "migrant_sending_home": 0.10,
        "licensed_therapist": 0.06,
    }
)
_CONTROLLERS: Final = MappingProxyType(
    {
        "salaried": 0.5,
        "family": 0.15,
        "gig_driver": 0.12,
        "marketplace_seller": 0.15,
        "coin_saver": 0.08,
    }
)
_WORKERS: Final = MappingProxyType(
    {"pay_to_rent": 0.45, "migrant_sending_home": 0.4, "salaried": 0.15}
)
_SHOPS: Final = MappingProxyType(
    {"cash_restaurant": 0.35, "convenience_shop": 0.25, "late_spa": 0.4}
)
_EMPLOYERS: Final = MappingProxyType({"farm_contractor": 0.7, "cash_restaurant": 0.3})

ROLES: Final[Mapping[str, Role]] = MappingProxyType(
    {
        "controlled": Role(
            overlay(
                "controlled",
                0.0,
                p2p_in=Habit(
                    13,
                    65,
                    0.6,
                    night=0.44,
                    parties=4,
                    fresh=0.7,
                    even=0.55,
                    echo=Echo(0.78, 24, "one_payee"),
                ),
                cash_in=Habit(
                    1.6,
                    200,
                    0.6,
                    night=0.35,
                    even=0.85,
                    away=0.3,
                    others=0.3,
                    echo=Echo(0.6, 30, "one_payee"),
                ),
                lodging=Habit(0.8, 110, 0.4, fresh=0.6, away=0.6),
                rides=Habit(2.5, 16, 0.5, night=0.55, away=0.25),
                ads=Habit(1.4, 14, 0.5, parties=2, fresh=0.05),
                prepaid=Habit(0.6, 35, 0.5, even=0.9),
                care=Habit(0.8, 38, 0.6),
            ),
            "potential_victim",
            _PEOPLE,
            thin=(0.25, 0.9),
            shared_device=0.6,
            young=0.35,
        ),
        "hub": Role(
            overlay(
                "hub",
                0.0,
                p2p_in=Habit(2, 150, 0.7, night=0.3, parties=4, fresh=0.2, even=0.7),
                cash_in=Habit(1.2, 380, 0.6, night=0.2, even=0.85, away=0.4),
                lodging=Habit(2.2, 110, 0.4, fresh=0.5, away=0.6, cities=3),
                travel=Habit(1.6, 65, 0.7, parties=3, fresh=0.3),
                rides=Habit(2.5, 18, 0.6, night=0.45, away=0.35),
                ads=Habit(3, 14, 0.5, parties=2, fresh=0.05),
                prepaid=Habit(0.9, 40, 0.5, even=0.9),
                phone=Habit(1.2, 28, 0.3, parties=3, fresh=0.1),
                coins=Habit(0.5, 35, 0.6, parties=1),
                luxury=Habit(0.25, 700, 0.6, fresh=0.5),
            ),
            "controller",
            _CONTROLLERS,
        ),
        "storefront": Role(
            overlay(
                "storefront",
                0.0,
                takings=Habit(10, 90, 0.5, night=0.55, parties=2, fresh=0),
                p2p_in=Habit(8, 90, 0.5, night=0.5, parties=4, fresh=0.7, even=0.7),
                cash_in=Habit(3, 700, 0.5, night=0.35, even=0.8, others=0.4),
                cash_large=Habit(0.7, 8900, 0.07, even=0.6, others=0.4),
                ads=Habit(2.5, 22, 0.5, parties=2, fresh=0.05),
                care=Habit(2, 50, 0.6),
                wire=Habit(0.3, 1500, 0.6, parties=2, fresh=0.2),
            ),
            "front_business",
            _SHOPS,
            thin=(0.3, 0.8),
        ),
        "employer": Role(
            overlay(
                "employer",
                0.0,
                p2p_in=Habit(1.5, 250, 0.5, parties=5, fresh=0.1, even=0.6),
                cash_out=Habit(2, 300, 0.5, even=0.95),
                cash_in=Habit(1.5, 500, 0.5, even=0.8, others=0.3),
                agency=Habit(0.7, 450, 0.4, parties=2, fresh=0.1),
                remittance=Habit(0.5, 450, 0.5, parties=2, fresh=0.1),
                phone=Habit(0.8, 26, 0.3, parties=3, fresh=0.1),
            ),
            "employer",
            _EMPLOYERS,
            thin=(0.6, 1.1),
        ),
        "worker": Role(
            overlay(
                "worker",
                0.0,
                payroll=Habit(
                    1.6,
                    820,
                    0.06,
                    parties=1,
                    fresh=0,
                    even=0.1,
                    echo=Echo(0.55, 150, "same_party", 0.25, 0.6),
                ),
                cash_out=Habit(1.5, 300, 0.4, even=0.95),
                prepaid=Habit(0.4, 25, 0.5, even=0.8),
                agency=Habit(0.35, 180, 0.4, parties=1, fresh=0),
            ),
            "potential_victim",
            _WORKERS,
            thin=(0.2, 0.8),
            from_centre=frozenset({"payroll"}),
            shared_device=0.4,
            young=0.3,
        ),
        "recruiter": Role(
            overlay(
                "recruiter",
                0.0,
                p2p_in=Habit(
                    6,
                    260,
                    0.6,
                    night=0.15,
                    parties=3,
                    fresh=0.75,
                    even=0.7,
                    echo=Echo(0.35, 60, "one_payee"),
                ),
                cash_in=Habit(1.2, 450, 0.6, even=0.85, others=0.5, away=0.3),
                agency=Habit(1.2, 320, 0.5, parties=3, fresh=0.2),
                wire=Habit(0.9, 700, 0.6, parties=3, fresh=0.4, even=0.7),
                remittance=Habit(1, 350, 0.5, parties=4, fresh=0.4, even=0.7),
                travel=Habit(1.8, 180, 0.7, parties=3, fresh=0.3),
                ads=Habit(1, 20, 0.5, parties=2, fresh=0.1),
                phone=Habit(0.8, 26, 0.3, parties=3, fresh=0.1),
            ),
            "recruiter",
            MappingProxyType(
                {
                    "salaried": 0.4,
                    "migrant_sending_home": 0.3,
                    "marketplace_seller": 0.2,
                    "family": 0.1,
                }
            ),
        ),
    }
)
"""Roles in rings; figures are choices of this world."""


def _others(**ranges: tuple[int, int]) -> Mapping[str, tuple[int, int]]:
    return MappingProxyType(ranges)


SCENARIOS: Final[tuple[Scenario, ...]] = (
    Scenario(
        "S1_controlled_accounts",
        0.26,
        0.22,
        "hub",
        _others(controlled=(3, 6)),
        "SexualExploitation",
    ),
    Scenario(
        "S2_controller_hub",
        0.18,
        0.20,
        "hub",
        _others(controlled=(1, 3), hub=(1, 2)),
        "SexualExploitation",
    ),
    Scenario(
        "S3_storefront",
        0.14,
        0.12,
        "storefront",
        _others(controlled=(1, 3), storefront=(0, 1)),
        "SexualExploitation",
    ),
    Scenario("S4_labour", 0.20, 0.22, "employer", _others(worker=(3, 6)), "ForcedLabour"),
    Scenario(
        "S5_recruiter",
        0.12,
        0.10,
        "recruiter",
        _others(recruiter=(1, 2), worker=(0, 2)),
        "ForcedLabour",
    ),
    Scenario(
        "S6_mixed",
        0.10,
        0.14,
        "hub",
        _others(controlled=(1, 2), worker=(1, 3), recruiter=(0, 1)),
        "ForcedLabour",
    ),
)
"""Every ring follows one; its accounts lie at several banks."""

MISSING_INDICATORS: Final = (0.2, 0.4)
"""Share of its role's indicators that an account does not show, uniform between the two."""
