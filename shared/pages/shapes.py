"""Each feature's shape: the part of a score that every knot, level and special value adds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.basis import Basis
from fieldfare.shared.errors import RunError
from fieldfare.shared.features import CategoricalFeature, Feature
from fieldfare.shared.models import slot_values
from fieldfare.shared.pages.words import plain
from fieldfare.shared.study import Study


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
    """Return each feature's curve in log-odds; `titles` say in words what features are."""
    basis = Basis(study.features)
    parts = zip(basis.shown_features(parameters), basis.slices(), strict=True)
    values = slot_values(study, parameters)
    said = titles or {}
    return [
        replace(_shape(feature, values[part].tolist()), title=said.get(feature.name, ""))
        for feature, part in parts
    ]


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
        slots=dict(zip(feature.slot_names[count:], weights[count:], strict=True)),
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
