"""The remaining budget, and the date when more of it comes free, in plain words.

Pure: a ledger's entries and the present go in. Files and `--json` hold mu^2, which adds up;
people read epsilon at their policy's delta, each amount by itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from fieldfare.client.ledger.budget import WINDOW, LedgerEntry, from_picomu2
from fieldfare.client.ledger.chain import Statement, costs_of, counts_as
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.privacy.sides import Side, SideCosts, total_of


@dataclass(frozen=True)
class FreedBudget:
    """The budget that comes free at the beginning of a day (UTC), in picomu2."""

    day: date
    picomu2: int


def freed_later(
    entries: Iterable[LedgerEntry | Statement], now: datetime
) -> tuple[FreedBudget, ...]:
    """Return the costs that leave the window of 365 days after `now`, by day, soonest first.

    Everything that counts within the window is in it, also what a restored copy carried over. A day
    on which the total does not fall is left out: what leaves was on the smaller side.

    Args:
        entries: a ledger's whole history, oldest first.
        now: the present, with a time zone.
    """
    days: dict[date, _Costs] = {}
    known_to = [1]  # M of each part, where it ever changed
    for entry in entries:
        if isinstance(entry, Statement) and all(entry.stated.multiplicity):
            known_to[-1:] = entry.stated.multiplicity
        study, side, cost = costs_of(entry)
        if cost and entry.time >= now - WINDOW:
            # The day after, on which it counts no more whatever the hour.
            day = (entry.time + WINDOW).astimezone(UTC).date() + timedelta(days=1)
            place = (study, side, len(known_to) - 1)
            costs = days.setdefault(day, {})
            costs[place] = costs.get(place, 0) + cost
    freed: list[FreedBudget] = []
    staying: _Costs = {}
    after = 0
    for day in reversed(days):  # what is left once this day's costs are gone, then with them
        for place, cost in days[day].items():
            staying[place] = staying.get(place, 0) + cost
        before = _counted(staying, known_to)
        if before > after:
            freed.append(FreedBudget(day, before - after))
        after = before
    return tuple(reversed(freed))


_Costs = dict[tuple[str, Side, int], int]  # picomu2 by study, side and part of the history


def _counted(costs: _Costs, known_to: list[int]) -> int:
    """Return what these cost at the present M: the total of each study, added up."""
    studies: dict[str, SideCosts] = {}
    for study, side in dict.fromkeys((study, side) for study, side, _ in costs):
        parts = [(costs.get((study, side, n), 0), known_to[n]) for n in range(len(known_to))]
        counted = sum(counts_as(parts))
        studies[study] = studies.get(study, SideCosts()).plus(side, counted)
    return total_of(studies)


def worth(picomu2: int, delta: float) -> float:
    """Return the epsilon that so much mu^2 is worth by itself; nothing is worth nothing."""
    if picomu2 <= 0:
        return 0.0
    # The same xi as in the policy's limits, so that a limit that is spent shows as its epsilon.
    return epsilon_for(delta=delta, mu2=from_picomu2(picomu2), xi=XI_LIMIT)


def next_freed(freed: Sequence[FreedBudget], delta: float) -> str:
    """Return the next budget to come free and its day, in words; nothing where none does."""
    if not freed:
        return ""
    first = freed[0]
    return f"the next {worth(first.picomu2, delta):.2g} comes free on {said_day(first.day)}"


def enough_from(needed: int, left: int, freed: Sequence[FreedBudget]) -> str:
    """Say from which day on there is enough, in picomu2; where that is never, say so."""
    for one in freed:
        left += one.picomu2
        if left >= needed:
            return f"enough on {said_day(one.day)}"
    return "never enough: the limit is below it"


def said_day(day: date) -> str:
    """Write a day as people say it, such as 3 March 2027."""
    return f"{day.day} {day:%B %Y}"
