"""The content of a sample's columns: numbers, other texts and how often each occurs.

For drafting only: a sample is declared public before it is profiled. One pass over the
files; numbers are kept, texts are counted.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from fieldfare.client.records.sources.engine import Source
from fieldfare.client.records.sources.source import SourceFile
from fieldfare.client.records.sources.sql import WHITESPACE, number_of, quoted, text_of
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.study.study import DEFAULT_MISSING

QUANTILES: Final = 64
LEAST_OF_A_CLASS: Final = 20  # to say how well a column ranks the label
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
    _codes: list[NDArray[np.int32]] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.rows - self.missing

    @property
    def numbers(self) -> NDArray[np.float64]:
        """float64: every value that is a finite number, in row order."""
        values = self.by_row
        return values[np.isfinite(values)]

    @property
    def by_row(self) -> NDArray[np.float64]:
        """float64 (rows,): each row's finite number, NaN where it has none."""
        return np.concatenate([np.empty(0), *self._numbers])

    @property
    def codes(self) -> NDArray[np.int32]:
        """int32 (rows,): equal for equal texts, -1 where a row has a number or nothing."""
        return np.concatenate([np.empty(0, np.int32), *self._codes])

    def add(self, numbers: Any, texts: Any | None) -> None:
        """Take in a batch: numbers (NaN missing, NULL none) and, of a text column, its texts."""
        no_number = np.asarray(numbers.is_null().to_numpy(zero_copy_only=False))
        values = np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)
        odd = no_number | np.isinf(values)
        self.rows += len(values)
        self.missing += int(np.count_nonzero(np.isnan(values) & ~no_number))
        self._numbers.append(np.where(odd, np.nan, values))
        codes = np.full(len(values), -1, dtype=np.int32)
        if odd.any():
            found = values[odd].astype(str).tolist() if texts is None else _where(texts, odd)
            codes[odd] = self._count(found)
        self._codes.append(codes)

    def _count(self, texts: Sequence[str]) -> list[int]:
        if self.overflowing:
            return [-1] * len(texts)
        self.texts.update(texts)
        self.overflowing = len(self.texts) > MOST_TEXTS
        return [self._places.setdefault(text, len(self._places)) for text in texts]


def _where(texts: Any, mask: NDArray[np.bool_]) -> list[str]:
    found = texts.to_numpy(zero_copy_only=False)[mask]
    return [str(text).strip(WHITESPACE) for text in found]


@dataclass
class Sample:
    """A profiled sample.

    Attributes:
        rows: units in the sample.
        columns: profiles by name, in file order; label and unit included.
        labels: every label text (None where missing) with its count.
        row_labels: those of the rows, in order.
    """

    rows: int
    columns: dict[str, Profile]
    labels: Counter[str | None]
    row_labels: list[str | None] = field(default_factory=list)


def _queries(source: Source, label: str) -> list[str]:
    queries = [text_of(label, source.columns[label])]
    for name, kind in source.columns.items():
        queries.append(number_of(name, kind, DEFAULT_MISSING))
        if kind.is_text:  # trimmed where it is looked at: few are
            queries.append(f"CAST({quoted(name)} AS VARCHAR)")
    return [f"{query} AS c{index}" for index, query in enumerate(queries)]


def _take(sample: Sample, source: Source, label: str) -> None:
    for batch in source.batches(_queries(source, label)):
        sample.rows += batch.num_rows
        columns = iter(batch.columns)
        labels = [None if text is None else sys.intern(text) for text in next(columns).to_pylist()]
        sample.labels.update(labels)
        sample.row_labels += labels
        for name, kind in source.columns.items():
            numbers = next(columns)
            texts = next(columns) if kind.is_text else None
            sample.columns[name].add(numbers, texts)


def profile_sample(parts: Sequence[SourceFile], label: str) -> Sample:
    """Read a public sample's parts once and return a profile of its columns.

    Raises:
        RecordsError: unreadable, files with other columns, or no record at all.
    """
    sample: Sample | None = None
    first = ""
    for part in parts:
        with part.open() as source:
            if sample is None:
                first, profiles = source.name, {name: Profile(name) for name in source.columns}
                sample = Sample(0, profiles, Counter())
            if set(source.columns) != set(sample.columns):
                raise RecordsError(f"{source.name}: expected the same columns as in {first}")
            _take(sample, source, label)
    if sample is None or not sample.rows:
        raise RecordsError("expected a sample with at least one record, found none")
    return sample


def predicts(column: Profile, labels: NDArray[np.int8]) -> float | None:
    """Return how well a column alone ranks the label: AUROC, learned on one half of the rows.

    Rates by value (numbers by place among 64 quantiles, missing as a value of its own) of either
    half rank the other, so that many rare values do not look like knowledge.

    Args:
        column: of a sample.
        labels: int8 (rows,), 1 positive, 0 negative, -1 unknown.

    Returns:
        The mean of both halves; None with fewer than 20 of either class.
    """
    known = labels >= 0
    truth, keys = labels[known] == 1, _keys(column)[known]
    if min(np.count_nonzero(truth), np.count_nonzero(~truth)) < LEAST_OF_A_CLASS:
        return None
    half = np.random.default_rng(0).permutation(len(truth)) % 2 == 0
    found = [_ranked(keys, truth, learn) for learn in (half, ~half)]
    return float(np.mean(found))


def _keys(column: Profile) -> NDArray[np.int64]:
    """Return int64 (rows,): equal for values that are looked at as one."""
    values, codes = column.by_row, column.codes.astype(np.int64)
    numbers = np.isfinite(values)
    keys = np.where(codes >= 0, codes + 2 * QUANTILES + 3, 0)
    if numbers.any():
        edges = np.unique(np.quantile(values[numbers], np.linspace(0, 1, QUANTILES + 1)))
        places = np.searchsorted(edges, values, "left") + np.searchsorted(edges, values, "right")
        keys[numbers] = places[numbers] + 1
    return keys


def _ranked(keys: NDArray[np.int64], truth: NDArray[np.bool_], learn: NDArray[np.bool_]) -> float:
    size, share = int(keys.max()) + 1, float(truth[learn].mean())
    seen = np.bincount(keys[learn], minlength=size)
    positive = np.bincount(keys[learn], truth[learn], minlength=size)
    ranks = rankdata(((positive + share) / (seen + 1))[keys[~learn]])
    found = truth[~learn]
    cases, others = np.count_nonzero(found), np.count_nonzero(~found)
    if not cases or not others:
        return 0.5
    return float((ranks[found].sum() - cases * (cases + 1) / 2) / (cases * others))


def count_different(parts: Sequence[SourceFile], columns: Sequence[str]) -> int:
    """Return how many different combinations `columns` have over all parts."""
    seen: set[Any] = set()
    for part in parts:
        with part.open() as source:
            queries = [f"{text_of(c, source.columns[c])} AS c{i}" for i, c in enumerate(columns)]
            for batch in source.batches(queries):
                seen.update(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return len(seen)
