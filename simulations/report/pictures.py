"""The figures of a simulation's report: bars, curves, calibration.

Figures are about as wide as a telephone, so that their letters keep a readable
size there; the page puts two side by side where there is room.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from fieldfare.shared.pages.figures import ACCENT, ALARM, INK, SOFT, drawing
from fieldfare.shared.pages.words import decimals, percent
from fieldfare.simulations.report.curves import (
    Curve,
    ModelScores,
    both_classes,
    calibration,
    precision_recall,
    roc,
    thin,
)
from fieldfare.simulations.report.figures import alert_budget, metric, verdict_of
from fieldfare.simulations.report.words import MODELS, spoken

WIDTH: Final = 4.5
"""Inches; 72 SVG units each."""

LONGEST: Final = 40
"""Letters of a name above a bar."""

MOST_ROWS: Final = 30
"""Institutions in the picture of gains."""

MOST_LETTERS: Final = 16
"""Letters of a name beside a line."""

MOST_LINES: Final = 12
"""Institutions drawn as a line of their own, for each kind of model."""

SETTINGS: Final[Mapping[str, Any]] = {
    "font.size": 10,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "path.simplify": False,  # curves are thinned before, by a rule that keeps their shape
}


class Stroke(NamedTuple):
    """The style of a model's curve; curves differ by dash as well as by colour."""

    colour: str
    dash: str | tuple[int, tuple[float, ...]]
    width: float
    layer: float


STROKES: Final[Mapping[str, Stroke]] = {
    "federated": Stroke(ACCENT, "-", 2.2, 5),
    "alone": Stroke("#7b8794", "-", 0.8, 2),
    "at_home": Stroke("#7c3aed", "-", 0.8, 2),
    "start": Stroke("#64748b", (0, (1, 2)), 1.5, 3),
    "alone_start": Stroke("#7b8794", (0, (3, 1)), 0.8, 2),
    "alone_dp": Stroke("#b08968", (0, (1, 1.2)), 0.9, 1),
    "local_dp": Stroke(ALARM, (0, (4, 1.5)), 1.5, 3),
    "central": Stroke(INK, (0, (6, 2, 1, 2)), 1.3, 4),
    "central_dp": Stroke("#0f766e", (0, (2, 1.2)), 1.5, 4),
}


FOUND: Final = "Recall: share of labelled found"

CURVES: Final = {
    "roc": (roc, "ROC curves", "False positives: share of unlabelled", FOUND),
    "precision_recall": (
        precision_recall,
        "Precision and recall",
        FOUND,
        "Precision: share of alerts labelled",
    ),
}
"""What makes a kind of curve, its title, and what its axes say."""


class Picture(NamedTuple):
    """A title, an SVG element ready for the page, and the caption under it."""

    title: str
    svg: Markup
    caption: str


def bars(results: Mapping[str, Any], key: str, title: str, guess: float | None) -> Picture | None:
    """One bar per model for `key`, a dot per institution where they differ, a line for guessing."""
    values = {name: metric(results, name, key) for name in MODELS}
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    alt = title + ": " + ", ".join(f"{MODELS[n].name} {decimals(v)}" for n, v in known.items())
    with drawing(f"bars-{key}", WIDTH, [0.55 * len(known) + 0.75], SETTINGS) as ((axes,), out):
        axes.grid(visible=False)
        for row, (name, value) in enumerate(known.items()):
            dots = _by_institution(results, name, key)
            bar = _Bar(MODELS[name].name, value, decimals(value), STROKES[name].colour)
            _bar(axes, row, bar, mark=guess, beyond=max(dots, default=0.0))
            axes.plot(dots, [row + 0.12] * len(dots), "o", ms=4, mfc="white", mec=INK, mew=0.9)
        _finish_bars(axes, len(known), limit=1.0)
    caption = "Circles: single institutions on the same hold-out."
    caption += "" if guess is None else f" Dotted: guessing ({decimals(guess, 2)})."
    return Picture(title, out.svg(alt), caption)


def curves(scores: Mapping[str, Sequence[ModelScores]], kind: str) -> Picture | None:
    """Curves of one kind of CURVES, for every model whose hold-out has both classes."""
    make, title, across, up = CURVES[kind]
    drawn = {
        name: [thin(make(one)) for one in several[:MOST_LINES] if both_classes(one)]
        for name, several in scores.items()
        if name in MODELS
    }
    drawn = {name: lines for name, lines in drawn.items() if lines}
    if not drawn:
        return None
    with drawing(kind, WIDTH, [4.9], SETTINGS) as ((axes,), out):
        for name in (name for name in MODELS if name in drawn):
            _lines(axes, name, drawn[name])
        guess = [0.0, 1.0] if kind == "roc" else [drawn[next(iter(drawn))][0].y[-1]] * 2
        axes.plot([0, 1], guess, color=SOFT, lw=0.9, ls=(0, (1, 1.5)), label="Guessing")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel=across, ylabel=up)
        out.figure.legend(loc="outside lower left", ncols=2, handlelength=2.6, columnspacing=1.2)
    alt = f"{title} on the pooled hold-out: " + ", ".join(MODELS[name].name for name in drawn)
    most = max(len(several) for several in scores.values())
    thin_lines = (
        "one per institution" if most <= MOST_LINES else f"the first {MOST_LINES} institutions"
    )
    return Picture(title, out.svg(alt), f"Pooled hold-out. Thin lines: {thin_lines}.")


def released(results: Mapping[str, Any]) -> Picture | None:
    """The federation's metrics as released, with intervals, beside the truth."""
    rows = [
        (title, results["released_metrics"].get(key), metric(results, "federated", truth))
        for key, title, truth in RELEASED
        if (results["released_metrics"].get(key) or {}).get("value") is not None
    ]
    if not rows:
        return None
    with drawing("released", WIDTH, [0.6 * len(rows) + 1.1], SETTINGS) as ((axes,), out):
        for row, (title, entry, truth) in enumerate(rows):
            _interval(axes, row, entry)
            _label(axes, 0.0, row - 0.33, f"{title}: {decimals(entry['value'])}")
            if truth is not None:
                axes.plot([truth], [row], "|", ms=15, mew=1.8, color=ALARM, zorder=4)
        _finish_bars(axes, len(rows), limit=1.0)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
    alt = "Released metrics with intervals: " + "; ".join(
        f"{title} {decimals(e['value'])} ({decimals(e.get('low'))} to {decimals(e.get('high'))})"
        for title, e, _ in rows
    )
    caption = (
        "Dot and line: what all institutions were told, with an interval that includes the noise. "
        "Upright mark: the hold-out itself, which only a simulation can see."
    )
    return Picture("Released figures", out.svg(alt), caption)


RELEASED: Final = (
    ("auroc", "AUROC", "auroc"),
    ("average_precision", "Average precision", "average_precision"),
    ("precision", "Precision at the alert budget", "precision_at_budget"),
    ("recall", "Recall at the alert budget", "recall_at_budget"),
)
"""Released metric, its title, and the same metric on the hold-out."""


def calibrated(
    bins: Sequence[Mapping[str, float | None]], scores: Sequence[ModelScores]
) -> Picture | None:
    """Observed against predicted share: as released, and on the hold-out itself."""
    told = [b for b in bins if b.get("predicted") is not None and b.get("observed") is not None]
    truth = calibration(scores[0]) if scores else None
    if not told and truth is None:
        return None
    top = _calibration_top(told, truth)
    with drawing("calibration", WIDTH, [4.2], SETTINGS) as ((axes,), out):
        axes.plot([0, top], [0, top], color=SOFT, lw=0.8, ls=(0, (1, 1.5)), label="Perfect")
        if truth is not None:
            axes.plot(truth.x, truth.y, "s-", ms=4, lw=1, color=ALARM, label="Hold-out itself")
        if told:
            _calibration_bars(axes, told)
        axes.set(xlim=(-0.02 * top, 1.03 * top), ylim=(-0.02 * top, 1.03 * top))
        axes.set_xlabel("Predicted share of labelled")
        axes.set_ylabel("Observed share")
        axes.legend(loc="best")
    alt = "Calibration: " + "; ".join(
        f"predicted {decimals(b['predicted'])}, observed {decimals(b['observed'])}" for b in told
    )
    caption = (
        "On the dotted line, a score of 0.3 means that 30 of 100 with that score are labelled."
    )
    return Picture("Calibration of the shared model", out.svg(alt), caption)


def groups(results: Mapping[str, Any]) -> Picture | None:
    """False-positive rate of each group at the alert budget."""
    rows = [r for r in results["groups"]["rows"] if r.get("false_positive_rate") is not None]
    if not rows:
        return None
    share = alert_budget(results)
    limit = 1.18 * max(*(row["false_positive_rate"] for row in rows), share or 0.0, 1e-6)
    with drawing("groups", WIDTH, [0.55 * len(rows) + 0.85], SETTINGS) as ((axes,), out):
        axes.grid(visible=False)
        for row, entry in enumerate(rows):
            rate = float(entry["false_positive_rate"])
            bar = _Bar(spoken(str(entry["name"])), rate, percent(rate), "#8a6d3b")
            # A value is not written over the mark beside it.
            near = share is not None and rate < share < rate + 0.25 * limit
            _bar(axes, row, bar, mark=share, beyond=share if near and share else 0.0)
        _finish_bars(axes, len(rows), limit=limit)
        axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.3g}%")
    alt = "False-positive rate by group: " + ", ".join(
        f"{spoken(str(row['name']))} {percent(row['false_positive_rate'])}" for row in rows
    )
    caption = "Dotted: the share of all units that is reviewed." if share is not None else ""
    return Picture("False-positive rates", out.svg(alt), caption)


def gains(found: Mapping[str, Any]) -> Picture:
    """How many cases more each institution finds together, with its interval, most first."""
    rows = sorted(found["institutions"], key=lambda row: -row["difference"]["value"])[:MOST_ROWS]
    colours = {"gains": ACCENT, "loses": ALARM}
    with drawing("gains", WIDTH, [0.2 * len(rows) + 0.75], SETTINGS) as ((axes,), out):
        for place, row in enumerate(rows):
            apart, colour = row["difference"], colours.get(verdict_of(row), SOFT)
            axes.plot([apart["low"], apart["high"]], [place, place], color=colour, lw=2)
            axes.plot([apart["value"]], [place], "o", ms=5, color=colour)
        axes.axvline(0, color=INK, lw=0.9)
        names = [str(row["name"])[:MOST_LETTERS] for row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel="cases more found together than alone")
    alt = "Cases more found together: " + "; ".join(
        f"{row['name']} {row['difference']['value']:+}, {verdict_of(row)}" for row in rows
    )
    left = len(found["institutions"]) - len(rows)
    caption = "Line: 95 of 100. Coloured: gains or loses; grey: cannot be told."
    return Picture(
        "What each gains", out.svg(alt), caption + (f" {left} more are left out." if left else "")
    )


class ToldFigure(NamedTuple):
    """What an attack found under one condition; `ceiling` is the most that any attack may."""

    name: str
    value: float
    low: float | None
    high: float | None
    ceiling: float | None


def told(rows: Sequence[ToldFigure], title: str) -> Picture | None:
    """One figure of an attack under each condition, with its interval and its ceiling."""
    if not rows:
        return None
    numbers = [n for row in rows for n in row[1:] if n is not None]
    least, most = min(0.0, *numbers), max(0.0, *numbers)
    room = 0.04 * max(most - least, 1e-9)
    with drawing("told", 1.5 * WIDTH, [0.5 * len(rows) + 0.7], SETTINGS) as ((axes,), out):
        for place, row in enumerate(rows):
            _interval(axes, place, row._asdict())
            _label(axes, least, place - 0.33, f"{row.name}: {decimals(row.value)}")
            if row.ceiling is not None:
                axes.plot([row.ceiling], [place], "|", ms=15, mew=1.8, color=ALARM, zorder=4)
        axes.set(xlim=(least - room, most + room), ylim=(len(rows) - 0.4, -0.65))
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
    alt = f"{title}: " + "; ".join(
        f"{row.name} {decimals(row.value)} ({decimals(row.low)} to {decimals(row.high)}, "
        f"ceiling {decimals(row.ceiling)})"
        for row in rows
    )
    caption = "Dot and line: what was measured, with its 95 % interval."
    if any(row.ceiling is not None for row in rows):
        caption += " Upright mark: the most that any attack comes to under what was paid for."
    return Picture(title, out.svg(alt), caption)


class _Bar(NamedTuple):
    """A bar with its name above it and its value at its end."""

    name: str
    value: float
    text: str
    colour: str


def _bar(
    axes: Axes, row: int, bar: _Bar, *, mark: float | None = None, beyond: float = 0.0
) -> None:
    """Draw a bar, a dotted mark across it, and its value to the right of all that is drawn."""
    place = row + 0.12
    axes.barh([place], [bar.value], height=0.32, color=bar.colour)
    _label(
        axes, 0.0, row - 0.28, bar.name if len(bar.name) <= LONGEST else bar.name[:LONGEST] + "…"
    )
    if mark is not None:
        over = "white" if mark < bar.value else SOFT
        axes.plot([mark, mark], [place - 0.16, place + 0.16], color=over, lw=1.4, ls=(0, (1, 1)))
    _label(axes, max(bar.value, beyond), place, bar.text, offset=6.0)


def _label(axes: Axes, x: float, y: float, text: str, *, offset: float = 0.0) -> None:
    """Write text at a point of the axes, `offset` units to its right."""
    axes.annotate(
        text, (x, y), (offset, 0.0), textcoords="offset points", va="center", annotation_clip=False
    )


def _finish_bars(axes: Axes, rows: int, *, limit: float) -> None:
    """Set the axes of a bar figure: rows from the top, no vertical scale."""
    axes.set(xlim=(0, limit), ylim=(rows - 0.4, -0.55))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _by_institution(results: Mapping[str, Any], model: str, key: str) -> list[float]:
    """Values of single institutions on the pooled hold-out, where they have models of their own."""
    if model not in {"alone", "alone_dp", "alone_start", "at_home"}:
        return []
    entries = (results["models"][model].get("per_institution") or {}).values()
    values = [(entry.get("pooled") or {}).get(key) for entry in entries]
    return [float(value) for value in values if value is not None]


def _lines(axes: Axes, name: str, lines: Sequence[Curve]) -> None:
    """Draw a model's curves; only the first one enters the legend."""
    stroke = STROKES[name]
    for number, line in enumerate(lines):
        axes.plot(
            line.x,
            line.y,
            color=stroke.colour,
            ls=stroke.dash,
            lw=stroke.width,
            zorder=stroke.layer,
            label=MODELS[name].name if number == 0 else None,
        )


def _interval(axes: Axes, row: int, entry: Mapping[str, Any]) -> None:
    """Draw a value and its interval."""
    low, high = entry.get("low"), entry.get("high")
    if low is not None and high is not None:
        axes.plot([low, high], [row, row], "|-", ms=8, lw=2, color=ACCENT, solid_capstyle="butt")
    axes.plot([entry["value"]], [row], "o", ms=7, color=ACCENT)


def _calibration_bars(axes: Axes, told: Sequence[Mapping[str, Any]]) -> None:
    """Draw the released calibration with its intervals."""
    x = np.array([b["predicted"] for b in told], dtype=np.float64)
    y = np.array([b["observed"] for b in told], dtype=np.float64)
    low = np.array([b["observed"] if b.get("low") is None else b["low"] for b in told])
    high = np.array([b["observed"] if b.get("high") is None else b["high"] for b in told])
    reach = np.maximum(0.0, np.array([y - low, high - y], dtype=np.float64))
    axes.errorbar(x, y, yerr=reach, fmt="o", ms=6, color=ACCENT, capsize=3, label="As released")


def _calibration_top(told: Sequence[Mapping[str, Any]], truth: Curve | None) -> float:
    """Upper end of both calibration axes, at most 1."""
    seen = [float(b[key]) for b in told for key in ("predicted", "observed", "high") if b.get(key)]
    if truth is not None:
        seen += [float(truth.x.max()), float(truth.y.max())]
    return min(1.0, 1.08 * max([*seen, 0.02]))
