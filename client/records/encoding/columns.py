"""Which source columns a load reads, and the SQL that reads them."""

from dataclasses import dataclass
from datetime import date

from fieldfare.client.records.encoding.asked import asked_columns
from fieldfare.client.records.encoding.problems import Effect, Place, Problems
from fieldfare.client.records.sources.engine import Source
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.sql import (
    ColumnType,
    contents_of,
    date_code_of,
    number_of,
    text_of,
    value_of,
)
from fieldfare.shared.advice import meant
from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.features import CategoricalFeature, NumericFeature, names_linked
from fieldfare.shared.study.study import Study


@dataclass(frozen=True)
class Columns:
    """The columns of a load, by the names that the source uses; None where not read.

    Attributes:
        rows: the column that the model reads as rows.
        dates: columns of dates to look at, with the form of each; not read by a load.
        asked: columns that questions read, in the order of `asked_columns`.
        today: the last date that is none of the future.
    """

    study: Study
    features: tuple[str, ...]
    label: str
    unit: str | None
    institution: str | None
    audit: str | None
    rows: str | None = None
    dates: tuple[tuple[str, str], ...] = ()
    asked: tuple[str, ...] = ()
    today: date = date.max

    @classmethod
    def of(
        cls,
        study: Study,
        mapping: ColumnMapping,
        institution_column: str | None,
        audit_column: str | None,
        *,
        today: date | None = None,
    ) -> "Columns":
        """Apply `mapping` to everything that the study and the caller ask for.

        With `today`, declared dates are asked for too.

        Raises:
            StudyError: the mapping names columns that nothing reads.
        """
        unit = study.records.unit
        optional = (unit, institution_column, audit_column)
        asked = asked_by(study) | {name for name in optional if name is not None}
        unknown = sorted(set(mapping.columns) - asked)
        if unknown:
            raise StudyError(
                [
                    f"columns.{name}: expected a column of the study, found no such "
                    f"one{meant(name, asked)}"
                    for name in unknown
                ]
            )
        own, institution, audit = (
            None if name is None else mapping.source_of(name) for name in optional
        )
        return cls(
            study,
            tuple(mapping.source_of(feature.name) for feature in study.features),
            mapping.source_of(study.records.label),
            own,
            institution,
            audit,
            None if study.rows is None else mapping.source_of(study.rows.column),
            dates=tuple(mapping.dates.items()) if today else (),
            asked=tuple(mapping.source_of(column.name) for column in asked_columns(study)),
            today=today or date.max,
        )

    @property
    def before_asked(self) -> int:
        """How many expressions come before those of the asked columns."""
        return len(self.features) + len(self.texts)

    @property
    def texts(self) -> tuple[str, ...]:
        """What is read as text after the features: the label, then the optional columns."""
        optional = (self.unit, self.institution, self.audit, self.rows)
        return (self.label, *(name for name in optional if name is not None))

    @property
    def _reads_vectors(self) -> bool:
        return self.study.rows is not None and self.study.rows.kind == "vector"

    def needed(self, source: Source) -> tuple[str, ...]:
        """Every column of `source` that the expressions name."""
        if self.unit is None:
            return tuple(source.columns)
        dates = (name for name, _ in self.dates_in(source))
        return (*self.features, *self.texts, *self.asked, *dates)

    def dates_in(self, source: Source) -> list[tuple[str, str]]:
        """Those of the dates that `source` has."""
        return [(name, form) for name, form in self.dates if name in source.columns]

    def all_in(self, source: Source, place: Place, problems: Problems) -> bool:
        """Tell whether `source` has every column in a readable type, and note those it lacks."""
        wanted = dict.fromkeys((*self.features, *self.texts, *self.asked))
        absent = [name for name in wanted if name not in source.columns]
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
        told = dict.fromkeys((*self.features, *filter(None, (self.rows,)), *self.asked))
        others = [
            column
            for column in told
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
        names = {
            one.name: column for one, column in zip(study.features, self.features, strict=True)
        }
        asked = asked_columns(study)
        names |= {one.name: column for one, column in zip(asked, self.asked, strict=True)}
        names |= {study.records.label: self.label}
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
        numbers = {
            column
            for feature, column in zip(self.study.features, self.features, strict=True)
            if isinstance(feature, NumericFeature)
        }
        numbers |= {
            name
            for column, name in zip(asked_columns(self.study), self.asked, strict=True)
            if isinstance(column, NumericFeature)
        }
        readable = True
        for name in dict.fromkeys((*self.features, *self.texts, *self.asked)):
            kind = source.columns.get(name, ColumnType.TEXT)
            if kind is ColumnType.LIST and name == self.rows and self._reads_vectors:
                continue
            if not kind.is_plain or (kind is ColumnType.DATE and name in numbers):
                readable = False
                needed = "numbers" if name in numbers else "text or numbers"
                found = "dates" if kind is ColumnType.DATE else "binary or nested values"
                problems.add(
                    place, (
                        f"expected column {name} of {needed}, found {found}; derive {needed} from "
                        "it, or map another column"
                    ),
                )  # fmt: skip
        return readable

    def expressions(self, source: Source) -> list[str]:
        """Return the SQL to stream: features in order, `texts`, `asked`, dates, and contents."""
        missing, numerals = self.study.records.missing, source.numerals
        queries = []
        for feature, column in zip(self.study.features, self.features, strict=True):
            kind = source.columns[column]
            if isinstance(feature, NumericFeature):
                queries.append(number_of(column, kind, missing, numerals))
            else:
                queries.append(value_of(column, kind, numerals))
        queries.append(value_of(self.label, source.columns[self.label], numerals))
        queries.extend(text_of(column, source.columns[column]) for column in self.texts[1:])
        for asked, column in zip(asked_columns(self.study), self.asked, strict=True):
            kind = source.columns[column]
            if isinstance(asked, NumericFeature):
                queries.append(number_of(column, kind, missing, numerals))
            elif isinstance(asked, CategoricalFeature):
                queries.append(value_of(column, kind, numerals))
            else:
                queries.append(text_of(column, kind))
        queries.extend(
            date_code_of(column, source.columns[column], form, missing, self.today)
            for column, form in self.dates_in(source)
        )
        queries.extend(self.contents(source))
        return [f"{query} AS c{index}" for index, query in enumerate(queries)]

    def contents(self, source: Source) -> list[str]:
        """Return SQL for digests of all of a row, where the study names no unit.

        All columns, whatever the study reads: studies of one file then share a hold-out. Not the
        institution's, so that equal rows of two are on one side, as a unit's rows would be.
        """
        if self.unit is not None:
            return []
        kinds = {name: kind for name, kind in source.columns.items() if name != self.institution}
        return contents_of(kinds, source.numerals)


def asked_by(study: Study) -> set[str]:
    """Return the columns that a study names: its own, its model's and its questions'."""
    unit = {study.records.unit} if study.records.unit is not None else set()
    rows = {study.rows.column} if study.rows is not None else set()
    asked = {column.name for column in asked_columns(study)}
    features = {feature.name for feature in study.features}
    return features | {study.records.label} | unit | rows | asked


def told_by(study: Study) -> list[str]:
    """Return the columns that tell of a unit in what leaves: neither its id nor its label."""
    return sorted(asked_by(study) - {study.records.unit, study.records.label})
