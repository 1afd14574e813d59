"""The ranking as a table and a file: every unit with its reasons, by the schema in docs/scoring.md.

`score == base + sum of reasons + sum of counter_evidence + others`, to the last bit.

The Parquet file is written as the table is made, and only its owner may read it.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fieldfare.client.records.encoding.encoding import UNLABELLED
from fieldfare.client.scoring.evidence import (
    NOT_SAID,
    PERSONAS,
    ROW_FAMILIES,
    Evidence,
    RuleResults,
    UnitEvidence,
    UsualValues,
    family_behind,
    indicator_of,
    strongest,
)
from fieldfare.client.scoring.ranking import Ranking
from fieldfare.client.scoring.readings import (
    COLUMN_OF,
    COLUMNS,
    READINGS,
    SIGNS,
    readings_of,
    telling_signs_of,
)
from fieldfare.client.scoring.selection import SelectionReason
from fieldfare.client.typologies.family import Family
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import table_size
from fieldfare.shared.features.features import (
    CategoricalFeature,
    Feature,
    columns_behind,
    computed_words,
    formula_of,
)
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.private_files import PRIVATE_FILE, sync_folder

MOST_REASONS: Final = 5
MOST_COUNTER: Final = 3
MOST_ON_CARD: Final = (12, 8)  # the same of an alert's card
ROWS: Final = 1 << 16  # made at once
FORMAT: Final = 3  # 3: whom a harmless reading fits comes last, and what speaks for one
UNKNOWN_ROLE: Final = "unknown"  # harm rule 1: a person sets a role, never the software

REASON: Final = pa.struct(
    [
        pa.field("feature", pa.string(), nullable=False),
        pa.field("indicator", pa.string()),
        pa.field("family", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("value", pa.float32()),
        pa.field("level", pa.string()),
        pa.field("own_baseline", pa.float32()),
        pa.field("usual", pa.float32()),
        pa.field("percentile", pa.float32()),
        pa.field("contribution", pa.float64(), nullable=False),
        pa.field("direction", pa.string(), nullable=False),
        pa.field("fires", pa.bool_()),
        pa.field("evidence", pa.bool_(), nullable=False),
    ]
)
SCHEMA: Final = pa.schema(
    [
        pa.field("unit", pa.string(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("probability", pa.float64()),
        pa.field("selected", pa.string(), nullable=False),
        pa.field("label", pa.int8()),
        pa.field("party_role", pa.string(), nullable=False),
        pa.field("families", pa.int8(), nullable=False),
        pa.field("family_names", pa.list_(pa.string()), nullable=False),
        pa.field("evidence", pa.list_(pa.string()), nullable=False),
        pa.field("fired", pa.list_(pa.string()), nullable=False),
        pa.field("against", pa.list_(pa.string()), nullable=False),
        pa.field("look_alikes", pa.list_(pa.string()), nullable=False),
        pa.field("readings", pa.list_(pa.string()), nullable=False),
        pa.field("harmless", pa.list_(pa.string()), nullable=False),
        pa.field("base", pa.float64(), nullable=False),
        pa.field("reasons", pa.list_(REASON), nullable=False),
        pa.field("counter_evidence", pa.list_(REASON), nullable=False),
        pa.field("others", pa.float64(), nullable=False),
    ]
)
_SELECTED: Final = np.array(
    [SelectionReason.NO, SelectionReason.ALERT, SelectionReason.BELOW_LINE], dtype=object
)


@dataclass(frozen=True, eq=False)
class Wording:
    """The parts of a reason that are the same for every unit, by feature."""

    names: Any
    indicators: Any
    families: Any
    sources: Any
    levels: tuple[Any, ...]

    @classmethod
    def of(cls, features: Sequence[Feature], named: Mapping[str, Family]) -> "Wording":
        """Prepare, with the families that the institution named."""
        found = [None if formula_of(one) else indicator_of(one.name) for one in features]
        families = [family_behind(one.name, named, columns_behind([one])) for one in features]
        sources = [
            f"computed: {computed_words(feature)}" if formula_of(feature) else one and one.source
            for feature, one in zip(features, found, strict=True)
        ]
        return cls(
            pa.array([feature.name for feature in features], pa.string()),
            pa.array([one.id if one else None for one in found], pa.string()),
            pa.array(families, pa.string()),
            pa.array(sources, pa.string()),
            tuple(_levels(feature) for feature in features),
        )

    @classmethod
    def of_row(cls, column: str, kind: str) -> "Wording":
        """Prepare for a model that reads one column: its content is not shown."""
        none = pa.array([None], pa.string())
        levels = np.array([f"one {kind}, not kept", "missing"], dtype=object)
        family = pa.array([ROW_FAMILIES[kind]], pa.string())
        return cls(pa.array([column], pa.string()), none, family, none, (levels,))


def _levels(feature: Feature) -> NDArray[np.object_]:
    """Return what each position means in words; None where a number says it."""
    found = np.full(table_size(feature), None, dtype=object)
    if isinstance(feature, CategoricalFeature):
        found[:] = [name.removeprefix("is ") for name in feature.slot_names]
    else:
        size = len(found) // len(feature.curves)
        found[size - 1 :: size] = "missing"  # the last position of each curve
    return found


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class AlertTable:
    """Makes rows of a ranking.

    Attributes:
        baselines: float32 (features, units) of `ranking.units`: the same numbers of an earlier
            time; None where none were given.
    """

    ranking: Ranking
    evidence: Evidence
    wording: Wording
    usual: UsualValues
    baselines: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls,
        ranking: Ranking,
        named: Mapping[str, Family],
        baselines: NDArray[np.float32] | None = None,
    ) -> "AlertTable":
        """Prepare; usual values are read off the ranked units."""
        evidence, wording = _worded(ranking.study, named)
        return cls(ranking, evidence, wording, UsualValues.of(ranking.units.values), baselines)

    def batches(self, rows: int = ROWS) -> Iterator[Any]:
        """Yield Arrow record batches, the highest score first."""
        order = np.argsort(self.ranking.ranks)
        for start in range(0, len(order), rows):
            yield self.batch(order[start : start + rows])

    def cards(self, rows: NDArray[np.int64]) -> Any:
        """Return the same of units that people look at, with more reasons."""
        most, most_counter = MOST_ON_CARD
        return self.batch(rows, most=most, most_counter=most_counter)

    def batch(
        self, rows: NDArray[np.int64], *, most: int = MOST_REASONS, most_counter: int = MOST_COUNTER
    ) -> Any:
        """Return one record batch of some units.

        Args:
            rows: int64, places in `ranking.units`.
            most: reasons of each.
            most_counter: of what speaks against.
        """
        ranking = self.ranking
        contributions = ranking.contributions(rows)
        said = self.evidence.published(ranking.units.values[:, rows], self.usual.medians)
        counted = self.evidence.counted(contributions, said)
        reasons, shown = self._reasons(rows, contributions, (said, counted), most, 1.0)
        counter, against = self._reasons(rows, contributions, (said, counted), most_counter, -1.0)
        scores = ranking.scores[rows]
        probability, labels = ranking.probabilities[rows], ranking.units.labels[rows]
        columns = {
            "unit": ranking.units.units.take(pa.array(rows)),
            "rank": ranking.ranks[rows],
            "score": scores,
            "probability": pa.array(probability, mask=np.isnan(probability)),
            "selected": pa.array(_SELECTED[ranking.chosen[rows]], pa.string()),
            "label": pa.array(labels, mask=labels == UNLABELLED),
            "party_role": pa.array(np.full(len(rows), UNKNOWN_ROLE, dtype=object), pa.string()),
            **self._families(contributions, said, counted),
            "look_alikes": self._look_alikes(contributions, said),
            **self._harmless(rows),
            "base": np.full(len(rows), ranking.exact.base),
            "reasons": reasons,
            "counter_evidence": counter,
            # Exact: every term is on the grid (scoring/exact.py).
            "others": scores - ranking.exact.base - shown - against,
        }
        arrays = [pa.array(columns[field.name]) for field in SCHEMA]
        return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)

    def _families(
        self, contributions: NDArray[np.float64], said: RuleResults, counted: UnitEvidence
    ) -> dict[str, Any]:
        """Return what every screen, file and draft says of how much evidence there is."""
        evidence = self.evidence
        families = np.array(evidence.families, dtype=object)
        ids = np.array(self.wording.indicators.to_pylist(), dtype=object)[evidence.indicators]
        return {
            "families": counted.families.sum(axis=1).astype(np.int8),
            "family_names": _listed(counted.families, families),
            "evidence": _listed(evidence.of_indicators(counted.features), ids),
            "fired": _listed(said.fires[:, evidence.indicators] == 1, ids),
            "against": _listed(evidence.lowering(contributions), families),
        }

    def _look_alikes(self, contributions: NDArray[np.float64], said: RuleResults) -> Any:
        found = self.evidence.look_alikes(contributions, said)
        names = pa.array([persona.name for persona in PERSONAS], pa.string())
        return _lists(found >= 0, names.take(pa.array(found[found >= 0])))

    def _harmless(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        """Return which harmless readings hold, and what speaks for one, in words."""
        beside = self.ranking.units.beside
        if beside is None:
            beside = np.full((len(COLUMNS), len(self.ranking.units)), np.nan, np.float32)
        numbers = beside[:, rows]
        there = telling_signs_of(numbers)
        words = np.full(there.shape, None, dtype=object)
        for at, (sign, column) in enumerate(zip(SIGNS, COLUMN_OF, strict=True)):
            one = there[:, at]
            words[one, at] = [sign.said(float(value)) for value in numbers[column, one]]
        names = np.array([one.name for one in READINGS], dtype=object)
        return {
            "readings": _listed(readings_of(numbers), names),
            "harmless": _lists(there, pa.array(words[there], pa.string())),
        }

    def _reasons(
        self,
        rows: NDArray[np.int64],
        contributions: NDArray[np.float64],
        evidence: tuple[RuleResults, UnitEvidence],
        most: int,
        sign: float,
    ) -> tuple[Any, NDArray[np.float64]]:
        """Return lists of reasons that raise (or lower) each score, and their sums."""
        features, values = strongest(sign * contributions, most)
        there = values > 0
        chosen = features[there]
        places = np.broadcast_to(rows[:, None], features.shape)[there]
        index = pa.array(chosen)
        numbers = self._numbers(chosen, places)
        said, counted = evidence
        fired = np.take_along_axis(said.fires, features, axis=1)[there]
        counts = np.take_along_axis(counted.features, features, axis=1)[there]
        struct = pa.StructArray.from_arrays(
            [
                self.wording.names.take(index),
                self.wording.indicators.take(index),
                self.wording.families.take(index),
                self.wording.sources.take(index),
                *numbers,
                pa.array(sign * values[there]),
                pa.repeat("raises" if sign > 0 else "lowers", len(chosen)),
                pa.array(fired == 1, mask=fired == NOT_SAID),
                pa.array(counts),
            ],
            fields=list(REASON),
        )
        return _lists(there, struct), sign * np.where(there, values, 0.0).sum(axis=1)

    def _numbers(self, features: NDArray[np.int64], places: NDArray[np.int64]) -> list[Any]:
        """Return value, level, own baseline, usual and percentile of (feature, unit) pairs."""
        units, usual = self.ranking.units, self.usual
        values = units.values[features, places]
        levels = np.full(len(features), None, dtype=object)
        percentiles = np.full(len(features), np.nan, np.float32)
        for feature in np.unique(features):
            at = np.flatnonzero(features == feature)
            levels[at] = self.wording.levels[feature][units.positions[feature, places[at]]]
            percentiles[at] = usual.percentile(int(feature), values[at])
        none = np.full(len(features), np.nan, np.float32)
        before = none if self.baselines is None else self.baselines[features, places]
        return [
            _nullable(values), pa.array(levels, pa.string()), _nullable(before),
            _nullable(usual.medians[features]), _nullable(percentiles),
        ]  # fmt: skip


def _worded(study: Study, named: Mapping[str, Family]) -> tuple[Evidence, Wording]:
    if study.rows is not None:
        evidence = Evidence.of_row(ROW_FAMILIES[study.rows.kind])
        return evidence, Wording.of_row(study.rows.column, study.rows.kind)
    computed = {one.name: f.sources for one in study.features if (f := formula_of(one))}
    evidence = Evidence.of([feature.name for feature in study.features], named, computed)
    return evidence, Wording.of(study.features, named)


def _nullable(values: NDArray[np.float32]) -> Any:
    return pa.array(values, pa.float32(), mask=np.isnan(values))


def _lists(there: NDArray[np.bool_], values: Any) -> Any:
    """Return a list array: bool (units, most) says how many of `values` each unit has."""
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _listed(there: NDArray[np.bool_], names: NDArray[np.object_]) -> Any:
    _, columns = np.nonzero(there)
    return _lists(there, pa.array(names, pa.string()).take(pa.array(columns)))


# -- alert file -----------------------------------------------------------------------------------

METADATA_KEY: Final = b"fieldfare.alerts"
SUFFIX: Final = ".parquet"


def check_out(path: Path) -> None:
    """Refuse a name that cannot be written, before minutes of work.

    Raises:
        UsageError: no `.parquet`, something is there already, or no such folder.
    """
    if path.suffix != SUFFIX:
        raise UsageError(f"--out: expected a name that ends in {SUFFIX}, found {path.name}")
    if path.exists() or path.is_symlink():
        raise UsageError(
            f"{path}: expected a new file, found an existing one: nothing is overwritten; move it "
            "away, or choose another --out"
        )
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: expected a folder, found none; make it first")


def write_alerts(table: AlertTable, path: Path, said: Mapping[str, str]) -> None:
    """Write every unit, the highest score first; a file that could not be finished is removed.

    Args:
        table: makes the rows.
        path: a new file, mode 0600.
        said: what else stands in the metadata: study, run, time.

    Raises:
        UsageError: the path cannot be written, or is not new.
    """
    metadata = json.dumps({"format": FORMAT, **said}, sort_keys=True).encode()
    schema = SCHEMA.with_metadata({METADATA_KEY: metadata})
    try:
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE
        )
    except OSError as error:
        raise UsageError(f"{path}: expected a new file, found: {error.strerror}") from None
    finished = False
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, PRIVATE_FILE)  # whatever the umask says
            _write(table, file, schema)
            file.flush()
            os.fsync(descriptor)
        sync_folder(path.parent)
        finished = True
    except OSError as error:
        raise UsageError(f"{path}: expected a file, found: {error.strerror or error}") from None
    finally:
        if not finished:
            path.unlink(missing_ok=True)


def _write(table: AlertTable, file: Any, schema: Any) -> None:
    """Write batch after batch; while one is compressed, the next one is made."""
    with (
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
        ThreadPoolExecutor(1) as beside,
    ):
        under_way: list[Future[None]] = []
        for batch in table.batches():
            for earlier in under_way:  # one at a time: they wait in no queue, and keep their order
                earlier.result()
            under_way = [beside.submit(writer.write_batch, batch.cast(schema))]
        for last in under_way:
            last.result()
