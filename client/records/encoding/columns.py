"""Which source columns training and scoring read, and the SQL that reads them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from functools import cached_property
from itertools import zip_longest
from typing import Any, Final

import numpy as np
import pyarrow as pa

from fieldfare.client.records.encoding.problems import Effect, Place, Problems
from fieldfare.client.records.sources.engine import Source
from fieldfare.client.records.sources.mapping import ISO_DATES, ColumnMapping
from fieldfare.client.records.sources.sql import (
    ColumnType,
    contents_of,
    date_code_of,
    id_of,
    number_of,
    text_of,
    time_of,
    value_of,
)
from fieldfare.shared.advice import meant
from fieldfare.shared.errors import RecordsError, StudyError
from fieldfare.shared.features.derived import Formula
from fieldfare.shared.features.features import (
    CategoricalFeature,
    NamedColumn,
    NumericFeature,
    by_of,
    columns_behind,
    formula_of,
    names_linked,
)
from fieldfare.shared.study.asked_columns import asked_columns
from fieldfare.shared.study.study import Study

NO_NUMBER: Final = "CAST('nan' AS DOUBLE)"
# Programs write a column of dates of which no row has one as floats: then records would decide.
_NO_TIMES: Final = frozenset({ColumnType.NUMBER, ColumnType.BOOLEAN})


class Labels(Enum):
    """How labels are read."""

    NEEDED = "needed"  # a row without one counts as zero
    OPTIONAL = "optional"  # a customer of today has none yet
    UNREAD = "unread"


@dataclass(frozen=True)
class RecordsUse:
    """The differences between the uses of records: training, a check of them, and scoring.

    Attributes:
        labels: how they are read. Where they are needed, records are for training: what questions
            ask is read too, and everything that does not fit is noted. Otherwise they are for
            scoring: the first source that lacks a column stops the reading, and columns that a
            mapping names for other studies are passed over.
        institution: the column that names each unit's institution.
        audit: columns to compare groups by.
        today: the last date that is none of the future; with it, declared dates are looked at.
        text_of: the unit whose text is kept.
        beside: further numbers, NaN where a source does not have them.
    """

    labels: Labels = Labels.NEEDED
    institution: str | None = None
    audit: tuple[str, ...] = ()
    today: date | None = None
    text_of: str | None = None
    beside: tuple[str, ...] = ()

    @property
    def trains(self) -> bool:
        """Whether the records are for training."""
        return self.labels is Labels.NEEDED


TRAINING: Final = RecordsUse()


class ColumnForm(Enum):
    """What a column is read as."""

    NUMBER = "numbers"
    TIME = "dates"
    LEVEL = "text or numbers"
    TEXT = "text or numbers, as they stand"


@dataclass(frozen=True)
class Input:
    """One column behind a feature, or behind what questions read.

    Attributes:
        name: as the study says it.
        column: as the source does.
        reads: what it is read as.
    """

    name: str
    column: str
    reads: ColumnForm


@dataclass(frozen=True)
class Columns:
    """The columns that are read, by the names that the source uses; None where not read.

    Attributes:
        features: each feature's column; of a computed one its own name and its sources.
        rows: the column that the model reads as rows.
        dates: columns of dates to look at, with the form of each; not read by a load.
        asked: columns that questions read, in the order of `asked_columns`; named as features are.
        today: the last date that is none of the future.
        beside: columns of further numbers, which a source may lack.
    """

    study: Study
    mapping: ColumnMapping
    features: tuple[str, ...]
    label: str | None
    unit: str | None
    institution: str | None
    audit: tuple[str, ...]
    rows: str | None = None
    dates: tuple[tuple[str, str], ...] = ()
    asked: tuple[str, ...] = ()
    today: date = date.max
    beside: tuple[str, ...] = ()

    @classmethod
    def of(cls, study: Study, mapping: ColumnMapping, wanted: RecordsUse = TRAINING) -> "Columns":
        """Apply `mapping` to everything that the study and its use ask for.

        Raises:
            StudyError: the mapping names columns that nothing reads.
        """
        beside = {study.records.unit, wanted.institution, *wanted.audit}
        read = asked_by(study) | {name for name in beside if name is not None}
        unknown = sorted(set(mapping.columns) - read) if wanted.trains else []
        if unknown:
            raise StudyError(
                [
                    f"columns.{name}: expected a column of the study, found no such "
                    f"one{meant(name, read)}"
                    for name in unknown
                ]
            )
        label = None if wanted.labels is Labels.UNREAD else study.records.label
        rows = None if study.rows is None else study.rows.column
        optional = (label, study.records.unit, wanted.institution, rows)
        label, unit, institution, rows = (
            None if name is None else mapping.source_of(name) for name in optional
        )
        return cls(
            study,
            mapping,
            tuple(_called(feature, mapping) for feature in study.features),
            label,
            unit,
            institution,
            tuple(map(mapping.source_of, wanted.audit)),
            rows,
            dates=tuple(mapping.dates.items()) if wanted.today else (),
            asked=tuple(
                _called(column, mapping) for column in asked_columns(study) if wanted.trains
            ),
            today=wanted.today or date.max,
            beside=tuple(map(mapping.source_of, wanted.beside)),
        )

    @cached_property
    def inputs(self) -> tuple[tuple[Input, ...], ...]:
        """The columns behind each feature."""
        return tuple(
            (*_inputs(feature, self.mapping), *_by_input(feature, self.mapping))
            for feature in self.study.features
        )

    @cached_property
    def asked_inputs(self) -> tuple[tuple[Input, ...], ...]:
        """The columns behind each of the asked ones."""
        asked = zip(asked_columns(self.study), self.asked, strict=False)
        return tuple(_inputs(column, self.mapping) for column, _ in asked)

    @cached_property
    def all_inputs(self) -> tuple[Input, ...]:
        """Every column behind features and asked columns, in order; one may stand there twice."""
        return tuple(one for group in (*self.inputs, *self.asked_inputs) for one in group)

    @cached_property
    def read(self) -> tuple[str, ...]:
        """Every column that is read, by the source's name, dates aside."""
        return tuple(dict.fromkeys((*(one.column for one in self.all_inputs), *self.texts)))

    @property
    def texts(self) -> tuple[str, ...]:
        """The text columns after the features: the label, then the optional ones."""
        optional = (self.label, self.unit, self.institution, *self.audit, self.rows)
        return tuple(name for name in optional if name is not None)

    def _plain(self, name: str, kind: ColumnType) -> bool:
        """Tell whether a column is of text or numbers, or of lists of them where those are read."""
        vectors = self.study.rows is not None and self.study.rows.kind == "vector"
        return kind.is_plain or (vectors and kind is ColumnType.LIST and name == self.rows)

    def needed(self, source: Source) -> tuple[str, ...]:
        """Every column of `source` that the expressions name."""
        if self.unit is None:
            return tuple(source.columns)
        dates = (name for name, _ in self.dates_in(source))
        beside = (name for name in self.beside if _is_number(source, name))
        return (*self.read, *dates, *beside)

    def dates_in(self, source: Source) -> list[tuple[str, str]]:
        """Those of the dates that `source` has."""
        return [(name, form) for name, form in self.dates if name in source.columns]

    def scored_in(self, source: Source, place: Place) -> "Columns":
        """Return those that scoring reads of `source`, without a label that it lacks.

        Raises:
            RecordsError: a column is absent, or of a type that cannot be read.
        """
        read = (one.column for group in self.inputs for one in group)
        wanted = (*read, *(one for one in (self.unit, *self.audit, self.rows) if one is not None))
        kinds = {name: source.columns.get(name) for name in wanted}
        absent = [name for name, kind in kinds.items() if kind is None]
        opaque = [name for name, kind in kinds.items() if kind and not self._plain(name, kind)]
        lines = [f"expected column {name}, found none" for name in absent]
        lines += [f"expected column {name} of text or numbers" for name in opaque]
        if lines and self.label is None:
            bad = (name for name in kinds if name in {*absent, *opaque})
            lines = [f"expected column {name} in a readable form, found none" for name in bad]
        if lines:
            raise RecordsError("\n".join(f"{place.table}: {line}" for line in lines))
        return self if self.label in source.columns else replace(self, label=None)

    def all_in(self, source: Source, place: Place, problems: Problems) -> bool:
        """Tell whether `source` has every column in a readable type, and note those it lacks."""
        absent = [name for name in self.read if name not in source.columns]
        for name in absent:
            # Only a name much like it is said: without a header, names are a record's values.
            near = meant(name, source.columns)
            problems.add(
                place,
                f"expected column {name}, found none among {len(source.columns)} columns{near}; "
                "map it in the mapping file or under columns of the source, or check the header",
            )
        for name, _ in self.dates:
            if name not in source.columns:
                near = meant(name, source.columns)
                text = f"expected column {name} of dates, found none{near}; correct it under dates"
                problems.add(place, text, Effect.NONE)
        own = self._own(source, place, problems) and self._covered(source, place, problems)
        return self._readable(source, place, problems) and own and not absent

    def _covered(self, source: Source, place: Place, problems: Problems) -> bool:
        """Tell whether every column leaves out what the study says; of the file, not of its rows.

        Where the study leaves nothing out, any column will do.
        """
        banks = self.study.records.left_out_banks
        told = (*(one.column for one in self.all_inputs), *filter(None, (self.rows,)))
        others = [
            column
            for column in dict.fromkeys(told)
            if banks and column != self.label and source.covered.get(column) != ",".join(banks)
        ]
        for column in others:
            problems.add(
                place,
                f"expected column {column} without payments with customers of {', '.join(banks)}, "
                "found another; compute it with `typologies run --leave-out-customers-of "
                f"{','.join(banks)}` and keep it in Parquet",
            )
        return not others

    def _own(self, source: Source, place: Place, problems: Problems) -> bool:
        """Tell whether no column looks at other units: a fact of the file, whatever the study says.

        By the tag in the file (Parquet, Arrow) or by the name, here or in the study; of the
        columns alone, never of what is in them.
        """
        study = self.study
        names = {one.name: one.column for one in self.all_inputs}
        names |= {study.records.label: self.label or study.records.label}
        if study.rows is not None and self.rows is not None:
            names[study.rows.column] = self.rows
        linked = sorted(
            {
                column
                for name, column in names.items()
                if column in source.linked or names_linked(column) or names_linked(name)
            }
        )
        for column in linked:
            problems.add(
                place,
                f"expected column {column} of the unit's own records, found a linked one: it looks "
                "at other units and may not leave; take it out of the study, or restate it",
            )
        return not linked

    def _readable(self, source: Source, place: Place, problems: Problems) -> bool:
        """Tell whether no column has a type that cannot be what the study needs."""
        readable, reads = True, dict[str, set[ColumnForm]]()
        for one in self.all_inputs:
            reads.setdefault(one.column, set()).add(one.reads)
        for name in self.read:
            kind = source.columns.get(name, ColumnType.TEXT)
            needed = reads.get(name, set())
            if not self._plain(name, kind):
                said, found = _needed(needed), "binary or nested values"
            elif kind is ColumnType.DATE and ColumnForm.NUMBER in needed:
                said, found = ColumnForm.NUMBER.value, "dates"
            elif kind in _NO_TIMES and ColumnForm.TIME in needed:
                said, found = ColumnForm.TIME.value, "numbers"
            else:
                continue
            readable = False
            text = f"expected column {name} of {said}, found {found}; derive {said} from it, or "
            problems.add(place, text + "map another column")
        return readable

    def expressions(self, source: Source) -> list[str]:
        """Return the SQL to stream: inputs, `texts`, asked inputs, dates, `beside`, contents."""
        missing, numerals = self.study.records.missing, source.numerals
        queries = [self._query(one, source) for group in self.inputs for one in group]
        texts = self.texts
        if self.label is not None:
            queries.append(value_of(self.label, source.columns[self.label], numerals))
            texts = texts[1:]
        queries.extend(
            (id_of if column == self.unit else text_of)(column, source.columns[column])
            for column in texts
        )
        queries.extend(self._query(one, source) for group in self.asked_inputs for one in group)
        queries.extend(
            date_code_of(column, source.columns[column], form, missing, self.today)
            for column, form in self.dates_in(source)
        )
        queries.extend(
            number_of(name, source.columns[name], missing, numerals)
            if _is_number(source, name)
            else NO_NUMBER
            for name in self.beside
        )
        queries.extend(self.contents(source))
        return [f"{query} AS c{index}" for index, query in enumerate(queries)]

    def _query(self, one: Input, source: Source) -> str:
        kind, missing = source.columns[one.column], self.study.records.missing
        if one.reads is ColumnForm.NUMBER:
            return number_of(one.column, kind, missing, source.numerals)
        if one.reads is ColumnForm.TIME:
            form = self.mapping.dates.get(one.column, ISO_DATES)
            return time_of(one.column, kind, form, missing)
        if one.reads is ColumnForm.LEVEL:
            return value_of(one.column, kind, source.numerals)
        return text_of(one.column, kind)

    def computed(self, batch: Any) -> Any:
        """Return a batch of `expressions` with one column for each feature and asked column.

        Where a study computes nothing, it is the batch itself. A feature with curves by a level is
        a struct of its number and the level.
        """
        asked = asked_columns(self.study)[: len(self.asked)]
        declared = (*self.study.features, *(None for _ in self.texts), *asked)
        formulas = [formula_of(one) for one in declared]
        bys = [by_of(one) for one in self.study.features]
        if not any((*formulas, *bys)):
            return batch
        rest = iter(batch.columns)
        columns = []
        for formula, by in zip_longest(formulas, bys):
            sources = [next(rest) for _ in (formula.sources if formula else ("",))]
            columns.append(computed_column(formula, sources) if formula else sources[0])
            if by is not None:
                parts = [columns.pop(), next(rest)]
                columns.append(pa.StructArray.from_arrays(parts, ["number", "level"]))
        columns.extend(rest)
        return pa.RecordBatch.from_arrays(columns, [f"c{index}" for index in range(len(columns))])

    def contents(self, source: Source) -> list[str]:
        """Return SQL for digests of all of a row, where the study names no unit.

        All columns, whatever the study reads: studies of one file then share a hold-out. Not the
        institution's, so that equal rows of two are on one side, as a unit's rows would be.
        """
        if self.unit is not None:
            return []
        kinds = {name: kind for name, kind in source.columns.items() if name != self.institution}
        return contents_of(kinds, source.numerals)


def _is_number(source: Source, name: str) -> bool:
    kind = source.columns.get(name)
    return kind is not None and kind.is_plain and kind is not ColumnType.DATE


def asked_by(study: Study) -> set[str]:
    """Return the columns that a study names: its own, its model's and its questions'."""
    unit = {study.records.unit} if study.records.unit is not None else set()
    rows = {study.rows.column} if study.rows is not None else set()
    behind = columns_behind((*study.features, *asked_columns(study)))
    return {*behind, study.records.label} | unit | rows


def _called(declared: NamedColumn, mapping: ColumnMapping) -> str:
    """Return what messages call a feature or asked column: its column, or what it is made of."""
    formula = formula_of(declared)
    if formula is None:
        return mapping.source_of(declared.name)
    return f"{declared.name} (from {', '.join(map(mapping.source_of, formula.sources))})"


def _inputs(declared: NamedColumn, mapping: ColumnMapping) -> tuple[Input, ...]:
    formula = formula_of(declared)
    if formula is not None:
        reads = ColumnForm.TIME if formula.of_times else ColumnForm.NUMBER
    elif isinstance(declared, NumericFeature):
        reads = ColumnForm.NUMBER
    else:
        reads = ColumnForm.LEVEL if isinstance(declared, CategoricalFeature) else ColumnForm.TEXT
    names = formula.sources if formula is not None else (declared.name,)
    return tuple(Input(name, mapping.source_of(name), reads) for name in names)


def _by_input(declared: NamedColumn, mapping: ColumnMapping) -> tuple[Input, ...]:
    by = by_of(declared)
    return () if by is None else (Input(by, mapping.source_of(by), ColumnForm.LEVEL),)


def _needed(needed: set[ColumnForm]) -> str:
    exact = needed & {ColumnForm.NUMBER, ColumnForm.TIME}
    return min(one.value for one in exact) if exact else ColumnForm.LEVEL.value


def told_by(study: Study) -> list[str]:
    """Return the columns whose values leave in sums: neither a unit's id nor its label."""
    return sorted(asked_by(study) - {study.records.unit, study.records.label})


# -- columns that are computed ---------------------------------------------------------------------


def computed_column(formula: Formula, sources: Sequence[Any]) -> Any:
    """Return an Arrow column of doubles, as a column of numbers would be read.

    Args:
        formula: of the study.
        sources: Arrow columns of doubles, NaN where missing, NULL where there is none.

    Edge cases:
        | sources of a row | column |
        |---|---|
        | one is NULL: text where a number or a time belongs | NULL: the row counts as zero |
        | one is infinite | infinite: the row counts as zero |
        | one is NaN, or the formula has no value for them | NaN: the missing slot |
    """
    none = np.zeros(len(sources[0]), dtype=np.bool_)
    infinite, columns = none.copy(), []
    for source in sources:
        none |= np.asarray(source.is_null().to_numpy(zero_copy_only=False))
        # Contiguous, always: the same elementwise kernel then runs for every unit.
        values = source.to_numpy(zero_copy_only=False)
        columns.append(np.ascontiguousarray(values, dtype=np.float64))
        infinite |= np.isinf(columns[-1])
    found = np.where(infinite, np.inf, formula.values(*columns))
    return pa.array(found, pa.float64(), mask=none, from_pandas=False)
