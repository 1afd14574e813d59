"""A world's marginals, for people to read: tables on the terminal."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def world_screen(found: dict[str, Any], where: str) -> RenderableType:
    """Return what a terminal shows of a world that was written to `where`."""
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
        _lives(found, "Lives that resemble no indicator for long", look_alike=False),
        _lives(found, "Look-alikes: labelled negatives, all of them", look_alike=True),
        _scenarios(found),
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


def _lives(found: dict[str, Any], title: str, *, look_alike: bool) -> Table:
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


def _scenarios(found: dict[str, Any]) -> Table:
    rows = (
        (row["scenario"], f"{row['rings']:,}", f"{row['accounts']:,}") for row in found["scenarios"]
    )
    return _table("Rings", ("scenario", "rings", "accounts"), rows)
