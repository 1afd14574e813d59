"""Each feature's curve as a small SVG, drawn by the template from the geometry made here.

Hand-written because small multiples through matplotlib cost a tenth of a second
for each feature. All share one vertical scale, so a taller curve matters more.

Each feature's shape: the part of a score that every knot, level and special value adds.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import RunError
from fieldfare.shared.features.basis import Basis
from fieldfare.shared.features.features import CategoricalFeature, Feature, computed_words
from fieldfare.shared.models import slot_values
from fieldfare.shared.pages.words import plain, signed
from fieldfare.shared.study.study import Study


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One feature's contribution to the score, in log-odds.

    `x` holds the knots (numeric) or the level names (categorical), `contribution`
    one log-odds value for each, `slots` those of special values, missing and other; `title` says
    in words what the feature is, with its unit.

    Raises:
        RunError: `x` and `contribution` differ in length.
    """

    feature: str
    kind: Literal["numeric", "categorical"]
    x: list[float] | list[str]
    contribution: list[float]
    slots: dict[str, float] = field(default_factory=dict)
    scale: Literal["linear", "log1p"] = "linear"
    title: str = ""

    def __post_init__(self) -> None:
        """Refuse a curve with points missing."""
        if len(self.x) != len(self.contribution):
            raise RunError(
                f"shape of {self.feature!r}: expected one contribution per knot or level, found "
                f"{len(self.contribution)} for {len(self.x)}; rebuild it from the model"
            )


def shapes_of(
    study: Study, parameters: NDArray[np.float64], titles: Mapping[str, str] | None = None
) -> list[Shape]:
    """Return each feature's curve in log-odds; `titles` are the features in words."""
    basis = Basis(study.features)
    parts = zip(basis.shown_features(parameters), basis.slices(), strict=True)
    values = slot_values(study, parameters)
    said = titles or {}
    return [
        replace(shape, title=_title(feature, said))
        for feature, part in parts
        for shape in _shapes(feature, values[part].tolist())
    ]


def _title(feature: Feature, said: Mapping[str, str]) -> str:
    return computed_words(feature) or said.get(feature.name, "")


def _shapes(feature: Feature, weights: list[float]) -> Iterator[Shape]:
    """Yield the feature's curve, or those of the levels of `by`."""
    if isinstance(feature, CategoricalFeature) or feature.by is None:
        yield _shape(feature, weights)
        return
    size = len(feature.curve_names)
    for index, curve in enumerate(feature.curves):
        shape = _shape(feature, weights[index * size : (index + 1) * size])
        yield replace(shape, feature=f"{feature.name}, {feature.by} {curve}")


def _shape(feature: Feature, weights: list[float]) -> Shape:
    if isinstance(feature, CategoricalFeature):
        count = len(feature.levels)
        slots = dict(zip(feature.slot_names[count:], weights[count:], strict=True))
        return Shape(
            feature=feature.name,
            kind="categorical",
            x=list(feature.levels),
            contribution=weights[:count],
            slots=slots,
        )
    count = len(feature.knots)
    return Shape(
        feature=feature.name,
        kind="numeric",
        x=list(feature.knots),
        contribution=weights[:count],
        slots=dict(zip(feature.curve_names[count:], weights[count:], strict=True)),
        scale=feature.scale.value,
    )


def plain_shape(shape: Shape) -> Shape:
    """Copy a shape with harmless names."""
    return replace(
        shape,
        feature=plain(shape.feature),
        title=plain(shape.title),
        x=plain(shape.x),
        slots=plain(shape.slots),
    )


# -- panels ---------------------------------------------------------------------------------------

WIDTH: Final = 260.0
HEIGHT: Final = 124.0
LEFT: Final = 34.0
RIGHT: Final = 10.0
TOP: Final = 8.0
BOTTOM: Final = 18.0
SLOT_STEP: Final = 14.0
LETTER: Final = 6.4
MOST_LEVELS: Final = 30


class Point(NamedTuple):
    """A place in a panel, in SVG units."""

    x: float
    y: float


class Tick(NamedTuple):
    """A horizontal line with its log-odds value."""

    y: float
    label: str


class Level(NamedTuple):
    """A level's name under its stem."""

    x: float
    name: str


class PanelRow(NamedTuple):
    """A line of the table under a panel."""

    name: str
    value: str


class Panel(NamedTuple):
    """Everything that the template needs to draw one feature."""

    feature: str
    title: str
    kind: str
    alt: str
    line: str
    points: list[Point]
    stems: bool
    levels: list[Level]
    slots: list[Point]
    ticks: list[Tick]
    zero: float
    low: str
    high: str
    scale: str
    rows: list[PanelRow]
    slot_rows: list[PanelRow]


def panels(shapes: Sequence[Shape]) -> list[Panel]:
    """Panels of all features, those that move the score most first."""
    ranked = sorted(shapes, key=lambda shape: (-_span(shape), shape.feature))
    highest = max((abs(v) for s in shapes for v in _values(s)), default=0.0)
    reach = _nice(highest) if math.isfinite(highest) and highest > 0 else 1.0
    return [_panel(shape, reach) for shape in ranked]


def _values(shape: Shape) -> list[float]:
    """All finite log-odds values of a feature."""
    return [v for v in (*shape.contribution, *shape.slots.values()) if math.isfinite(v)]


def _span(shape: Shape) -> float:
    """How far a feature can move the score, in log-odds."""
    values = _values(shape)
    return max(values) - min(values) if values else 0.0


def _nice(value: float) -> float:
    """Smallest of 1, 1.5, 2, 3, 5, 7 times a power of ten that is at least `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        step * power
        for step in (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)
        if step * power >= value * 0.999
    )


def _panel(shape: Shape, reach: float) -> Panel:
    """Lay one feature out."""
    end = WIDTH - RIGHT - SLOT_STEP * min(len(shape.slots), 6)
    places = _places(shape, end - 8.0 if shape.slots else end)
    points = [Point(x, _y(v, reach)) for x, v in zip(places, shape.contribution, strict=True)]
    slots = [
        Point(end + SLOT_STEP * (index + 0.5), _y(value, reach))
        for index, value in enumerate(list(shape.slots.values())[:6])
    ]
    numeric = shape.kind == "numeric"
    names = [_amount(x) if isinstance(x, float | int) else str(x) for x in shape.x]
    rows = [PanelRow(n, signed(v, 2)) for n, v in zip(names, shape.contribution, strict=True)]
    return Panel(
        feature=shape.feature,
        title=shape.title if shape.title != shape.feature else "",
        kind=shape.kind,
        alt=_alt(shape, rows),
        line=" ".join(f"{p.x:.1f},{p.y:.1f}" for p in points) if numeric else "",
        points=points,
        stems=not numeric,
        levels=[] if numeric else _levels(names, points, end),
        slots=slots,
        ticks=[Tick(_y(v, reach), f"{v:+g}" if v else "0") for v in (reach, 0.0, -reach)],
        zero=_y(0.0, reach),
        low=names[0] if names and numeric else "",
        high=names[-1] if names and numeric else "",
        scale="logarithmic" if shape.scale == "log1p" and numeric else "",
        rows=rows[:MOST_LEVELS],
        slot_rows=[PanelRow(name, signed(value, 2)) for name, value in shape.slots.items()],
    )


def _places(shape: Shape, end: float) -> list[float]:
    """Horizontal places of the knots (on their scale) or of the levels (evenly)."""
    if shape.kind == "numeric":
        raw = [float(x) for x in shape.x]
        raw = [math.copysign(math.log1p(abs(x)), x) for x in raw] if shape.scale == "log1p" else raw
    else:
        raw = [index + 0.5 for index in range(len(shape.x))]
    low, high = (min(raw, default=0.0), max(raw, default=0.0))
    if shape.kind == "categorical":
        low, high = 0.0, float(len(raw))
    width = high - low or 1.0
    return [LEFT + 4.0 + (x - low) / width * (end - LEFT - 4.0) for x in raw]


def _levels(names: Sequence[str], points: Sequence[Point], end: float) -> list[Level]:
    """Names of levels, shortened to the room they have; none where too many stand there."""
    letters = int((end - LEFT) / max(1, len(names)) / LETTER)
    if letters < 3:  # noqa: PLR2004 (less says nothing)
        return []
    cut = [name if len(name) <= letters else name[: letters - 1] + "…" for name in names]
    return [Level(point.x, name) for point, name in zip(points, cut, strict=True)]


def _y(value: float, reach: float) -> float:
    """Vertical place of a log-odds value."""
    value = max(-reach, min(reach, value if math.isfinite(value) else 0.0))
    return TOP + (reach - value) / (2 * reach) * (HEIGHT - TOP - BOTTOM)


def _amount(value: float) -> str:
    """Write a knot: 0.25, 1,200, 3.4M."""
    for size, letter in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # noqa: PLR2004


def _alt(shape: Shape, rows: Sequence[PanelRow]) -> str:
    """Say a panel in one sentence."""
    if not rows:
        return f"{shape.feature}: no contribution"
    ends = sorted((value, row.name) for value, row in zip(shape.contribution, rows, strict=True))
    (low, low_at), (high, high_at) = ends[0], ends[-1]
    return (
        f"{shape.feature}: contribution in log-odds from {signed(low, 2)} at {low_at} "
        f"to {signed(high, 2)} at {high_at}"
    )
