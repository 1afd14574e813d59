"""Who lives in the world: personas, and the odd months of ordinary people, as declared data.

A pattern is a set of monthly habits. A customer follows one persona; an ordinary
customer may have an odd month (an episode) that looks like a red flag and is
none. The figures are design choices of this world, not statistics: published
advisories name behaviours, never thresholds (FATF 2018; FinCEN FIN-2020-A008;
FINTRAC 2016-OA003 and 2021-OA001; AUSTRAC 2022).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fieldfare.simulations.world.habits import Echo, Habit, Pattern, overlay

_ORDINARY: Final[Mapping[str, Habit]] = MappingProxyType(
    {
        "payroll": Habit(2, 1300, 0.25, parties=1, fresh=0),
        "p2p_in": Habit(1.6, 45, 0.8, night=0.10, fresh=0.3, even=0.4),
        "p2p_out": Habit(2.2, 45, 0.8, night=0.12, fresh=0.3, even=0.4),
        "cash_in": Habit(0.15, 150, 0.7, even=0.8),
        "cash_out": Habit(1.2, 70, 0.5, night=0.10, even=0.95, away=0.1),
        "bills": Habit(3, 320, 0.6, parties=4, fresh=0),
        "groceries": Habit(5, 45, 0.6, night=0.08, parties=6, even=0.02),
        "savings": Habit(0.8, 250, 0.7, parties=1, fresh=0, even=0.9),
        "supplies": Habit(1, 50, 0.5, parties=4, even=0.1),
        "lodging": Habit(0.12, 140, 0.5, parties=4, fresh=0.6, away=0.85, even=0.02),
        "transport": Habit(2, 16, 0.7, night=0.15, parties=4, away=0.15, even=0.03),
        "ads": Habit(0.05, 15, 0.5, parties=2),
        "prepaid": Habit(0.12, 30, 0.5, even=0.7),
        "phone": Habit(1, 30, 0.4, parties=1, fresh=0),
        "care": Habit(0.9, 28, 0.6, parties=4),
        "remittance": Habit(0.04, 180, 0.5, parties=1, fresh=0, even=0.6),
    }
)


def _persona(name: str, share: float, **habits: Habit) -> Pattern:
    """An ordinary life with some habits replaced."""
    return Pattern(name, share, MappingProxyType({**_ORDINARY, **habits}))


_NONE: Final = Habit(0, 1)

ORDINARY: Final[tuple[Pattern, ...]] = (
    _persona("salaried", 0.42),
    _persona(
        "pensioner",
        0.12,
        payroll=_NONE,
        benefit=Habit(1, 1500, 0.3, parties=1, fresh=0),
        transport=Habit(1, 14, 0.7),
        care=Habit(1.8, 30, 0.6),
        cash_out=Habit(2.2, 110, 0.5, even=0.95),
    ),
    _persona(
        "family",
        0.14,
        benefit=Habit(0.8, 260, 0.3, parties=1, fresh=0),
        p2p_in=Habit(2.5, 60, 0.8, parties=5, fresh=0.3, even=0.4),
        p2p_out=Habit(
            3.5, 60, 0.8, parties=5, fresh=0.3, even=0.4, echo=Echo(0.12, 120, "same_party")
        ),
        phone=Habit(2, 32, 0.4, parties=2, fresh=0),
        care=Habit(1.8, 35, 0.7),
    ),
    _persona(
        "second_account",
        0.09,
        payroll=Habit(1.2, 900, 0.4, parties=1, fresh=0, echo=Echo(0.75, 30, "one_payee", 0.5)),
        p2p_in=Habit(
            2.5, 80, 0.9, night=0.10, fresh=0.35, even=0.5, echo=Echo(0.5, 40, "one_payee")
        ),
        cash_in=Habit(0.7, 250, 0.7, even=0.8),
        bills=Habit(0.8, 200, 0.6, parties=2, fresh=0),
        groceries=Habit(1.5, 40, 0.6, parties=4),
        savings=Habit(0.3, 300, 0.7, parties=1, fresh=0, even=0.9),
    ),
)
"""Lives that resemble no indicator for long."""

LOOK_ALIKES: Final[tuple[Pattern, ...]] = (
    _persona(
        "night_shift_worker",
        0.045,
        p2p_in=Habit(4, 40, 0.7, night=0.45, parties=5, fresh=0.35, even=0.45),
        cash_in=Habit(2.2, 120, 0.6, night=0.45, even=0.7),
        cash_out=Habit(2.5, 60, 0.5, night=0.4, even=0.95),
        groceries=Habit(6, 22, 0.6, night=0.4, parties=6),
        transport=Habit(7, 17, 0.6, night=0.5, parties=4),
    ),
    _persona(
        "travelling_nurse",
        0.025,
        p2p_in=Habit(2.5, 55, 0.8, night=0.15, fresh=0.35, even=0.4),
        lodging=Habit(2.8, 260, 0.6, parties=3, fresh=0.4, away=0.95, cities=3),
        transport=Habit(5, 30, 0.9, night=0.25, away=0.6, cities=3),
        groceries=Habit(5, 30, 0.6, night=0.2, away=0.5, cities=3),
        cash_out=Habit(1.5, 70, 0.5, away=0.5, cities=3, even=0.95),
    ),
    _persona(
        "student",
        0.055,
        payroll=Habit(0.5, 480, 0.4, parties=1, fresh=0),
        p2p_in=Habit(
            8,
            50,
            0.8,
            night=0.25,
            parties=6,
            fresh=0.4,
            even=0.5,
            echo=Echo(0.3, 60, "one_payee"),
        ),
        p2p_out=Habit(
            6,
            35,
            0.8,
            night=0.25,
            parties=6,
            fresh=0.25,
            even=0.4,
            echo=Echo(0.25, 100, "same_party"),
        ),
        cash_in=Habit(0.5, 140, 0.7, even=0.7, away=0.3),
        savings=Habit(0.1, 60, 0.5, parties=1, fresh=0),
        prepaid=Habit(0.4, 25, 0.5, even=0.8),
        transport=Habit(5, 13, 0.7, night=0.3),
    ),
    _persona(
        "migrant_sending_home",
        0.045,
        payroll=Habit(2, 950, 0.3, parties=1, fresh=0),
        p2p_in=Habit(2.5, 80, 0.8, parties=5, fresh=0.3, even=0.5),
        cash_in=Habit(0.9, 220, 0.6, even=0.8),
        remittance=Habit(1.7, 260, 0.5, parties=2, fresh=0.05, even=0.6),
        phone=Habit(1.7, 22, 0.4, parties=2, fresh=0.1),
        prepaid=Habit(0.5, 30, 0.5, even=0.8),
        savings=Habit(0.3, 150, 0.5, parties=1, fresh=0),
    ),
    _persona(
        "independent_adult_worker",
        0.012,
        payroll=Habit(0.2, 700, 0.4, parties=1, fresh=0),
        p2p_in=Habit(
            15,
            90,
            0.6,
            night=0.42,
            parties=6,
            fresh=0.6,
            even=0.5,
            echo=Echo(0.25, 30, "one_payee"),
        ),
        cash_in=Habit(3, 220, 0.6, night=0.3, even=0.85, away=0.2),
        lodging=Habit(1.6, 120, 0.4, parties=4, fresh=0.6, away=0.6),
        transport=Habit(6, 19, 0.6, night=0.45, away=0.25),
        ads=Habit(4, 15, 0.5, parties=2, fresh=0.05),
        prepaid=Habit(0.6, 35, 0.5, even=0.8),
        phone=Habit(1.6, 30, 0.4, parties=2, fresh=0),
        care=Habit(2.2, 40, 0.6),
        savings=Habit(1.6, 450, 0.6, parties=1, fresh=0, even=0.9),
    ),
    _persona(
        "ride_hail_driver",
        0.03,
        payroll=Habit(0.4, 600, 0.4, parties=1, fresh=0),
        platform=Habit(7, 260, 0.5, parties=2, fresh=0),
        p2p_in=Habit(4, 28, 0.6, night=0.4, parties=3, fresh=0.65, even=0.3),
        cash_in=Habit(1.5, 110, 0.5, night=0.3, even=0.6, away=0.15),
        supplies=Habit(8, 45, 0.4, night=0.4, parties=5, away=0.2),
        groceries=Habit(6, 16, 0.6, night=0.4, away=0.15),
    ),
    _persona(
        "small_trader",
        0.045,
        payroll=Habit(0.2, 700, 0.4, parties=1, fresh=0),
        platform=Habit(3, 240, 0.6, parties=2, fresh=0),
        p2p_in=Habit(
            11,
            60,
            0.8,
            night=0.1,
            parties=9,
            fresh=0.55,
            even=0.35,
            echo=Echo(0.15, 60, "one_payee"),
        ),
        cash_in=Habit(3.5, 320, 0.7, even=0.6, away=0.3, echo=Echo(0.2, 60, "cash")),
        wages=Habit(1.4, 520, 0.4, parties=2, fresh=0.05, echo=Echo(0.12, 160, "same_party", 0.1)),
        supplies=Habit(6, 210, 0.8, parties=6),
        ads=Habit(1.8, 18, 0.6, parties=2),
        phone=Habit(1.8, 32, 0.4, parties=2, fresh=0),
    ),
    _persona(
        "survivor_rebuilding",
        0.013,
        payroll=Habit(0.8, 650, 0.4, parties=1, fresh=0),
        benefit=Habit(1.5, 420, 0.3, parties=2, fresh=0),
        p2p_in=Habit(4, 60, 0.8, parties=3, fresh=0.4, even=0.5, echo=Echo(0.35, 60, "one_payee")),
        cash_in=Habit(0.8, 120, 0.6, even=0.8, echo=Echo(0.3, 60, "cash")),
        lodging=Habit(1.4, 85, 0.4, parties=2, fresh=0.2, away=0.1),
        groceries=Habit(4, 24, 0.6),
        transport=Habit(4, 13, 0.6),
        prepaid=Habit(0.8, 30, 0.5, even=0.8),
        phone=Habit(1.4, 22, 0.4, parties=1, fresh=0.1),
        savings=Habit(0.2, 60, 0.5, parties=1, fresh=0),
    ),
)
"""Lives that share indicators with rings: labelled negatives (design section 8, rule 5)."""

EPISODES: Final[tuple[Pattern, ...]] = (
    overlay(
        "selling_up",
        0.05,
        p2p_in=Habit(
            9,
            60,
            0.8,
            night=0.2,
            parties=2,
            fresh=0.85,
            even=0.5,
            echo=Echo(0.4, 40, "one_payee"),
        ),
        ads=Habit(2, 12, 0.5, parties=1),
    ),
    overlay(
        "between_homes",
        0.04,
        lodging=Habit(4, 110, 0.5, parties=2, fresh=0.4, away=0.3),
        transport=Habit(5, 20, 0.6, night=0.2),
        cash_in=Habit(1, 300, 0.6, even=0.8),
        ads=Habit(2, 13, 0.5, parties=2),
        phone=Habit(0.7, 25, 0.4, parties=2, fresh=0.1),
    ),
    overlay(
        "on_tour",
        0.04,
        cash_in=Habit(1.8, 220, 0.6, night=0.3, even=0.7, away=0.8, cities=3),
        p2p_in=Habit(4, 40, 0.6, night=0.35, fresh=0.8, even=0.5),
        lodging=Habit(3, 120, 0.5, fresh=0.8, away=1.0, cities=3),
        transport=Habit(6, 25, 0.8, night=0.35, away=0.7, cities=3),
        cash_out=Habit(2, 80, 0.5, night=0.3, away=0.9, cities=3, even=0.95),
    ),
    overlay(
        "household_help",
        0.05,
        wages=Habit(2.2, 420, 0.5, parties=2, fresh=0.1, echo=Echo(0.06, 160, "same_party", 0.1)),
        ads=Habit(2.5, 14, 0.5, parties=2),
        care=Habit(1, 30, 0.6),
    ),
    overlay(
        "shared_purse",
        0.05,
        p2p_in=Habit(
            7, 70, 0.6, night=0.15, parties=6, fresh=0.4, even=0.7, echo=Echo(0.7, 40, "one_payee")
        ),
        cash_in=Habit(1.5, 250, 0.6, even=0.9, echo=Echo(0.4, 40, "cash")),
    ),
)
"""Odd months of ordinary people; `share` is the probability to have one."""

LOOK_ALIKE_NAMES: Final = tuple(p.name for p in LOOK_ALIKES)
"""Personas whose false-positive rate is printed beside the accuracy (rule 5)."""
