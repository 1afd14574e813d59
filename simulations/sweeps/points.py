"""The grid of a sweep, and the study and the records of each of its points."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from fieldfare.shared.errors import StudyError, UsageError
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.geometry_section import CLIPPING_NORMS, WHITENED_RATE
from fieldfare.shared.study.start import put_start
from fieldfare.shared.study.study import Study
from fieldfare.shared.study.toml import problem_lines
from fieldfare.simulations.federation.population import (
    Partition,
    RecordsChoice,
    check_minimum,
    load_population,
)
from fieldfare.simulations.sweeps.plan import AXES, COLUMN, SweepPlan

FORMAT: Final = 2  # of the rows
MOST_POINTS: Final = 100_000
NONE: Final = "none"
_LEAST: Final = 3  # institutions in any sum


@dataclass(frozen=True)
class SweepPoint:
    """One point of a grid under one seed; None: as the study, or the records, have it.

    Attributes:
        seed: of split, partition, noise and faults.

    The others are those of `plan.Axes`.
    """

    seed: int
    epsilon: float | None = None
    institutions: int | None = None
    units: int | None = None
    partition: str | None = None
    collusion_tolerance: int | None = None
    dropouts: float | None = None
    stragglers: float | None = None
    steps: int | None = None
    slots: int | None = None
    geometry: str | None = None
    start: str | None = None
    model: str | None = None

    @property
    def axes(self) -> dict[str, Any]:
        """The values of all axes, without the seed."""
        return {name: getattr(self, name) for name in AXES}

    def choice(self, records: Sequence[str]) -> RecordsChoice:
        """Return where its records are and who holds them."""
        dealt, column = self.partition, None
        if dealt is not None and dealt.startswith(COLUMN):
            column, dealt = dealt.removeprefix(COLUMN), None
        return RecordsChoice(records, column, self.institutions, dealt, units=self.units)

    def study(self, base: Study, beside: Path | None) -> Study:
        """Return the study that it runs.

        Args:
            base: the sweep's.
            beside: folder that may hold a public start.

        Raises:
            StudyError: there is no such study; says every mistake.
        """
        if all(self.axes[name] is None for name in AXES):
            return base
        data = base.model_dump(mode="json")
        self._put(data, base)
        put_start(data, beside)
        try:
            return Study.model_validate(data)
        except ValidationError as error:
            said = ", ".join(f"{k} = {v}" for k, v in self.axes.items() if v is not None)
            raise StudyError([f"{said}: {line}" for line in problem_lines(error)]) from None

    def _put(self, data: dict[str, Any], base: Study) -> None:
        """Write the values of the axes into a study's data."""
        privacy, training = data["privacy"], data["training"]
        for section, key, value in (
            (privacy, "epsilon", self.epsilon),
            (privacy, "collusion_tolerance", self.collusion_tolerance),
            (data["records"], "units", self.units),
            (training, "steps", self.steps),
        ):
            if value is not None:
                section[key] = value
        if self.steps is not None:
            privacy.pop("spare_releases", None)  # follows from the steps
        if self.model is not None and self.model != base.model.kind:
            data["model"] = {"kind": self.model}
        if self.geometry is not None:
            _put_geometry(data, base, self.geometry)
        if self.start is not None:
            _put_start(training, self.start)
        if self.slots is not None:
            data["features"] = [_thinned(one, self.slots) for one in data["features"]]
        if self.institutions is not None or self.collusion_tolerance is not None:
            _put_minimum(data["aggregation"], privacy, self.institutions)


def _put_start(training: dict[str, Any], start: str) -> None:
    for name in ("start", "start_hash", "start_file"):
        training.pop(name, None)
    if start != NONE:
        training["start"] = start


def _put_minimum(aggregation: dict[str, Any], privacy: dict[str, Any], count: int | None) -> None:
    """Let a sum of `count` institutions be enough, where that many are enough for anything."""
    least = max(_LEAST, privacy["collusion_tolerance"] + 2)
    asked = max(aggregation["minimum_institutions"], least)
    aggregation["minimum_institutions"] = max(least, min(asked, count or asked))


def _put_geometry(data: dict[str, Any], base: Study, kind: str) -> None:
    """Set coordinates; what earlier ones filled in by themselves goes with them."""
    before = base.geometry
    if before is not None and before.kind == kind:
        return
    if before is not None and base.privacy.clipping_norm == CLIPPING_NORMS[before.kind]:
        data["privacy"].pop("clipping_norm")
    if (
        before is None
        and base.privacy.clipping_norm == type(base.privacy).model_fields["clipping_norm"].default
    ):
        data["privacy"].pop("clipping_norm")
    rates = {WHITENED_RATE if before is not None and before.whitened else None}
    rates.add(type(base.training).model_fields["learning_rate"].default)
    if base.training.learning_rate in rates:
        data["training"].pop("learning_rate", None)
    data.pop("geometry", None)
    if kind != NONE:
        data["geometry"] = {"kind": kind}


def _thinned(feature: dict[str, Any], most: int) -> dict[str, Any]:
    """Keep so many of a feature's knots, evenly, both ends among them."""
    knots = feature.get("knots") or []
    if len(knots) <= most or feature.get("knots_from"):
        return feature
    places = sorted({round(i * (len(knots) - 1) / (most - 1)) for i in range(most)})
    return {**feature, "knots": [knots[place] for place in places]}


@dataclass(frozen=True)
class SweepGrid:
    """All points of a sweep, each with its study.

    Attributes:
        plan: of the sweep.
        base: its study.
        points: in the order of the table: axes first, seeds last.
        files: SHA-256 of each file of records.
    """

    plan: SweepPlan
    base: Study
    points: tuple[SweepPoint, ...]
    files: tuple[str, ...]

    @classmethod
    def of(cls, plan: SweepPlan) -> "SweepGrid":
        """Make the grid, and check every point before any is run.

        Raises:
            UsageError: nothing to vary, too many points, or files that cannot be read.
            StudyError: a point without a study.
        """
        base = load_study(Path(plan.study))
        grid = cls(plan, base, tuple(_points(plan)), tuple(map(_digest, plan.records)))
        counted: dict[str | None, int] = {}
        for point in dict.fromkeys(replace(one, seed=0) for one in grid.points):
            study, named = grid.study(point), len(plan.records)
            if not study.trains:
                raise UsageError(f"{plan.study}: expected a study that trains, found another")
            known = point.institutions or (named if named > 1 else None)
            if known is None and (point.partition or "").startswith(COLUMN):
                known = counted[point.partition] = counted.get(point.partition) or _in_column(
                    study, point, plan
                )
            if known is not None:
                _check_count(study, known)
        return grid

    def study(self, point: SweepPoint) -> Study:
        """Return the study of a point.

        Raises:
            StudyError: it has none.
        """
        return point.study(self.base, Path(self.plan.study).parent)

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What all rows depend on besides their point; no engine is among it."""
        return {
            "format": FORMAT,
            "version": version("fieldfare"),
            "files": self.files,
            "named": [text.partition("=")[0] for text in self.plan.records if "=" in text],
            "beside": sorted(self.plan.beside),
        }

    def key(self, point: SweepPoint) -> str:
        """Return what the rows of a point depend on, hashed, hex."""
        facts = {**self.facts, "study": self.study(point).id, "point": asdict(point)}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def blocks(self) -> list[tuple[SweepPoint, ...]]:
        """Return the points that share records, split and own models, largest federation first."""
        found: dict[tuple[Any, ...], list[SweepPoint]] = {}
        for one in self.points:
            same = (one.seed, one.institutions, one.units, one.partition, one.slots, one.model)
            found.setdefault(same, []).append(one)
        return sorted(map(tuple, found.values()), key=lambda block: -(block[0].institutions or 0))


def _in_column(study: Study, point: SweepPoint, plan: SweepPlan) -> int:
    """Return how many institutions a column of the one file names; reads it.

    Raises:
        UsageError, RecordsError: the file does not fit.
    """
    whole = replace(point, units=None)
    return len(load_population(study, whole.choice(plan.records), seed=point.seed).records)


def _check_count(study: Study, institutions: int) -> None:
    """Refuse a point with fewer institutions than its study needs; says by what."""
    try:
        check_minimum(study, institutions)
    except UsageError as error:
        tolerance = study.privacy.collusion_tolerance
        raise UsageError(f"collusion_tolerance = {tolerance}: {error}") from None


def _points(plan: SweepPlan) -> list[SweepPoint]:
    varied = plan.axes.varied()
    found: dict[SweepPoint, None] = {}
    for values in product(*varied.values(), plan.seeds):
        point = SweepPoint(**dict(zip(varied, values, strict=False)), seed=values[-1])
        if point.partition is not None and point.partition.startswith(COLUMN):
            point = replace(point, institutions=None)  # the column says how many
        elif point.partition is not None:
            if point.institutions is None:
                raise UsageError(f"partition = {point.partition}: expected institutions beside it")
            Partition.parse(point.institutions, point.partition)
        found[point] = None
    if len(found) > MOST_POINTS:
        raise UsageError(f"expected at most {MOST_POINTS:,} points, found {len(found):,}")
    return list(found)


def _digest(text: str) -> str:
    _, sign, rest = text.partition("=")
    path = Path(rest if sign and not Path(text).exists() else text)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: expected a file of records, found: {error.strerror}") from None
