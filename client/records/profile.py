"""What a sample's columns hold: numbers, other texts and how often each.

For drafting only: a sample is declared public before it is profiled. One pass over the
files; numbers are kept, texts are counted.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.engine import Source
from fieldfare.client.records.source import open_source
from fieldfare.client.records.sql import number_of, text_of
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.study import DEFAULT_MISSING

MOST_TEXTS: Final = 100_000  # different texts counted per column; more is free text anyway


@dataclass
class Profile:
    """One column of a sample.

    Attributes:
        rows: rows seen.
        missing: rows with NULL, NaN or a default `missing` token.
        texts: texts that are no finite number, with their counts.
        overflowing: more than `MOST_TEXTS` different texts; counting stopped.
    """

    name: str
    rows: int = 0
    missing: int = 0
    texts: Counter[str] = field(default_factory=Counter)
    overflowing: bool = False
    _numbers: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.rows - self.missing

    @property
    def numbers(self) -> NDArray[np.float64]:
        """float64: every value that is a finite number, in row order."""
        return np.concatenate([np.empty(0), *self._numbers])

    def add(self, numbers: Any, texts: Any | None) -> None:
        """Take in a batch: numbers (NaN missing, NULL none) and, of a text column, its texts."""
        no_number = np.asarray(numbers.is_null().to_numpy(zero_copy_only=False))
        values = np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)
        odd = no_number | np.isinf(values)
        self.rows += len(values)
        self.missing += int(np.count_nonzero(np.isnan(values) & ~no_number))
        self._numbers.append(values[np.isfinite(values)])
        if odd.any():
            self._count(values[odd].astype(str) if texts is None else _where(texts, odd))

    def _count(self, texts: Iterable[str]) -> None:
        if not self.overflowing:
            self.texts.update(texts)
            self.overflowing = len(self.texts) > MOST_TEXTS


def _where(texts: Any, mask: NDArray[np.bool_]) -> list[str]:
    return [str(text) for text in texts.to_numpy(zero_copy_only=False)[mask]]


@dataclass
class Sample:
    """A profiled sample.

    Attributes:
        rows: units in the sample.
        columns: profiles by name, in file order; label and unit included.
        labels: every label text (None where missing) with its count.
    """

    rows: int
    columns: dict[str, Profile]
    labels: Counter[str | None]


def _queries(source: Source, label: str) -> list[str]:
    queries = [text_of(label, source.columns[label])]
    for name, kind in source.columns.items():
        queries.append(number_of(name, kind, DEFAULT_MISSING))
        if kind.is_text:
            queries.append(text_of(name, kind))
    return [f"{query} AS c{index}" for index, query in enumerate(queries)]


def _take(sample: Sample, source: Source, label: str) -> None:
    for batch in source.batches(_queries(source, label)):
        sample.rows += batch.num_rows
        columns = iter(batch.columns)
        sample.labels.update(next(columns).to_pylist())
        for name, kind in source.columns.items():
            numbers = next(columns)
            texts = next(columns) if kind.is_text else None
            sample.columns[name].add(numbers, texts)


def profile_sample(paths: Sequence[Path], label: str) -> Sample:
    """Read a public sample once and return what its columns hold.

    Raises:
        RecordsError: unreadable, files with other columns, or no record at all.
    """
    sample: Sample | None = None
    for path in paths:
        with open_source(path) as source:
            if sample is None:
                profiles = {name: Profile(name) for name in source.columns}
                sample = Sample(0, profiles, Counter())
            if set(source.columns) != set(sample.columns):
                raise RecordsError(f"{path}: the same columns as in {paths[0]} expected")
            _take(sample, source, label)
    if sample is None or not sample.rows:
        raise RecordsError("a sample with at least one record expected, none found")
    return sample


def count_different(paths: Sequence[Path], columns: Sequence[str]) -> int:
    """Return how many different combinations `columns` have over all files."""
    seen: set[Any] = set()
    for path in paths:
        with open_source(path) as source:
            queries = [f"{text_of(c, source.columns[c])} AS c{i}" for i, c in enumerate(columns)]
            for batch in source.batches(queries):
                seen.update(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return len(seen)
