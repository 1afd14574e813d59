"""Months until a scenario that is new is first found, with labels as late as they are.

A scenario's first ring begins; no institution has ever had a case of it, and other cases are known
as on the day of training. Each month its accounts that have begun are there, those of which a bank
has come to know are labelled, the others are taken for ordinary; all learn again, and each bank
reviews its budget. Customers' records stand as at the end of the window throughout.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.own_model.own_customers import HomeFits, OwnCustomers
from fieldfare.client.own_model.paired import budget_of, reviewed
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.joining.rows import MonthsRow
from fieldfare.simulations.federation.homes import JointTrainer, training_of
from fieldfare.simulations.joining.worlds import BEGUN, KNOWN

MONTH: Final = 30  # days

Days = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NewAccounts:
    """One bank while a scenario begins.

    Attributes:
        own: its units; labels are those known when all learn.
        units: all of them, training units first.
        of_scenario: bool (units,).
        begun, known: float64 (units,), days; NaN and infinity where there is none.
    """

    own: OwnCustomers
    units: EncodedUnits
    of_scenario: NDArray[np.bool_]
    begun: Days
    known: Days

    @classmethod
    def of(cls, own: OwnCustomers, scenario: str) -> "NewAccounts":
        """Look at a bank's cases of one scenario."""
        units = concatenate([own.training, own.held])
        scenarios, begun, known = (
            np.concatenate(own.kinds[name]) for name in ("left out", BEGUN, KNOWN)
        )
        mine = scenarios == scenario  # also those that nobody ever comes to know of
        return cls(own, units, mine, _days(begun, np.nan), _days(known, np.inf))

    @property
    def first(self) -> float:
        """Day on which its first account begins; infinity where it has none."""
        days = self.begun[self.of_scenario]
        return float(days.min()) if len(days) else np.inf

    def there(self, day: float) -> NDArray[np.bool_]:
        """Bool (units,): whose account has begun, if it is of the scenario."""
        return ~(self.of_scenario & (self.begun > day))

    def unknown(self, day: float) -> NDArray[np.bool_]:
        """Bool (units,): accounts of the scenario that nobody knows of on a day."""
        return self.of_scenario & self.there(day) & (self.known > day)

    def learning(self, day: float) -> OwnCustomers:
        """Return the bank with the training units and labels of a day."""
        labels = np.where(self.unknown(day), 0, self.units.labels).astype(np.uint8)
        here = self.there(day)
        here[len(self.own.training) :] = False
        return replace(self.own, training=replace(self.units, labels=labels).select(here))

    def finds(self, fits: HomeFits, shared: NDArray[np.float64], day: float, budget: float) -> (
        tuple[bool, bool]
    ):  # fmt: skip
        """Tell whether an unknown account is among those reviewed: alone, and at home."""
        unknown = self.unknown(day)
        asked = self.there(day) & (unknown | (self.units.labels == 0))
        units = self.units.select(asked)
        count = budget_of(len(units), budget)
        models = (fits.alone, fits.at_home(shared))
        alone, home = (
            bool((reviewed(model.scores(units), count) & unknown[asked]).any()) for model in models
        )
        return alone, home


def _days(texts: NDArray[np.object_], empty: float) -> Days:
    return np.array([float(text) if text else empty for text in texts], dtype=np.float64)


def months_until_found(
    together: JointTrainer, customers: Sequence[OwnCustomers], scenario: str, last: int
) -> list[MonthsRow]:
    """Let a scenario begin, and review every month until each bank has found an account of it.

    Args:
        together: study and seed.
        customers: every bank's, with days on which accounts begin and are known of.
        scenario: which is new.
        last: day on which the window ends.

    Returns:
        A row for each bank that has an account of it in time.
    """
    banks = [NewAccounts.of(own, scenario) for own in customers]
    begin = min(bank.first for bank in banks)
    reviews = int((last - begin) // MONTH) if np.isfinite(begin) else 0
    found: dict[str, MonthsRow] = {}
    for month in range(1, reviews + 1):
        day = begin + MONTH * month
        for bank in banks:
            if bank.first <= day and bank.own.name not in found:
                found[bank.own.name] = MonthsRow(
                    institution=bank.own.name, seed=together.seed, scenario=scenario,
                    months=reviews - month + 1, alone=None, at_home=None,
                )  # fmt: skip
        waiting = [b for b in banks if b.own.name in found and _waits(found[b.own.name])]
        found |= _review(together, banks, [(b, found[b.own.name]) for b in waiting], day)
    return list(found.values())


def _waits(row: MonthsRow) -> bool:
    return row.alone is None or row.at_home is None


def _review(
    together: JointTrainer,
    banks: Sequence[NewAccounts],
    waiting: Sequence[tuple[NewAccounts, MonthsRow]],
    day: float,
) -> dict[str, MonthsRow]:
    """Learn with a day's labels, and say at which review those who wait have found an account."""
    if not waiting:
        return {}
    learning = {bank.own.name: bank.learning(day) for bank in banks}
    shared = together.shared(training_of(list(learning.values())))
    budget, rows = together.study.evaluation.alert_budget, {}
    for bank, row in waiting:
        fits = HomeFits.of(together.study, shared, learning[bank.own.name].training)
        alone, home = bank.finds(fits, shared, day, budget)
        review = max(1, math.ceil((day - bank.first) / MONTH))
        rows[bank.own.name] = row.model_copy(
            update={
                "alone": row.alone or (review if alone else None),
                "at_home": row.at_home or (review if home else None),
            }
        )
    return rows
