"""A sweep on a screen of 80 columns."""

from collections.abc import Iterator, Mapping
from typing import Final

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from fieldfare.shared.pages.words import decimals, signed
from fieldfare.shared.terminal.screen import add_row, facts, table
from fieldfare.shared.terminal.texts import NARROW, counted
from fieldfare.simulations.sweeps.plan import Learner
from fieldfare.simulations.sweeps.summary import Estimate, Place, Summary, said

MOST_ROWS: Final = 40  # the table has all
HEADS: Final = (
    ("alone", Learner.ALONE),
    ("shared", Learner.FEDERATED),
    ("at home", Learner.AT_HOME),
    ("pooled", Learner.POOLED),
)


def sweep_screen(summary: Summary, title: str, files: Mapping[str, str]) -> RenderableType:
    """Render what a sweep found.

    Args:
        summary: of its table.
        title: name of the study.
        files: what is said of each that was written, by its head.
    """
    heading = Rule(Text(title, style="bold"), align="left", style="dim", characters="-")
    rows = {
        "Pays": Text("\n".join(pays(summary)), style="bold"),
        "Read": Text(legend(summary)),
        **{head: Text(said) for head, said in files.items()},
    }
    shown = ((head, text) for head, text in rows.items() if text.plain)
    return Constrain(Group(heading, _points(summary), facts(shown, head="dim")), NARROW)


def _points(summary: Summary) -> Table:
    varied = list(summary.varied)
    there = {row["learner"] for row in summary.rows}
    heads = [head for head, learner in HEADS if learner.value in there]
    found = table(("", *heads, "gain"), numbers=(*heads, "gain"))
    for place in summary.places[:MOST_ROWS]:
        means = [summary.mean(place, one) for _, one in HEADS if one.value in there]
        cells = [decimals(None if one is None else one.value) for one in means]
        failed = summary.failed(place)
        last = f"{failed} not ended" if failed else interval(summary.gain(place))
        add_row(found, said(place, varied), *cells, last)
    if len(summary.places) > MOST_ROWS:
        add_row(found, f"{len(summary.places) - MOST_ROWS} more in the table")
    return found


def interval(found: Estimate | None) -> str:
    """Write a difference with its interval; a dash where there is none."""
    if found is None or found.low is None:
        return signed(None if found is None else found.value)
    return f"{signed(found.value)} [{signed(found.low)}, {signed(found.high)}]"


def legend(summary: Summary) -> str:
    """Say what the figures are."""
    seeds = counted(len(summary.seeds), "seed")
    return (
        "Average precision on each institution's own held-out units, mean over institutions and "
        f"{seeds}. Gain: {summary.joined.value.replace('_', ' ')} minus alone, with 95 % over "
        "seeds, which split the same records anew. The noise is simulated: nobody was protected."
    )


def pays(summary: Summary) -> Iterator[str]:
    """Say where joining starts to pay, along the first axis whose values have an order."""
    if not any(row["learner"] == Learner.ALONE.value for row in summary.rows):
        return
    axis = next((name for name in summary.varied if _ordered(summary, name)), None)
    if len(summary.seeds) == 1:
        yield "One seed does not tell whether joining pays."
    elif axis is None:
        yield from (f"{said(p, list(summary.varied))}: {_word(summary, p)}" for p in summary.places)
    else:
        others = [name for name in summary.varied if name != axis]
        for place, value in summary.starts_to_pay(axis):
            where = f"{said(place, others)}: " if others else ""
            yield where + (f"from {axis} {value:g} on" if value is not None else "not known to pay")


def _ordered(summary: Summary, name: str) -> bool:
    return all(isinstance(value, int | float) for value in summary.varied[name])


def _word(summary: Summary, place: Place) -> str:
    gain = summary.gain(place)
    return "not compared" if gain is None else gain.word
