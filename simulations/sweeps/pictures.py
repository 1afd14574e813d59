"""The figures of a sweep's page: utility, gain, and what is said, along its axes."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from matplotlib.axes import Axes

from fieldfare.shared.pages.figures import ACCENT, ALARM, INK, SOFT, drawing
from fieldfare.simulations.report.pictures import SETTINGS, STROKES, WIDTH, Picture
from fieldfare.simulations.sweeps.plan import AXES, Learner
from fieldfare.simulations.sweeps.summary import Estimate, Place, Summary, said

MOST_PANELS: Final = 4  # places along the other axes that are drawn; the table has all
MOST_LINES: Final = 12  # institutions
HEIGHT: Final = 3.0  # inches
COLOURS: Final = (ACCENT, ALARM, "#7c3aed", "#0f766e", "#b08968", INK)
LOGARITHMIC: Final = frozenset({"epsilon", "units"})
NAMES: Final = {
    Learner.FEDERATED: "Shared model",
    Learner.AT_HOME: "Used at home",
    Learner.ALONE: "Alone",
    Learner.POOLED: "One pool, no privacy",
}

Line = Sequence[tuple[Any, Estimate]]


def axis_of(summary: Summary) -> str | None:
    """Return the axis that pictures run along: epsilon, or the first that varies."""
    return next(iter(summary.varied), None)


def panels_of(summary: Summary) -> list[tuple[str, list[Place]]]:
    """Return places by their values on all axes but the one that is drawn, each in its order."""
    axis = axis_of(summary)
    if axis is None:
        return []
    others = [name for name in summary.varied if name != axis]
    found: dict[str, list[Place]] = {}
    for place in summary.places:
        found.setdefault(said(place, others) if others else "", []).append(place)
    return list(found.items())


def utility(summary: Summary) -> Picture | None:
    """Average precision of each learner along the axis; thin lines are single institutions."""
    axis, panels = axis_of(summary), panels_of(summary)[:MOST_PANELS]
    if axis is None:
        return None
    joined = summary.joined
    with drawing("utility", WIDTH, [HEIGHT] * len(panels), SETTINGS) as (places, out):
        for axes, (title, along) in zip(places, panels, strict=True):
            for name in summary.institutions(along[0])[:MOST_LINES]:
                line = _line(summary, axis, along, joined, name)
                axes.plot(_xs(line), _ys(line), color=ACCENT, lw=0.7, alpha=0.5)
            for learner in NAMES:
                _mean(axes, _line(summary, axis, along, learner), learner)
            _finish(axes, axis, along, title, "Average precision")
        places[0].legend(loc="best")
    alt = f"Average precision along {axis}: " + ", ".join(NAMES[one] for one in NAMES)
    caption = (
        "Mean over institutions with 95 % over seeds in the table below; thin: "
        f"{joined.value.replace('_', ' ')} at each of the first {MOST_LINES} institutions. "
    )
    return Picture("Utility", out.svg(alt), caption + _left_out(summary))


def gains(summary: Summary) -> Picture | None:
    """What joining adds to being alone, along the axis: a line for each other place."""
    axis, panels = axis_of(summary), panels_of(summary)
    lines = [
        (title, [(_x(axis, place), gain) for place in along if (gain := summary.gain(place))])
        for title, along in panels[: len(COLOURS)]
        if axis is not None
    ]
    lines = [(title, line) for title, line in lines if line]
    if axis is None or not lines:
        return None
    with drawing("gains", WIDTH, [HEIGHT + 0.6], SETTINGS) as ((axes,), out):
        for (title, line), colour in zip(lines, COLOURS, strict=False):
            _band(axes, line, colour, title or None)
        axes.axhline(0.0, color=SOFT, lw=0.9, ls=(0, (1, 1.5)))
        _finish(axes, axis, panels[0][1], "", "Gain in average precision")
        if any(title for title, _ in lines):
            axes.legend(loc="best")
    alt = "Gain over alone: " + "; ".join(
        f"{title or 'all'} {line[0][1].value:+.3f} to {line[-1][1].value:+.3f}"
        for title, line in lines
    )
    caption = "Above the dotted line joining pays; bands: 95 % over seeds."
    return Picture("Gain over alone", out.svg(alt), caption)


def traffic(summary: Summary) -> Picture | None:
    """Rounds, and bytes of each institution, at every value of the axis that moves them most."""
    axis = "institutions" if "institutions" in summary.varied else axis_of(summary)
    if axis is None:
        return None
    at = AXES.index(axis)
    places = list({place[at]: place for place in summary.places}.values())
    if any(summary.fact(place, "rounds") is None for place in places):
        return None
    with drawing("traffic", WIDTH, [HEIGHT, HEIGHT], SETTINGS) as ((first, second), out):
        xs = _positions([place[at] for place in places])
        rounds = [summary.fact(place, "rounds") or 0.0 for place in places]
        first.plot(xs, rounds, "o-", color=ACCENT)
        for name, label, colour in (
            ("bytes_down", "to institutions", ACCENT),
            ("bytes_up", "from institutions", ALARM),
        ):
            sizes = [(summary.fact(place, name) or 0.0) / 1e6 for place in places]
            second.plot(xs, sizes, "o-", color=colour, label=label)
        for axes, title in ((first, "Rounds"), (second, "Megabytes in all")):
            axes.set_ylim(bottom=0)
            _finish(axes, axis, places, "", title)
        second.legend(loc="best")
    caption = (
        "As sent in process, with simulated noise: masks, signatures and a transport's own bytes "
        "come on top in a deployment."
    )
    return Picture("Rounds and bytes", out.svg(f"Rounds and bytes along {axis}"), caption)


def _left_out(summary: Summary) -> str:
    more = len(panels_of(summary)) - MOST_PANELS
    return f"{more} more combinations stand in the table." if more > 0 else ""


def _line(
    summary: Summary, axis: str, along: Sequence[Place], learner: Learner, institution: str = ""
) -> Line:
    found = ((_x(axis, place), summary.mean(place, learner, institution)) for place in along)
    return [(x, mean) for x, mean in found if mean is not None]


def _mean(axes: Axes, line: Line, learner: Learner) -> None:
    stroke = STROKES["central" if learner is Learner.POOLED else learner.value]
    width = 2.2 if learner is Learner.AT_HOME else max(1.3, stroke.width)
    axes.plot(
        _xs(line),
        _ys(line),
        color=stroke.colour,
        ls=stroke.dash,
        lw=width,
        zorder=stroke.layer,
        label=NAMES[learner] if line else None,
    )


def _band(axes: Axes, line: Line, colour: str, label: str | None) -> None:
    xs = _xs(line)
    axes.plot(xs, _ys(line), "o-", ms=4, color=colour, label=label)
    if all(one.low is not None for _, one in line):
        lows, highs = zip(*((one.low, one.high) for _, one in line), strict=True)
        axes.fill_between(xs, lows, highs, color=colour, alpha=0.15, lw=0)


def _finish(axes: Axes, axis: str, along: Sequence[Place], title: str, up: str) -> None:
    values = [_x(axis, place) for place in along]
    if axis in LOGARITHMIC:
        axes.set_xscale("log")
    ticks = _positions(values)
    axes.set_xticks(ticks, [f"{v:g}" if isinstance(v, int | float) else str(v) for v in values])
    axes.minorticks_off()
    axes.set(xlabel=axis.replace("_", " ").capitalize(), ylabel=up)
    if title:
        axes.set_title(title, loc="left", fontsize=10)


def _x(axis: str | None, place: Place) -> Any:
    return place[AXES.index(axis)] if axis else None


def _xs(line: Line) -> list[float]:
    return _positions([x for x, _ in line])


def _positions(values: Sequence[Any]) -> list[float]:
    """Return numbers as they are; words stand beside each other."""
    if all(isinstance(value, int | float) for value in values):
        return [float(value) for value in values]
    return [float(place) for place in range(len(values))]


def _ys(line: Line) -> list[float]:
    return [one.value for _, one in line]


def drawn(summary: Summary) -> Iterator[Picture]:
    """Yield every figure that there is something to draw for."""
    for picture in (utility(summary), gains(summary), traffic(summary)):
        if picture is not None:
            yield picture
