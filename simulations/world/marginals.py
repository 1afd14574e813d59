"""A world's own marginals, counted while its lines were made.

These are the whole truth's counts, published with a world of which nobody exists. Of real
records no such table could leave an institution.

A world's marginals, for people to read: tables on the terminal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fieldfare.simulations.world.habits import LINES, MINUTES, MORNING, NIGHT_START, NUMBER, START
from fieldfare.simulations.world.making import Society, WorldPlan
from fieldfare.simulations.world.personas import PERSONAS
from fieldfare.simulations.world.rings import ROLE_NAMES
from fieldfare.simulations.world.scenarios import SCENARIOS
from fieldfare.simulations.world.society import PATTERNS
from fieldfare.simulations.world.statements import Lines

FORMAT: Final = 1
SHOWN_LINES: Final = ("p2p_in", "cash_in", "lodging", "rides", "ads", "prepaid", "remittance")
"""Kinds of line whose monthly means are reported by life."""

_CENT: Final = 100


@dataclass(frozen=True)
class Counts:
    """Counts of lines, filled as blocks are made.

    Attributes:
        by_holder: holders x kinds: how many lines, int64.
        amount: holders x kinds: minor units, int64.
        by_life: patterns x kinds, int64.
        by_life_night: the same between 22:00 and 06:00.
    """

    by_holder: npt.NDArray[np.int64]
    amount: npt.NDArray[np.int64]
    by_life: npt.NDArray[np.int64]
    by_life_night: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, plan: WorldPlan) -> "Counts":
        """Return counts of nothing."""
        holders, lives = (len(plan.holders), len(LINES)), (len(PATTERNS), len(LINES))
        return cls(*(np.zeros(shape, np.int64) for shape in (holders, holders, lives, lives)))

    def add(self, holder: int, lines: Lines, life: npt.NDArray[np.int64]) -> None:
        """Count the lines of one block; `life` is every customer's."""
        kinds = len(LINES)
        self.by_holder[holder] += np.bincount(lines.kind, minlength=kinds)
        np.add.at(self.amount[holder], lines.kind, lines.amount)
        place = life[lines.unit] * kinds + lines.kind
        size = self.by_life.size
        self.by_life[:] += np.bincount(place, minlength=size).reshape(-1, kinds)
        minute = lines.at % MINUTES
        night = (minute >= NIGHT_START) | (minute < MORNING)
        self.by_life_night[:] += np.bincount(place[night], minlength=size).reshape(-1, kinds)


def marginals(society: Society, counts: Counts, *, cases: int, signals: int) -> dict[str, Any]:
    """Return a world's marginals as plain data, the content of `world.json`."""
    plan, labels = society.plan, society.labels
    return {
        "format": FORMAT,
        "asked": {
            "version": plan.version,
            "people": plan.people,
            "months": plan.months.count,
            "prevalence": plan.prevalence,
            "seed": plan.seed,
            "first_day": START.isoformat(),
            "days": plan.months.days,
        },
        "totals": {
            "customers": len(society.customers),
            "transactions": int(counts.by_holder.sum()),
            "customers_whose_account_serves_a_ring": int(labels.sum()),
            "rings": int(society.rings.scenario.size),
            "cases": cases,
            "signals": signals,
        },
        "institutions": [_institution(society, counts, h) for h in range(len(plan.holders))],
        "lives": _lives(society, counts),
        "scenarios": _scenarios(society),
        "roles": _roles(society),
        "channels": _channels(counts),
    }


def _institution(society: Society, counts: Counts, holder: int) -> dict[str, Any]:
    one = society.plan.holders[holder]
    here = society.customers.holder == holder
    return {
        "name": one.name,
        "kind": one.kind,
        "customers": int(here.sum()),
        "transactions": int(counts.by_holder[holder].sum()),
        "amount": int(counts.amount[holder].sum()) // _CENT,
        "serve_a_ring": int(society.labels[here].sum()),
        "lacks": dict(sorted(one.lacks.items())),
        "unseen": list(one.unseen),
    }


def _lives(society: Society, counts: Counts) -> list[dict[str, Any]]:
    """One row per life of those who serve no ring, their lines by the month.

    The lines are of all accounts that show this life, ring members' too: they are few.
    """
    customers = society.customers
    shown = np.bincount(customers.life, minlength=len(PATTERNS))
    others = np.bincount(customers.life[~society.labels], minlength=len(PATTERNS))
    months = society.plan.months.count
    night = NUMBER["p2p_in"]
    rows = []
    for index, persona in enumerate(PERSONAS):
        of = max(int(shown[index]), 1) * months
        received = max(int(counts.by_life[index, night]), 1)
        rows.append(
            {
                "life": persona.name,
                "look_alike": persona.look_alike,
                "told_apart_by": persona.apart,
                "customers": int(others[index]),
                "share": float(others[index] / max(len(customers), 1)),
                "lines_a_month": float(counts.by_life[index].sum() / of),
                "p2p_in_at_night": float(counts.by_life_night[index, night] / received),
                "a_month": {
                    name: float(counts.by_life[index, NUMBER[name]] / of) for name in SHOWN_LINES
                },
            }
        )
    return rows


def _scenarios(society: Society) -> list[dict[str, Any]]:
    rings = society.rings
    of_ring = np.bincount(rings.scenario, minlength=len(SCENARIOS))
    of_member = np.bincount(rings.scenario[rings.ring], minlength=len(SCENARIOS))
    return [
        {"scenario": s.name, "rings": int(of_ring[i]), "accounts": int(of_member[i])}
        for i, s in enumerate(SCENARIOS)
    ]


def _roles(society: Society) -> list[dict[str, Any]]:
    """Return how many accounts of each role each institution has."""
    rings, holders = society.rings, society.plan.holders
    where = society.customers.holder[rings.customer]
    return [
        {
            "role": role,
            "accounts": int((rings.role == index).sum()),
            "by_institution": {
                one.name: int(((rings.role == index) & (where == h)).sum())
                for h, one in enumerate(holders)
            },
        }
        for index, role in enumerate(ROLE_NAMES)
    ]


def _channels(counts: Counts) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], list[int]] = {}
    totals = zip(counts.by_holder.sum(axis=0), counts.amount.sum(axis=0), strict=True)
    for line, (number, amount) in zip(LINES.values(), totals, strict=True):
        row = rows.setdefault((line.channel, line.direction), [0, 0])
        row[0] += int(number)
        row[1] += int(amount)
    return [
        {"channel": c, "direction": d, "transactions": n, "amount": a // _CENT}
        for (c, d), (n, a) in sorted(rows.items())
    ]


# -- world screen ---------------------------------------------------------------------------------


def world_screen(found: dict[str, Any], where: str) -> RenderableType:
    """Return the screen on a world that was written to `where`."""
    totals, asked = found["totals"], found["asked"]
    head = (
        f"{totals['transactions']:,} transactions of {totals['customers']:,} customers "
        f"({asked['people']:,} people) in {asked['months']} months; "
        f"{totals['customers_whose_account_serves_a_ring']:,} accounts serve one of "
        f"{totals['rings']:,} rings; {totals['cases']:,} cases, {totals['signals']:,} calls.\n"
        f"Nobody in it exists. Written to {where}; the truth lies apart, in truth/."
    )
    return Group(
        Text(head),
        Text(),
        _institutions(found),
        _lives_table(found, "Lives that resemble no indicator for long", look_alike=False),
        _lives_table(found, "Look-alikes: labelled negatives, all of them", look_alike=True),
        _scenarios_table(found),
    )


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=not index)
    for row in rows:
        table.add_row(*row)
    return table


def _institutions(found: dict[str, Any]) -> Table:
    rows = (
        (
            one["name"],
            f"{one['customers']:,}",
            f"{one['transactions']:,}",
            f"{one['serve_a_ring']:,}",
            ", ".join([*one["lacks"], *one["unseen"]]) or "-",
        )
        for one in found["institutions"]
    )
    headings = ("institution", "customers", "transactions", "serve a ring", "lacks, or in part")
    return _table("Institutions with accounts", headings, rows)


def _lives_table(found: dict[str, Any], title: str, *, look_alike: bool) -> Table:
    rows = (
        (
            row["life"],
            f"{row['share']:.1%}",
            f"{row['lines_a_month']:.0f}",
            f"{row['a_month']['p2p_in']:.1f}",
            f"{row['p2p_in_at_night']:.0%}",
            f"{row['a_month']['cash_in']:.1f}",
            f"{row['a_month']['lodging']:.1f}",
        )
        for row in found["lives"]
        if row["look_alike"] == look_alike
    )
    headings = ("by the month", "share", "lines", "people pay", "at night", "cash in", "lodging")
    return _table(title, headings, rows)


def _scenarios_table(found: dict[str, Any]) -> Table:
    rows = (
        (row["scenario"], f"{row['rings']:,}", f"{row['accounts']:,}") for row in found["scenarios"]
    )
    return _table("Rings", ("scenario", "rings", "accounts"), rows)
