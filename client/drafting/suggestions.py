"""Columns that a study could compute: suggested where a sample has raw times, positions or amounts.

Formulas are those of the closed list that a study may use (shared/features/derived.py), over
columns whose kind is public: dates and times by how they are written, positions and amounts by
their names. Bounds and knots are read off the sample, which is declared public. They are drafted as
comments: a person who knows what the columns mean accepts each by taking the comment signs away.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from fieldfare.client.drafting.choice import MOST_KNOTS, Choice, dates_in, draft_numeric
from fieldfare.client.drafting.profile import Sample
from fieldfare.client.records.sources.mapping import ISO_DATES
from fieldfare.client.records.sources.source import SourceFile
from fieldfare.client.records.sources.sql import time_of
from fieldfare.shared.features.derived import (
    DAY,
    Distance,
    ElapsedTime,
    Formula,
    Quotient,
    ThingAge,
)
from fieldfare.shared.features.features import CategoricalFeature, NumericFeature, Scale
from fieldfare.shared.harm_rules import is_protected, name_parts
from fieldfare.shared.study.study import DEFAULT_MISSING

MOST: Final = 12  # further ones would be looked at by nobody
IN_ORDER: Final = 0.9  # of the rows in which one time is before the other
LONG_AGO: Final = 30 * DAY
SOON: Final = 2 * DAY
EARLY: Final = 0.05  # of the rows: where so many are as soon, hours count
MOST_CURVES: Final = 8
_OPENED: Final = frozenset(
    ["opened", "open", "since", "start", "started", "created", "registered", "joined", "onboarded"]
)
_LATITUDE: Final = frozenset(["lat", "latitude"])
_LONGITUDE: Final = frozenset(["lon", "lng", "long", "longitude"])
_PARTS: Final = frozenset(["amount", "value", "paid", "max", "largest", "parties", "number", "sum"])
_WHOLES: Final = frozenset(["balance", "limit", "total", "turnover", "income", "sum", "count"])
_USUAL: Final = frozenset(
    ["usual", "typical", "average", "avg", "mean", "median", "expected", "normal"]
)
_KINDS: Final = frozenset(["type", "kind", "segment", "channel", "category"])

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Suggestion:
    """A column that a study could compute, with a word on why."""

    feature: NumericFeature
    why: str


@dataclass(frozen=True)
class Suggestions:
    """Everything that is suggested.

    Attributes:
        computed: columns.
        by: a column with few levels, whose levels could each have a curve.
        levels: of that column.
    """

    computed: tuple[Suggestion, ...] = ()
    by: str = ""
    levels: tuple[str, ...] = ()


NOTHING: Final = Suggestions()


def suggest(
    parts: Sequence[SourceFile],
    sample: Sample,
    choices: Mapping[str, Choice],
    apart: Sequence[str],
    most: int = MOST_KNOTS,
) -> Suggestions:
    """Suggest columns to compute.

    Args:
        parts: of the sample.
        sample: its profile.
        choices: what became of each column.
        apart: columns that a person excluded, unit and label among them.
        most: knots of each.

    Raises:
        RecordsError: the sample cannot be read.
    """
    wanted = [
        name
        for name in sample.columns
        if name not in apart and not is_protected(name) and name in choices
    ]
    times = _times(parts, [name for name in wanted if dates_in(sample.columns[name])])
    numbers = {
        name: sample.columns[name].by_row
        for name in wanted
        if isinstance(choices[name].feature, NumericFeature)
    }
    taken, found = set(sample.columns), list[Suggestion]()
    for name, why, formula in (*_of_times(times), *_of_positions(numbers), *_of_amounts(numbers)):
        values = formula.values(*((times | numbers)[one] for one in formula.sources))
        feature = _drafted(name, formula, values, most)
        if feature is not None and name not in taken:
            taken.add(name)
            found.append(Suggestion(feature, why))
    by, levels = _by(choices)
    return Suggestions(tuple(found[:MOST]), by, levels)


def _drafted(name: str, formula: Formula, values: Numbers, most: int) -> NumericFeature | None:
    """Return the feature, or None where the sample has no two values to put knots between."""
    present = values[np.isfinite(values)]
    try:
        if len(np.unique(present)) < 2:  # noqa: PLR2004 -- nothing between them
            return None
        if isinstance(formula, ElapsedTime):  # what matters begins at hours, and ends at years
            since = np.maximum(present, 0.0)
            made = draft_numeric(name, since, len(values), most, Scale.LOG1P)
        else:
            made = draft_numeric(name, present, len(values), most)
        return NumericFeature(**{**dict(made), "derived": formula})
    except (ValueError, ValidationError):  # knots too close together, or a name that is no word
        return None


# -- times ----------------------------------------------------------------------------------------


def _times(parts: Sequence[SourceFile], names: Sequence[str]) -> dict[str, Numbers]:
    """Read columns of times as microseconds; leave out those in another form than ISO 8601."""
    if not names:
        return {}
    read: dict[str, list[Numbers]] = {name: [] for name in names}
    for part in parts:
        with part.open() as source:
            queries = [
                f"{time_of(name, source.columns[name], ISO_DATES, DEFAULT_MISSING)} AS c{index}"
                for index, name in enumerate(names)
            ]
            for batch in source.batches(queries, names):
                for name, column in zip(names, batch.columns, strict=True):
                    values = column.to_numpy(zero_copy_only=False)
                    read[name].append(np.asarray(values, dtype=np.float64))
    found = {name: np.concatenate(values) for name, values in read.items()}
    return {name: times for name, times in found.items() if np.isfinite(times).any()}


def _of_times(times: Mapping[str, Numbers]) -> Iterator[tuple[str, str, Formula]]:
    """Yield how long it was from each time to each later one."""
    for start, end in permutations(times, 2):
        gaps = times[end] - times[start]
        gaps = gaps[np.isfinite(gaps)]
        if not len(gaps) or (gaps >= 0).mean() < IN_ORDER or not gaps.any():
            continue
        if np.array_equal(times[start], times[end]):
            continue
        middle = float(np.median(gaps))
        if _OPENED.intersection(name_parts(start)) and middle > LONG_AGO:
            formula: Formula = ThingAge(formula="age", since=start, on=end)
            yield f"{start}_to_{end}_days", "how old it is", formula
            continue
        fine = bool((gaps % DAY != 0).any())  # times of the day are known
        soon = float(np.quantile(gaps, EARLY)) < SOON
        unit: Literal["hours", "days"] = "hours" if fine and soon else "days"
        passed = ElapsedTime(formula="elapsed", start=start, end=end, unit=unit)
        yield f"{start}_to_{end}_{unit}", "time that passed", passed


# -- positions ------------------------------------------------------------------------------------


def _of_positions(numbers: Mapping[str, Numbers]) -> Iterator[tuple[str, str, Formula]]:
    """Yield the distance of each two positions, told by names that differ in latitude alone."""
    norths = {name: _beside(name, _LATITUDE) for name in numbers}
    easts = {name: _beside(name, _LONGITUDE) for name in numbers}
    places = [
        (north, east)
        for north, of in norths.items()
        if of is not None
        for east, also in easts.items()
        if also == of
    ]
    for (north, east), (other_north, other_east) in combinations(places, 2):
        one, other = ("_".join(_beside(n, _LATITUDE) or ["here"]) for n in (north, other_north))
        yield (
            f"{one}_to_{other}_km",
            "how far apart they are",
            Distance(
                formula="distance",
                latitude=north,
                longitude=east,
                other_latitude=other_north,
                other_longitude=other_east,
            ),
        )


def _beside(name: str, words: frozenset[str]) -> list[str] | None:
    """Return a name's other words where it has one of these, else None."""
    parts = name_parts(name)
    return [part for part in parts if part not in words] if words.intersection(parts) else None


# -- amounts --------------------------------------------------------------------------------------


def _of_amounts(numbers: Mapping[str, Numbers]) -> Iterator[tuple[str, str, Formula]]:
    """Yield an amount as a share of a whole, and beside what is usual, told by their names."""
    words = {name: name_parts(name) for name in numbers}
    usual = {name for name, own in words.items() if _USUAL.intersection(own)}
    parts = [name for name, own in words.items() if _PARTS.intersection(own) and name not in usual]
    wholes = [name for name, own in words.items() if _WHOLES.intersection(own) or name in usual]
    known = _PARTS | _WHOLES | _USUAL
    others = {name: [one for one in own if one not in known] for name, own in words.items()}
    for of, to in product(parts, wholes):
        if of == to or others[of] != others[to]:
            continue
        if (numbers[of] < 0).any() or (numbers[to] < 0).any():
            continue
        why = "how it is beside what is usual" if to in usual else "a share"
        yield f"{of}_by_{to}", why, Quotient(formula="ratio", of=of, to=to)


# -- levels ---------------------------------------------------------------------------------------


def _by(choices: Mapping[str, Choice]) -> tuple[str, tuple[str, ...]]:
    """Return a column of kinds with few levels: curves may differ by it."""
    for name, choice in choices.items():
        feature = choice.feature
        if not isinstance(feature, CategoricalFeature) or len(feature.levels) > MOST_CURVES:
            continue
        if len(feature.levels) > 1 and _KINDS.intersection(name_parts(name)):
            return name, feature.levels
    return "", ()
