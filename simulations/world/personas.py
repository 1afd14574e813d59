"""The personas of the world: lives by the month, look-alikes and odd months, as data.

Shares and rates are design choices of this world, set so that look-alikes overlap with
exploitation on purpose; no advisory publishes figures. Behaviours are those that published
red flags and their benign explanations name (FinCEN FIN-2020-A008; FINTRAC 2016-OA003 and
2021-OA001; FATF 2018; AUSTRAC 2022). `people` is the smaller set of the demo's world.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from fieldfare.simulations.world.habits import Echo, Habit, Pattern, overlay

Ages = Literal["any", "young", "adult", "older"]


@dataclass(frozen=True, slots=True)
class Persona(Pattern):
    """A life: its habits, and what the institution's own files say of such a customer.

    Attributes:
        apart: what tells it apart from exploitation; "" where nothing resembles it.
        income: median declared yearly income, in currency units.
        business: the customer is a business.
        ages: which age bands.
        segment: what the institution calls such customers.
    """

    apart: str = ""
    income: float = 42_000
    business: bool = False
    ages: Ages = "adult"
    segment: str = "retail"

    @property
    def look_alike(self) -> bool:
        """True where it shares indicators with exploitation: a labelled negative (harm rule 5)."""
        return bool(self.apart)


_LIFE: Final[Mapping[str, Habit]] = MappingProxyType(
    {
        "payroll": Habit(2, 1500, 0.10, parties=1, fresh=0, even=0.02),
        "p2p_in": Habit(1.4, 45, 0.8, night=0.10, fresh=0.3, even=0.35),
        "p2p_out": Habit(1.8, 45, 0.8, night=0.12, fresh=0.3, even=0.35),
        "cash_in": Habit(0.12, 150, 0.7, even=0.8),
        "cash_out": Habit(0.9, 80, 0.5, night=0.10, even=0.95, away=0.1),
        "rent": Habit(0.9, 850, 0.08, parties=1, fresh=0, even=0.3),
        "utilities": Habit(0.9, 130, 0.2, parties=1, fresh=0, even=0.02),
        "phone": Habit(0.9, 35, 0.15, parties=1, fresh=0, even=0.02),
        "subscription": Habit(1, 14, 0.3, parties=2, fresh=0, even=0),
        "savings": Habit(0.6, 250, 0.5, parties=1, fresh=0, even=0.9),
        "tax": Habit(0.08, 300, 0.6, parties=1, fresh=0, even=0.05),
        "groceries": Habit(4.2, 55, 0.6, night=0.08, parties=5, even=0.02),
        "eating": Habit(2.2, 13, 0.5, night=0.18, parties=6, fresh=0.4, even=0.02),
        "fuel": Habit(0.9, 45, 0.3, parties=3, even=0.1),
        "care": Habit(0.8, 26, 0.6, parties=4, even=0.02),
        "clothing": Habit(0.4, 55, 0.6, parties=4, fresh=0.4, even=0.02),
        "lodging": Habit(0.08, 140, 0.4, parties=4, fresh=0.6, away=0.85, even=0.02),
        "rides": Habit(1.0, 14, 0.5, night=0.25, parties=2, fresh=0.05, away=0.1, even=0.02),
        "travel": Habit(0.25, 60, 0.9, parties=4, fresh=0.3, even=0.02),
        "ads": Habit(0.03, 15, 0.5, parties=2, fresh=0.1),
        "prepaid": Habit(0.1, 35, 0.5, even=0.8),
        "coins": Habit(0.06, 50, 0.8, parties=1, fresh=0.05, even=0.6),
        "remittance": Habit(0.03, 180, 0.5, parties=1, fresh=0, even=0.6),
        "luxury": Habit(0.02, 400, 0.7, parties=3, fresh=0.5),
    }
)
_FIRM: Final[Mapping[str, Habit]] = MappingProxyType(
    {
        "takings": Habit(14, 45, 0.8, night=0.15, parties=2, fresh=0, even=0.02),
        "invoice": Habit(1.5, 900, 0.8, parties=6, fresh=0.3, even=0.2),
        "cash_in": Habit(3, 600, 0.5, even=0.5, others=0.2),
        "wages": Habit(4, 1100, 0.2, parties=4, fresh=0.05, even=0.1),
        "rent": Habit(1, 1800, 0.1, parties=1, fresh=0, even=0.4),
        "utilities": Habit(1, 300, 0.3, parties=1, fresh=0),
        "phone": Habit(1.5, 45, 0.2, parties=2, fresh=0),
        "supplies": Habit(6, 260, 0.8, parties=6, even=0.05),
        "tax": Habit(0.4, 900, 0.5, parties=1, fresh=0, even=0.05),
        "ads": Habit(0.4, 60, 0.7, parties=2, fresh=0.1),
        "p2p_in": Habit(2, 80, 0.8, night=0.1, parties=6, fresh=0.5),
        "p2p_out": Habit(1, 120, 0.8, parties=4, fresh=0.3),
    }
)
_NONE: Final = Habit(0, 1)


def _life(name: str, share: float, facts: Mapping[str, object], **habits: Habit) -> Persona:
    """A person's ordinary life with some habits replaced."""
    return Persona(name, share, MappingProxyType({**_LIFE, **habits}), **facts)  # type: ignore[arg-type]


def _firm(name: str, share: float, facts: Mapping[str, object], **habits: Habit) -> Persona:
    """A small business with some habits replaced."""
    merged = MappingProxyType({**_FIRM, **habits})
    facts = {"business": True, "segment": "business", "income": 180_000, **facts}
    return Persona(name, share, merged, **facts)  # type: ignore[arg-type]


def _pool(share: float = 0.3, hours: float = 40) -> Echo:
    """Some of what comes in goes on to one payee: rent shares, a joint account."""
    return Echo(share, hours, "one_payee")


ORDINARY: Final[tuple[Persona, ...]] = (
    _life("salaried", 0.44, {}),
    _life(
        "family",
        0.11,
        {"income": 56_000},
        benefit=Habit(0.8, 260, 0.2, parties=1, fresh=0),
        p2p_out=Habit(
            3, 60, 0.8, parties=5, fresh=0.3, even=0.4, echo=Echo(0.1, 120, "same_party")
        ),
        phone=Habit(2, 32, 0.3, parties=2, fresh=0, even=0.02),
        groceries=Habit(6, 80, 0.6, parties=5, even=0.02),
    ),
    _life(
        "second_account",
        0.05,
        {},
        payroll=Habit(1, 900, 0.3, parties=1, fresh=0, echo=Echo(0.7, 30, "one_payee", 0.5)),
        p2p_in=Habit(2.5, 90, 0.9, night=0.12, fresh=0.35, even=0.5, echo=_pool(0.5)),
        cash_in=Habit(0.6, 250, 0.7, even=0.8),
        rent=_NONE,
        utilities=_NONE,
        groceries=Habit(0.8, 40, 0.6, parties=4),
        eating=Habit(0.8, 14, 0.6, night=0.2, fresh=0.4),
        subscription=Habit(0.2, 14, 0.3, parties=1, fresh=0),
    ),
    _firm("dormant_business", 0.008, {}, takings=_NONE, wages=_NONE, supplies=Habit(0.5, 200)),
)
"""Lives that resemble no indicator for long."""

LOOK_ALIKES: Final[tuple[Persona, ...]] = (
    _life(
        "student",
        0.08,
        {
            "apart": "pays back and is paid back by the same few; term calendar; tuition",
            "income": 9_000,
            "ages": "young",
            "segment": "student",
        },
        payroll=Habit(0.6, 480, 0.3, parties=1, fresh=0),
        p2p_in=Habit(7, 50, 0.8, night=0.22, parties=6, fresh=0.35, even=0.5, echo=_pool(0.25, 60)),
        p2p_out=Habit(6, 35, 0.8, night=0.22, parties=6, fresh=0.25, even=0.4),
        cash_in=Habit(0.3, 140, 0.7, even=0.7, away=0.3, others=0.3),
        tuition=Habit(0.35, 1400, 0.4, parties=1, fresh=0),
        rent=Habit(0.6, 450, 0.1, parties=1, fresh=0, even=0.4),
        utilities=Habit(0.4, 40, 0.3, parties=1, fresh=0),
        eating=Habit(5, 11, 0.5, night=0.35, parties=6, fresh=0.4),
        rides=Habit(2.2, 11, 0.5, night=0.45, parties=2),
        prepaid=Habit(0.25, 25, 0.5, even=0.8),
        savings=Habit(0.1, 60, 0.5, parties=1, fresh=0),
        fuel=Habit(0.2, 35, 0.3),
    ),
    _life(
        "pay_to_rent",
        0.07,
        {"apart": "one employer's pay, utilities, and the same rent each month", "income": 19_000},
        payroll=Habit(2, 680, 0.1, parties=1, fresh=0, echo=Echo(0.8, 40, "cash", 0.5, 0.9)),
        p2p_in=Habit(2, 60, 0.8, night=0.1, fresh=0.3, even=0.5, echo=Echo(0.5, 30, "cash")),
        cash_in=Habit(0.4, 120, 0.6, even=0.8),
        cash_out=Habit(2.5, 70, 0.5, even=0.95),
        prepaid=Habit(0.7, 40, 0.5, even=0.8),
        savings=_NONE,
        fuel=Habit(0.4, 25, 0.3),
    ),
    _life(
        "gig_driver",
        0.035,
        {"apart": "one to three platforms pay; fuel and repairs; money stays", "income": 30_000},
        payroll=Habit(0.3, 600, 0.3, parties=1, fresh=0),
        platform=Habit(4, 420, 0.4, parties=2, fresh=0),
        p2p_in=Habit(3, 28, 0.6, night=0.4, parties=3, fresh=0.65, even=0.3),
        cash_in=Habit(0.8, 110, 0.5, night=0.3, even=0.6, away=0.15),
        fuel=Habit(7, 42, 0.3, night=0.4, parties=5, away=0.2),
        eating=Habit(6, 11, 0.5, night=0.45, parties=6, fresh=0.5, away=0.15),
    ),
    _life(
        "licensed_therapist",
        0.03,
        {"apart": "daytime, returning clients, supplies and tax, one place", "income": 36_000},
        payroll=_NONE,
        p2p_in=Habit(20, 62, 0.5, night=0.08, parties=14, fresh=0.35, even=0.55, echo=_pool(0.12)),
        cash_in=Habit(2.5, 190, 0.6, even=0.8, echo=Echo(0.15, 60, "cash")),
        supplies=Habit(3, 90, 0.6, parties=3),
        care=Habit(3, 60, 0.6, parties=4),
        ads=Habit(1.2, 20, 0.5, parties=2, fresh=0.05),
        tax=Habit(0.4, 500, 0.4, parties=1, fresh=0),
        phone=Habit(1.3, 35, 0.2, parties=2, fresh=0),
    ),
    _life(
        "marketplace_seller",
        0.025,
        {"apart": "pays suppliers and postage; buyers seen once but by day", "income": 34_000},
        payroll=Habit(1, 900, 0.2, parties=1, fresh=0),
        platform=Habit(2, 210, 0.6, parties=2, fresh=0),
        p2p_in=Habit(14, 48, 0.8, night=0.2, parties=4, fresh=0.85, even=0.3, echo=_pool(0.15)),
        supplies=Habit(6, 80, 0.8, parties=5),
        ads=Habit(1.6, 16, 0.5, parties=2, fresh=0.05),
    ),
    _life(
        "night_shift_worker",
        0.035,
        {"apart": "one employer's pay; one venue's neighbourhood", "income": 27_000},
        payroll=Habit(2, 900, 0.12, parties=1, fresh=0),
        p2p_in=Habit(5, 40, 0.7, night=0.5, parties=5, fresh=0.4, even=0.45),
        cash_in=Habit(3.4, 110, 0.6, night=0.45, even=0.7),
        cash_out=Habit(2.2, 60, 0.5, night=0.4, even=0.95),
        eating=Habit(6, 12, 0.5, night=0.5, parties=6),
        rides=Habit(5, 15, 0.5, night=0.6, parties=2),
    ),
    _life(
        "migrant_sending_home",
        0.035,
        {"apart": "monthly, to the same family, beside regular pay", "income": 25_000},
        payroll=Habit(2, 950, 0.12, parties=1, fresh=0, echo=Echo(0.25, 60, "cash", 0.3, 0.6)),
        p2p_in=Habit(2.5, 80, 0.8, parties=5, fresh=0.3, even=0.5, echo=_pool(0.2)),
        cash_in=Habit(0.9, 220, 0.6, even=0.8, others=0.1),
        remittance=Habit(1.6, 260, 0.4, parties=2, fresh=0.03, even=0.6),
        phone=Habit(1.6, 22, 0.3, parties=2, fresh=0.05),
        prepaid=Habit(0.4, 30, 0.5, even=0.8),
        agency=Habit(0.05, 300, 0.4, parties=1, fresh=0),
    ),
    _life(
        "travelling_nurse",
        0.012,
        {"apart": "an agency's payroll, stays of a week and more", "income": 58_000},
        lodging=Habit(3, 420, 0.5, parties=3, fresh=0.4, away=0.95, cities=3),
        rides=Habit(3, 17, 0.6, night=0.4, away=0.6, cities=3),
        travel=Habit(1.8, 90, 0.8, parties=3),
        groceries=Habit(4, 40, 0.6, night=0.2, away=0.5, cities=3),
        cash_out=Habit(1.2, 70, 0.5, away=0.5, cities=3, even=0.95),
        eating=Habit(5, 13, 0.5, night=0.3, away=0.5, cities=3, fresh=0.5),
    ),
    _life(
        "touring_musician",
        0.006,
        {"apart": "clusters around events; equipment and venues", "income": 28_000},
        payroll=Habit(0.5, 700, 0.4, parties=2, fresh=0.2),
        p2p_in=Habit(9, 70, 0.7, night=0.35, parties=6, fresh=0.6, even=0.6, echo=_pool(0.2)),
        cash_in=Habit(2, 240, 0.6, night=0.3, even=0.75, away=0.7, cities=4),
        lodging=Habit(3.5, 110, 0.4, fresh=0.8, away=1.0, cities=4),
        travel=Habit(2.5, 70, 0.8, parties=3),
        supplies=Habit(1.5, 150, 0.8, parties=4),
        ads=Habit(1.5, 18, 0.5, parties=2),
    ),
    _life(
        "trucker",
        0.01,
        {"apart": "an employer's pay and fuel; rent and utilities at home", "income": 52_000},
        lodging=Habit(3, 75, 0.4, fresh=0.6, away=1.0, cities=5),
        eating=Habit(9, 14, 0.5, night=0.35, away=0.8, cities=5, fresh=0.7),
        fuel=Habit(6, 110, 0.5, night=0.3, away=0.8, cities=5, fresh=0.6),
        cash_out=Habit(1.6, 60, 0.5, night=0.25, away=0.8, cities=5, even=0.95),
    ),
    _life(
        "independent_adult_worker",
        0.006,
        {"apart": "keeps the money; own rent, groceries and savings; one device", "income": 30_000},
        payroll=Habit(0.2, 700, 0.4, parties=1, fresh=0),
        p2p_in=Habit(18, 110, 0.5, night=0.43, parties=7, fresh=0.6, even=0.6, echo=_pool(0.04)),
        cash_in=Habit(3.2, 220, 0.6, night=0.3, even=0.85, away=0.2),
        lodging=Habit(1.7, 120, 0.4, parties=4, fresh=0.6, away=0.6),
        rides=Habit(4, 17, 0.6, night=0.5, away=0.25),
        travel=Habit(0.8, 70, 0.8),
        ads=Habit(4, 15, 0.5, parties=2, fresh=0.03),
        prepaid=Habit(0.6, 35, 0.5, even=0.8),
        coins=Habit(0.4, 30, 0.6, parties=1),
        phone=Habit(1.6, 32, 0.2, parties=2, fresh=0),
        care=Habit(2.4, 42, 0.6),
        savings=Habit(1.4, 400, 0.6, parties=1, fresh=0, even=0.9),
    ),
    _life(
        "survivor_rebuilding",
        0.005,
        {"apart": "a shelter or benefits pay; an alert here can harm", "income": 14_000},
        payroll=Habit(0.7, 650, 0.3, parties=1, fresh=0),
        benefit=Habit(1.4, 420, 0.2, parties=2, fresh=0),
        p2p_in=Habit(4, 60, 0.8, parties=3, fresh=0.4, even=0.5, echo=_pool(0.4, 50)),
        cash_in=Habit(0.8, 120, 0.6, even=0.8, others=0.2, echo=Echo(0.3, 60, "cash")),
        lodging=Habit(1.3, 85, 0.4, parties=2, fresh=0.2, away=0.1),
        rent=Habit(0.3, 500, 0.1, parties=1, fresh=0),
        utilities=Habit(0.3, 50, 0.3, parties=1, fresh=0),
        prepaid=Habit(0.8, 30, 0.5, even=0.8),
        savings=Habit(0.1, 60, 0.5, parties=1, fresh=0),
    ),
    _life(
        "community_treasurer",
        0.006,
        {"apart": "a fixed circle pays in on the same days and is paid in turn", "income": 30_000},
        p2p_in=Habit(10, 100, 0.3, night=0.1, parties=10, fresh=0.02, even=0.9, echo=_pool(0.5)),
        p2p_out=Habit(2.5, 800, 0.4, parties=10, fresh=0.02, even=0.9),
        cash_in=Habit(2, 400, 0.5, even=0.9, others=0.6),
    ),
    _life(
        "carer_or_accountant",
        0.008,
        {"apart": "money goes to those looked after; by day", "income": 40_000},
        p2p_in=Habit(3, 120, 0.7, parties=4, fresh=0.1, even=0.5),
        p2p_out=Habit(5, 110, 0.7, parties=4, fresh=0.1, even=0.4),
        care=Habit(2.5, 32, 0.6, parties=4),
    ),
    _life(
        "coin_saver",
        0.015,
        {"apart": "one exchange, no lodging; a plan", "income": 44_000, "ages": "young"},
        coins=Habit(3, 28, 0.4, parties=1, fresh=0, even=0.8),
        prepaid=Habit(1.2, 25, 0.4, even=0.9),
    ),
    _firm(
        "cash_restaurant",
        0.009,
        {"apart": "card share, suppliers' invoices, payroll"},
        takings=Habit(26, 48, 0.6, night=0.3, parties=2, fresh=0),
        cash_in=Habit(5, 900, 0.5, night=0.15, even=0.5, others=0.3),
        cash_large=Habit(0.5, 8600, 0.08, even=0.5, others=0.3),
        wages=Habit(6, 950, 0.2, parties=6, fresh=0.05, echo=Echo(0.03, 160, "same_party", 0.1)),
        supplies=Habit(11, 240, 0.7, parties=6),
    ),
    _firm(
        "convenience_shop",
        0.007,
        {"apart": "card share, suppliers, family payroll"},
        takings=Habit(28, 19, 0.6, night=0.25, parties=2, fresh=0),
        cash_in=Habit(6, 1100, 0.5, even=0.4, others=0.4),
        cash_large=Habit(0.7, 8700, 0.08, even=0.5, others=0.4),
        wages=Habit(1.5, 800, 0.3, parties=2, fresh=0.05),
        supplies=Habit(12, 300, 0.7, parties=5),
    ),
    _firm(
        "farm_contractor",
        0.006,
        {"apart": "statutory payments, stable payroll; housing is deducted openly"},
        takings=_NONE,
        invoice=Habit(4, 3800, 0.6, parties=5, fresh=0.1),
        wages=Habit(
            9, 780, 0.15, parties=9, fresh=0.06, echo=Echo(0.12, 150, "same_party", 0.1, 0.3)
        ),
        tax=Habit(1, 1300, 0.3, parties=1, fresh=0),
        agency=Habit(0.5, 420, 0.4, parties=2, fresh=0.1),
        rent=Habit(2, 1400, 0.2, parties=2, fresh=0),
        lodging=Habit(0.8, 160, 0.4, parties=3, away=0.8),
        remittance=Habit(0.2, 300, 0.5, parties=2),
    ),
    _firm(
        "late_spa",
        0.003,
        {"apart": "card takings, licensed staff on payroll, supplies"},
        takings=Habit(20, 62, 0.5, night=0.4, parties=2, fresh=0),
        p2p_in=Habit(8, 70, 0.5, night=0.4, parties=8, fresh=0.6, even=0.5),
        cash_in=Habit(4, 420, 0.6, night=0.25, even=0.7),
        wages=Habit(5, 900, 0.2, parties=5, fresh=0.05),
        ads=Habit(2.5, 30, 0.6, parties=2, fresh=0.05),
        care=Habit(3, 70, 0.6),
    ),
)
"""Lives that share indicators with exploitation: labelled negatives (harm rule 5)."""

EPISODES: Final[tuple[Pattern, ...]] = (
    overlay(
        "selling_up",
        0.04,
        p2p_in=Habit(9, 60, 0.8, night=0.2, parties=2, fresh=0.85, even=0.5, echo=_pool(0.4)),
        ads=Habit(2, 12, 0.5, parties=1),
    ),
    overlay(
        "between_homes",
        0.03,
        lodging=Habit(4, 100, 0.5, parties=2, fresh=0.4, away=0.3),
        rides=Habit(3, 17, 0.6, night=0.3),
        cash_in=Habit(1, 300, 0.6, even=0.8, others=0.3),
        ads=Habit(1.5, 13, 0.5, parties=2),
        phone=Habit(0.7, 25, 0.4, parties=2, fresh=0.1),
    ),
    overlay(
        "on_the_road",
        0.03,
        cash_in=Habit(1.8, 220, 0.6, night=0.3, even=0.7, away=0.8, cities=3),
        p2p_in=Habit(4, 40, 0.6, night=0.35, fresh=0.8, even=0.5),
        lodging=Habit(3, 120, 0.5, fresh=0.8, away=1.0, cities=3),
        travel=Habit(2, 60, 0.8),
        eating=Habit(4, 14, 0.5, night=0.35, away=0.8, cities=3, fresh=0.8),
    ),
    overlay(
        "shared_purse",
        0.04,
        p2p_in=Habit(7, 70, 0.6, night=0.15, parties=6, fresh=0.4, even=0.7, echo=_pool(0.7)),
        cash_in=Habit(1.5, 250, 0.6, even=0.9, others=0.5, echo=Echo(0.4, 40, "cash")),
    ),
    overlay(
        "nights_out",
        0.04,
        p2p_in=Habit(5, 35, 0.7, night=0.6, parties=5, fresh=0.5, even=0.5),
        cash_out=Habit(3, 60, 0.4, night=0.6, even=0.95),
        rides=Habit(5, 15, 0.5, night=0.8),
        eating=Habit(4, 16, 0.5, night=0.6, fresh=0.6),
    ),
    overlay(
        "gifts_and_games",
        0.03,
        prepaid=Habit(3, 40, 0.5, even=0.9),
        coins=Habit(1, 30, 0.6, parties=1),
        cash_in=Habit(0.6, 150, 0.6, even=0.9),
    ),
)
"""Odd months of ordinary people; `share` is the probability to have one in the window."""

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
