"""Evidence for and against a unit's score, and what a feature's name says of it.

Features are called as the typologies have them (`R04`, `R04_retention`); the pack knows the
rest. Where a name says nothing, an institution may name the family in `[alerts.families]`.

No single indicator suffices (harm rule 2): evidence is counted by independent families, and the
counter-evidence is always shown beside it. Only a published indicator that fires is evidence, and
only by numbers above what is usual here. A model may also read an absence (no telephone bill at
all), a part of an indicator whose own number is not in the study, or what nobody published: these
raise a score, and are no evidence.

What is usual are medians and percentiles of this institution's own units. All of it stays inside.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.typologies.family import Family
from fieldfare.client.typologies.pack import own_pack

OTHER: Final = "OTHER"
"""The family of what nobody named: it counts as one, as it is not known to be independent."""
FAMILIES: Final = (*(family.value for family in Family), OTHER)
ROW_FAMILIES: Final = {"text": "TEXT", "vector": "VECTOR"}
"""The one family of all that a model of texts or vectors says, by its kind (harm rule 2)."""
_NAMED: Final = re.compile(r"([A-Z]{1,4}\d{2,3})(?:_|$)")


LEAST_EVIDENCE: Final = 0.2  # log-odds of a family: odds a fifth higher; less is no evidence


@dataclass(frozen=True)
class NamedIndicator:
    """A published indicator, as reasons speak of it.

    Attributes:
        family: independent evidence is counted by family.
        source: where it was published.
        at_least: its first feature's value from which it fires; that feature bears its id.
        benign: other explanations of it.
        meanings: of its features, by name.
    """

    id: str
    family: str
    title: str
    source: str
    at_least: float
    benign: tuple[str, ...]
    meanings: Mapping[str, str]


@dataclass(frozen=True)
class LookalikePersona:
    """People whose lives look alike and are not cases (harm rule 5).

    Attributes:
        overlaps: indicators that fire on them too.
        apart: facts to look for that tell them apart.
    """

    name: str
    overlaps: frozenset[str]
    apart: str


@cache
def indicators() -> Mapping[str, NamedIndicator]:
    """Return every indicator of Fieldfare's pack by id."""
    found = {}
    for one in own_pack().indicators:
        said = one.typology
        linked = said.linked.features if said.linked else ()
        found[one.id] = NamedIndicator(
            one.id,
            said.family.value,
            said.title,
            "; ".join(source.ref for source in said.sources),
            said.fires.at_least,
            said.benign,
            {spec.name: spec.meaning for spec in (*said.features, *linked)},
        )
    return found


PERSONAS: Final = tuple(
    LookalikePersona(name, frozenset(one["overlaps"].split()), one["apart"])
    for name, one in tomllib.loads(
        (resources.files("fieldfare.client.scoring") / "look_alikes.toml").read_text("utf-8")
    ).items()
)
"""Whose everyday life fires which indicators."""


_NOTHING_COMPUTED: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})


def indicator_of(feature: str) -> NamedIndicator | None:
    """Return the indicator that a feature is called after, if it is one."""
    found = _NAMED.match(feature)
    return indicators().get(found[1]) if found else None


def family_of(feature: str, named: Mapping[str, Family]) -> str:
    """Return a feature's family: as the institution named it, by its indicator, or OTHER."""
    if feature in named:
        return named[feature].value
    indicator = indicator_of(feature)
    return indicator.family if indicator else OTHER


def family_behind(feature: str, named: Mapping[str, Family], sources: Sequence[str]) -> str:
    """Return a feature's family: as the institution named it, else that of a column behind it."""
    known = (family_of(one, named) for one in ((feature,) if feature in named else sources))
    return next((family for family in known if family != OTHER), OTHER)


def titles(features: Sequence[str]) -> dict[str, str]:
    """Return features' descriptions by name; the name itself where there is none."""
    return {feature: _title(feature) for feature in features}


def _title(feature: str) -> str:
    indicator = indicator_of(feature)
    if indicator is None:
        return feature
    meaning = indicator.meanings.get(feature)
    return f"{indicator.title} ({meaning})" if meaning else indicator.title


# -- evidence -------------------------------------------------------------------------------------

LEAST_LIKENESS: Final = 0.5  # share of what raises a score that a persona's life explains
MOST_PERSONAS: Final = 2
NOBODY: Final = -1
NOT_SAID: Final = -1  # whether an indicator fires, where nothing published says it


@dataclass(frozen=True, eq=False)
class RuleResults:
    """The results of the published rules on units' values.

    Attributes:
        fires: int8 (units, features): 1 where a feature's indicator fires, 0 where not, -1 where
            nothing says it: no indicator, or the number that fires it is not in the study.
        above: bool (units, features): values above the median here; never where missing.
    """

    fires: NDArray[np.int8]
    above: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class UnitEvidence:
    """The evidence of units.

    Attributes:
        features: bool (units, features), whose numbers are evidence.
        families: bool (units, families), which raise the score by such numbers.
    """

    features: NDArray[np.bool_]
    families: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Evidence:
    """A study's features by family, indicator and persona.

    Attributes:
        families: those that occur, in order.
        members: float64 (features, families), 1 where a feature belongs to a family.
        overlaps: float64 (features, personas), 1 where a persona's life fires a feature.
        firsts: int64 (features,), place of the first feature of a feature's indicator; -1: none.
        at_least: float64 (features,), that one's value from which the indicator fires.
    """

    families: tuple[str, ...]
    members: NDArray[np.float64]
    overlaps: NDArray[np.float64]
    firsts: NDArray[np.int64]
    at_least: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        features: Sequence[str],
        named: Mapping[str, Family],
        sources: Mapping[str, Sequence[str]] = _NOTHING_COMPUTED,
    ) -> Self:
        """Sort features by family.

        A computed feature has the family and the look-alikes of what it is computed from, whatever
        it is called. It is evidence of nothing: no published rule is about it.

        Args:
            features: their names.
            named: the institution's own sorting beyond the names.
            sources: columns of computed features, by name.
        """
        found = [family_behind(name, named, sources.get(name, (name,))) for name in features]
        families = tuple(family for family in FAMILIES if family in found)
        members = np.array([[float(f == family) for family in families] for f in found])
        overlaps = np.zeros((len(features), len(PERSONAS)))
        firsts = np.full(len(features), NOT_SAID, np.int64)
        at_least = np.full(len(features), np.nan)
        places = {name: place for place, name in enumerate(features)}
        for row, name in enumerate(features):
            behind = [one for source in sources.get(name, (name,)) if (one := indicator_of(source))]
            alike = {one.id for one in behind}
            overlaps[row] = [not alike.isdisjoint(persona.overlaps) for persona in PERSONAS]
            for one in behind if name not in sources else ():
                firsts[row] = places.get(one.id, NOT_SAID)
                at_least[row] = one.at_least
        return cls(families, members, overlaps, firsts, at_least)

    @classmethod
    def of_row(cls, family: str) -> Self:
        """Return the evidence of one row: one family, and nothing published about it."""
        return cls(
            (family,), np.ones((1, 1)), np.zeros((1, len(PERSONAS))),
            np.full(1, NOT_SAID, np.int64), np.full(1, np.nan),
        )  # fmt: skip

    @property
    def indicators(self) -> NDArray[np.int64]:
        """Int64: places of the features by which an indicator of the study fires or does not."""
        return np.flatnonzero(self.firsts == np.arange(len(self.firsts)))

    def published(self, values: NDArray[np.float32], medians: NDArray[np.float32]) -> RuleResults:
        """Return the published rules' results; a missing value fires no rule.

        Args:
            values: float32 (features, units), as in the records.
            medians: float32 (features,), what is usual here; NaN where nobody has a value.
        """
        fires = np.full(values.shape[::-1], NOT_SAID, np.int8)
        for row in np.flatnonzero(self.firsts >= 0):
            fires[:, row] = values[self.firsts[row]] >= np.float32(self.at_least[row])
        return RuleResults(fires, (values > medians[:, None]).T)

    def counted(self, contributions: NDArray[np.float64], said: RuleResults) -> UnitEvidence:
        """Return the indicators that count as evidence (harm rule 2).

        A feature's number is where it raises the score, its indicator fires as published, and
        both it and the number that fires are above the median here. A family is where such
        numbers outweigh what lowers the score within it by `LEAST_EVIDENCE`: what else raises the
        score adds nothing.

        Args:
            contributions: float64 (units, features), on the grid, so that sums are exact.
            said: of the same units.
        """
        rare = said.above & said.above[:, np.maximum(self.firsts, 0)]
        features = (contributions > 0) & (said.fires == 1) & rare
        kept = np.where(features, contributions, np.minimum(contributions, 0.0)) @ self.members
        there = features.astype(np.float64) @ self.members > 0
        families = there & (kept >= LEAST_EVIDENCE)
        return UnitEvidence(features & (families @ self.members.T > 0), families)

    def of_indicators(self, features: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return bool (units, indicators): whether any feature of an indicator is in `features`.

        Args:
            features: bool (units, features).
        """
        owned = self.firsts[:, None] == self.indicators
        found: NDArray[np.bool_] = features.astype(np.float64) @ owned.astype(np.float64) > 0
        return found

    def lowering(self, contributions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return bool (units, families): whose features together lower it as much."""
        return contributions @ self.members <= -LEAST_EVIDENCE

    def look_alikes(
        self, contributions: NDArray[np.float64], said: RuleResults
    ) -> NDArray[np.int64]:
        """Return int64 (units, 2): personas that explain most of the raised score; -1: none.

        A hint to look for what tells them apart, never a finding. An absence is nobody's life:
        values at or below the median, or of an indicator that fires not, are like no persona.
        """
        up = np.maximum(contributions, 0.0)
        total = up.sum(axis=1, keepdims=True)
        alike = np.where((said.fires != 0) & said.above, up, 0.0) @ self.overlaps
        share = np.divide(alike, total, out=np.zeros((len(up), len(PERSONAS))), where=total > 0)
        best = np.argsort(-share, axis=1, kind="stable")[:, :MOST_PERSONAS]
        likely = np.take_along_axis(share, best, axis=1) >= LEAST_LIKENESS
        return np.where(likely, best, NOBODY)


def strongest(
    contributions: NDArray[np.float64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the highest contributions of each unit, highest first.

    Args:
        contributions: float64 (units, features); negate it for the lowest.
        most: how many.

    Returns:
        int64 and float64 (units, most or fewer): features, and what they add.
    """
    most = min(most, contributions.shape[1])
    if most < contributions.shape[1]:
        top = np.argpartition(-contributions, most - 1, axis=1)[:, :most]
    else:
        top = np.broadcast_to(np.arange(most), contributions.shape).copy()
    values = np.take_along_axis(contributions, top, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1), np.take_along_axis(values, order, axis=1)


# -- usual ----------------------------------------------------------------------------------------

MOST_READ: Final = 100_000  # units: percentiles to about 1 % need no more
POINTS: Final = 101


@dataclass(frozen=True, eq=False)
class UsualValues:
    """Quantiles by feature.

    Attributes:
        medians: float32 (features,), NaN where no unit has a value.
        points: float64 (features, 101), 0 % to 100 %.
    """

    medians: NDArray[np.float32]
    points: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Self:
        """Read float32 (features, units); NaN is missing and counts for nothing."""
        step = max(1, -(-values.shape[1] // MOST_READ))
        points = np.full((len(values), POINTS), np.nan)
        for index, row in enumerate(values):
            known = row[::step]
            known = known[~np.isnan(known)]
            if len(known):
                points[index] = np.quantile(known.astype(np.float64), np.linspace(0, 1, POINTS))
        return cls(points[:, POINTS // 2].astype(np.float32), points)

    def percentile(self, feature: int, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 (units,): percent of units here below, the middle where many are equal."""
        points = self.points[feature]
        if np.isnan(points[0]):
            return np.full(len(values), np.nan, np.float32)
        low = np.searchsorted(points, values, side="left")
        high = np.searchsorted(points, values, side="right")
        found = np.clip((low + high) / 2, 0, POINTS - 1).astype(np.float32)
        found[np.isnan(values)] = np.nan
        return found
