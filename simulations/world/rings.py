"""What accounts that serve an exploitation ring do, at the level of published red flags.

A ring member follows a cover persona and, above it, one or two scenarios. The
accounts belong to controllers and to those who move money for them; a possible
victim is never the subject (design section 8, rule 1). Behaviours: FATF 2018;
FinCEN FIN-2020-A008 and FIN-2014-A008; FINTRAC 2016-OA003 and 2021-OA001.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fieldfare.simulations.world.habits import Echo, Habit, Pattern, overlay

SCENARIOS: Final[tuple[Pattern, ...]] = (
    overlay(
        "ring_collector",
        0.0,
        p2p_in=Habit(
            13,
            62,
            0.6,
            night=0.42,
            parties=4,
            fresh=0.7,
            even=0.5,
            echo=Echo(0.6, 20, "one_payee"),
        ),
        cash_in=Habit(0.8, 180, 0.6, night=0.3, even=0.85),
        prepaid=Habit(0.6, 40, 0.5, even=0.9),
    ),
    overlay(
        "ring_funnel",
        0.0,
        cash_in=Habit(
            6, 290, 0.6, night=0.2, even=0.8, away=0.75, cities=3, echo=Echo(0.6, 40, "cash")
        ),
        p2p_in=Habit(2, 100, 0.6, night=0.2, fresh=0.5, even=0.6, echo=Echo(0.6, 30, "one_payee")),
        transport=Habit(2, 25, 0.6, night=0.25, away=0.6, cities=3),
    ),
    overlay(
        "ring_booker",
        0.0,
        ads=Habit(5, 13, 0.5, parties=2, fresh=0.05),
        lodging=Habit(3.5, 105, 0.4, fresh=0.5, away=0.5, cities=2),
        transport=Habit(5, 20, 0.6, night=0.4, away=0.35, cities=2),
        prepaid=Habit(1.4, 40, 0.5, even=0.9),
        phone=Habit(1.2, 24, 0.4, parties=2, fresh=0.1),
        care=Habit(1.5, 40, 0.6),
        p2p_in=Habit(3, 110, 0.7, night=0.3, parties=3, fresh=0.2, even=0.7),
    ),
    overlay(
        "ring_wage_taker",
        0.0,
        platform=Habit(2, 1100, 0.5, parties=2, fresh=0),
        wages=Habit(2.5, 560, 0.4, parties=4, fresh=0.05, echo=Echo(0.5, 150, "same_party", 0.3)),
        cash_in=Habit(1.5, 260, 0.5, even=0.8),
        cash_out=Habit(2, 260, 0.5, even=0.95),
        remittance=Habit(0.7, 420, 0.5, parties=1, fresh=0.1, even=0.7),
    ),
)
"""What accounts that serve a ring do. They belong to controllers, never to victims."""

COVER_SHARES: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "ring_collector": MappingProxyType(
            {
                "salaried": 0.42,
                "second_account": 0.08,
                "night_shift_worker": 0.16,
                "student": 0.16,
                "migrant_sending_home": 0.06,
                "small_trader": 0.12,
            }
        ),
        "ring_funnel": MappingProxyType(
            {
                "salaried": 0.34,
                "second_account": 0.08,
                "migrant_sending_home": 0.16,
                "ride_hail_driver": 0.12,
                "small_trader": 0.30,
            }
        ),
        "ring_booker": MappingProxyType(
            {"salaried": 0.55, "family": 0.15, "ride_hail_driver": 0.12, "small_trader": 0.18}
        ),
        "ring_wage_taker": MappingProxyType(
            {"salaried": 0.20, "family": 0.12, "migrant_sending_home": 0.08, "small_trader": 0.60}
        ),
    }
)
"""The ordinary life that a ring's account shows besides."""
