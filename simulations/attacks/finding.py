"""What an attack or an audit says: figures with intervals, what it sees and misses, its source."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any, Final

from fieldfare.shared.terminal.texts import short

COLUMNS: Final = 80


@dataclass(frozen=True, kw_only=True)
class MeasuredFigure:
    """One measured number.

    Attributes:
        name: of what.
        value: the estimate.
        interval: of it, at 95 %; None where it is exact.
        ceiling: the most that any attack comes to under what was paid for; None: nothing bounds it.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    ceiling: float | None = None

    def __str__(self) -> str:
        """Return the number with its interval, and its ceiling."""
        most = "" if self.ceiling is None else f" (ceiling {short(self.ceiling)})"
        if self.interval is None:
            return f"{self.name} {short(self.value)}{most}"
        low, high = self.interval
        return f"{self.name} {short(self.value)} [{short(low)}, {short(high)}]{most}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one tool found.

    Attributes:
        attack: its name.
        figures: what was measured.
        sees: what the tool can see.
        misses: what it cannot.
        source: paper and section.
        flagged: what contradicts the claim; empty where nothing does, or where the tool judges
            nothing.
    """

    attack: str
    figures: tuple[MeasuredFigure, ...]
    sees: str
    misses: str
    source: str
    flagged: tuple[str, ...] = ()

    def figure(self, name: str) -> MeasuredFigure:
        """Return a figure by its name.

        Raises:
            KeyError: there is none of that name.
        """
        return {one.name: one for one in self.figures}[name]

    def as_dict(self) -> dict[str, Any]:
        """Return everything for programs."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Return everything for a screen of 80 columns."""
        yield self.attack
        yield from (f"  {one}" for one in self.figures)
        for one in self.flagged:
            yield from _wrapped("  FLAGGED: ", one)
        yield from _wrapped("  sees     ", self.sees)
        yield from _wrapped("  misses   ", self.misses)
        yield from _wrapped("  source   ", self.source)


def _wrapped(head: str, text: str) -> list[str]:
    later = " " * len(head)
    return wrap(text, COLUMNS, initial_indent=head, subsequent_indent=later)
