"""Pictures of answers: bars with their intervals, lines with their bands; PNG, SVG or one page.

What was held back is said, not drawn as nothing. Same answers, same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from fieldfare.server.answers.answer import COUNT, Answer, Cell
from fieldfare.server.answers.output import HELD_BACK, cell_label
from fieldfare.server.answers.sets import AnswerSet, Number
from fieldfare.shared.errors import UsageError
from fieldfare.shared.harm_rules import HARM_RULES
from fieldfare.shared.pages.figures import ACCENT, ALARM, INK, SOFT, Drawing, drawing
from fieldfare.shared.pages.templates import page_template
from fieldfare.shared.pages.words import plain
from fieldfare.shared.terminal.texts import cut

TEMPLATE: Final = resources.files("fieldfare.server.answers") / "answers.html"
SUFFIXES: Final = (".png", ".svg", ".html")
MOST_PANELS: Final = 40
MOST_BARS: Final = 40  # of one picture; the other formats have all
WIDTH: Final = 6.4  # inches
ROW: Final = 0.24
AROUND: Final = 1.0  # inches for title and axis
LINE: Final = 2.6
TICKS: Final = 8
LONGEST: Final = 36  # letters beside a bar
SETTINGS: Final = {"font.size": 9}


@dataclass(frozen=True)
class AnswerPanel:
    """The content of one picture: one measure of one answer.

    Attributes:
        answer: whose cells.
        measure: of them.
        cells: in order, each with what a simulation knows of it.
        left_out: further cells.
    """

    answer: Answer
    measure: str
    cells: tuple[tuple[Cell, Number], ...]
    left_out: int

    @property
    def title(self) -> str:
        """The question and its measure."""
        return str(plain(f"{self.answer.name}: {self.measure}"))

    @property
    def is_line(self) -> bool:
        """Tell whether cells follow each other, so that a line says more than bars."""
        return self.answer.kind in {"trend", "ecdf"} and len(self.cells) > 1

    @property
    def height(self) -> float:
        """Inches."""
        return LINE if self.is_line else AROUND + ROW * max(len(self.cells), 1)

    @property
    def caption(self) -> str:
        """Return the way of answering, and the cells that the plot leaves out, in words."""
        held = sum(cell.value is None for cell, _ in self.cells)
        parts = [f"{self.answer.kind}, {self.answer.institutions} institutions"]
        parts += [f"{held} cells held back"] if held else []
        parts += [f"{self.left_out} further cells not drawn"] if self.left_out else []
        parts += [f"alarms: {', '.join(self.answer.alarms)}"] if self.answer.alarms else []
        return str(plain("; ".join(parts)))


def check_plot(path: Path) -> None:
    """Check that a picture can be written, before anything is asked for it.

    Raises:
        UsageError: another ending than .png, .svg or .html.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"--plot: expected a file that ends in {', '.join(SUFFIXES)}, found {path.name}"
        )


def write_plot(path: Path, sets: Sequence[AnswerSet]) -> None:
    """Draw answers into one file, of the kind that its name ends in.

    Raises:
        UsageError: another ending, nothing to draw, or too much for one picture.
        OSError: `path` cannot be written.
    """
    check_plot(path)
    panels = [panel for one in sets for panel in panels_of(one)]
    if not 1 <= len(panels) <= MOST_PANELS:
        raise UsageError(
            f"--plot: expected 1 to {MOST_PANELS} pictures, found {len(panels)}: name one run"
        )
    if path.suffix == ".html":
        path.write_text(_page(sets, panels), encoding="utf-8")
    else:
        path.write_bytes(_drawn(panels, path.suffix[1:]).content)


def picture(one: AnswerSet, index: int, kind: str) -> bytes:
    """Return one answer drawn, as svg or png; for one thread at a time.

    Raises:
        UsageError: it has nothing to draw, or too much.
    """
    panels = [panel for panel in panels_of(one) if panel.answer is one.answers[index]]
    if not 1 <= len(panels) <= MOST_PANELS:
        raise UsageError(f"expected 1 to {MOST_PANELS} pictures, found {len(panels)}")
    return _drawn(panels, kind).content


def panels_of(one: AnswerSet) -> list[AnswerPanel]:
    """Return a panel for each measure of each answer; one without any cell has nothing to show."""
    found = []
    for index, answer in enumerate(one.answers):
        truths = one.truths[index] if one.truths else (None,) * len(answer.cells)
        pairs = list(zip(answer.cells, truths, strict=True))
        for measure in dict.fromkeys(cell.measure for cell in answer.cells):
            cells = [pair for pair in pairs if pair[0].measure == measure]
            most = len(cells) if answer.kind in {"trend", "ecdf"} else MOST_BARS
            found.append(
                AnswerPanel(answer, measure, tuple(cells[:most]), max(0, len(cells) - most))
            )
    return found


def _page(sets: Sequence[AnswerSet], panels: Sequence[AnswerPanel]) -> str:
    shown = [
        {
            "title": panel.title,
            "caption": panel.caption,
            "svg": _drawn([panel]).svg(f"{panel.title}. {panel.caption}"),
        }
        for panel in panels
    ]
    context = {
        "name": plain(sets[0].name),
        "study": sets[0].study,
        "simulated": any(one.truths for one in sets),
        "panels": shown,
        "harm_rules": HARM_RULES,
    }
    return page_template(TEMPLATE).render(context)


def _drawn(panels: Sequence[AnswerPanel], kind: str = "svg") -> Drawing:
    heights = [panel.height for panel in panels]
    with drawing(panels[0].title, WIDTH, heights, SETTINGS, kind) as (places, out):
        for axes, panel in zip(places, panels, strict=True):
            _draw(axes, panel)
    return out


def _draw(axes: Axes, panel: AnswerPanel) -> None:
    axes.set_title(panel.title, loc="left", fontsize=10)
    if panel.is_line:
        _line(axes, panel)
    else:
        _bars(axes, panel)


def _bars(axes: Axes, panel: AnswerPanel) -> None:
    """Bars for counts, dots for measures without a natural zero; the first cell on top."""
    axes.grid(visible=True, axis="x")
    labels = []
    for row, (cell, truth) in enumerate(panel.cells):
        labels.append(cut(cell_label(panel.answer, cell), LONGEST))
        colour = ALARM if cell.key and cell.key[0] in panel.answer.alarms else ACCENT
        if cell.value is None:
            axes.text(0.03, row, HELD_BACK, va="center", color=SOFT, style="italic",
                      transform=axes.get_yaxis_transform())  # fmt: skip
        elif panel.measure == COUNT:
            axes.barh(row, cell.value, height=0.7, color=colour, alpha=0.75)
        else:
            axes.plot(cell.value, row, "o", color=colour, ms=5)
        if cell.low is not None and cell.high is not None:
            axes.plot([cell.low, cell.high], [row, row], color=INK, lw=1.4)
        if truth is not None:
            axes.plot(truth, row, "o", ms=4, mfc="white", mec=INK, mew=0.9)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    if panel.measure == COUNT:
        axes.set_xlim(left=0)


def _line(axes: Axes, panel: AnswerPanel) -> None:
    axes.grid(visible=True)
    cells = [cell for cell, _ in panel.cells]
    values, lows, highs = (
        np.array([np.nan if end is None else end for end in ends], dtype=np.float64)
        for ends in ([c.value for c in cells], [c.low for c in cells], [c.high for c in cells])
    )
    truths = [(x, true) for x, (_, true) in enumerate(panel.cells) if true is not None]
    place = np.arange(len(cells))
    axes.fill_between(place, lows, highs, color=ACCENT, alpha=0.2, lw=0)
    axes.plot(place, values, "o-", color=ACCENT, ms=3, lw=1.4)
    if truths:
        axes.plot(*zip(*truths, strict=True), "o", ms=4, mfc="none", mec=INK, mew=0.9)
    for x, cell in enumerate(cells):
        if cell.key and cell.key[0] in panel.answer.alarms and cell.value is not None:
            axes.plot(x, cell.value, "D", color=ALARM, ms=6)
    shown = place[:: max(1, -(-len(cells) // TICKS))]
    axes.set_xticks(shown, [cut(cells[x].key[0], LONGEST) for x in shown])
    axes.set_ylim(bottom=0)
