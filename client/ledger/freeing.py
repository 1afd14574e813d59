"""The remaining budget, and the date when more of it comes free, in plain words.

Pure: a ledger's entries and the present go in. Files and `--json` hold mu^2, which adds up;
people read epsilon at their policy's delta, each amount by itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from fieldfare.client.ledger.budget import WINDOW, LedgerEntry, from_picomu2
from fieldfare.client.ledger.chain import Statement, counts_as
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import epsilon_for


@dataclass(frozen=True)
class Freed:
    """The budget that comes free at the beginning of a day (UTC), in picomu2."""

    day: date
    picomu2: int


def freed_later(entries: Iterable[LedgerEntry | Statement], now: datetime) -> tuple[Freed, ...]:
    """Return the costs that leave the window of 365 days after `now`, by day, soonest first.

    Everything that counts within the window is in it, also what a restored copy carried over.

    Args:
        entries: a ledger's whole history, oldest first.
        now: the present, with a time zone.
    """
    days: dict[date, list[tuple[int, int]]] = {}  # (cost, part of the history)
    known_to, before = [1], 0  # M of each part, where it ever changed
    for entry in entries:
        if isinstance(entry, Statement) and all(entry.stated.multiplicity):
            known_to[-1:] = entry.stated.multiplicity
        cost, before = entry.position.cumulative - before, entry.position.cumulative
        if cost and entry.time >= now - WINDOW:
            # The day after, on which it counts no more whatever the hour.
            day = (entry.time + WINDOW).astimezone(UTC).date() + timedelta(days=1)
            days.setdefault(day, []).append((cost, len(known_to) - 1))
    return tuple(Freed(day, _counted(costs, known_to)) for day, costs in days.items())


def _counted(costs: Sequence[tuple[int, int]], known_to: Sequence[int]) -> int:
    by_part = [sum(cost for cost, part in costs if part == n) for n in range(len(known_to))]
    return sum(counts_as(list(zip(by_part, known_to, strict=True))))


def worth(picomu2: int, delta: float) -> float:
    """Return the epsilon that so much mu^2 is worth by itself; nothing is worth nothing."""
    if picomu2 <= 0:
        return 0.0
    # The same xi as in the policy's limits, so that a limit that is spent shows as its epsilon.
    return epsilon_for(delta=delta, mu2=from_picomu2(picomu2), xi=XI_LIMIT)


def next_freed(freed: Sequence[Freed], delta: float) -> str:
    """Return the next budget to come free and its day, in words; nothing where none does."""
    if not freed:
        return ""
    first = freed[0]
    return f"the next {worth(first.picomu2, delta):.2g} comes free on {said_day(first.day)}"


def enough_from(needed: int, left: int, freed: Sequence[Freed]) -> str:
    """Say from which day on there is enough, in picomu2; where that is never, say so."""
    for one in freed:
        left += one.picomu2
        if left >= needed:
            return f"enough on {said_day(one.day)}"
    return "never enough: the limit is below it"


def said_day(day: date) -> str:
    """Write a day as people say it, such as 3 March 2027."""
    return f"{day.day} {day:%B %Y}"
