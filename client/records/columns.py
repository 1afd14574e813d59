"""Which source columns a load reads, and the SQL that reads them."""

from dataclasses import dataclass

from fieldfare.client.records.mapping import ColumnMapping
from fieldfare.client.records.problems import Problems
from fieldfare.client.records.source import Source, number_of, text_of
from fieldfare.shared.errors import StudyError
from fieldfare.shared.features import NumericFeature
from fieldfare.shared.study import Study


@dataclass(frozen=True)
class Columns:
    """The columns of a load, by the names that the files use; None where not read."""

    study: Study
    features: tuple[str, ...]
    label: str
    unit: str | None
    institution: str | None
    audit: str | None

    @classmethod
    def of(
        cls,
        study: Study,
        mapping: ColumnMapping,
        institution_column: str | None,
        audit_column: str | None,
    ) -> "Columns":
        """Apply `mapping` to everything that the study and the caller ask for.

        Raises:
            StudyError: the mapping names columns that nobody asks for.
        """
        unit = study.records.unit
        asked = {feature.name for feature in study.features} | {study.records.label}
        asked |= {name for name in (unit, institution_column, audit_column) if name is not None}
        unknown = sorted(set(mapping.columns) - asked)
        if unknown:
            raise StudyError(
                [f"columns.{name}: a column of the study expected, no such one" for name in unknown]
            )
        return cls(
            study,
            tuple(mapping.source_of(feature.name) for feature in study.features),
            mapping.source_of(study.records.label),
            *(
                None if name is None else mapping.source_of(name)
                for name in (unit, institution_column, audit_column)
            ),
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """What is read as text after the features: the label, then the optional columns."""
        optional = (self.unit, self.institution, self.audit)
        return (self.label, *(name for name in optional if name is not None))

    def all_in(self, source: Source, problems: Problems) -> bool:
        """Tell whether `source` has every column, and note those that it lacks."""
        wanted = dict.fromkeys((*self.features, *self.texts))
        absent = [name for name in wanted if name not in source.columns]
        for name in absent:
            # Columns that are there stay unnamed: without a header they are a record's values.
            problems.add(
                f"{source.path}: column {name} expected, not found among "
                f"{len(source.columns)} columns; map it in the mapping file, or check the header"
            )
        return not absent

    def expressions(self, source: Source) -> list[str]:
        """Return the SQL to stream from `source`: features in order, then `texts`."""
        missing = self.study.records.missing
        queries = []
        for feature, column in zip(self.study.features, self.features, strict=True):
            kind = source.columns[column]
            is_number = isinstance(feature, NumericFeature)
            queries.append(number_of(column, kind, missing) if is_number else text_of(column, kind))
        queries.extend(text_of(column, source.columns[column]) for column in self.texts)
        return [f"{query} AS c{index}" for index, query in enumerate(queries)]
