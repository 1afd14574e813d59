"""Whether indicators are what they say: own, deterministic, complete.

The proof that a query is `own` is an experiment (docs/design.md, "The unit"): take a customer out
of a made-up extract, compute again, and find every other row bit for bit as it was.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from fieldfare.client.typologies.extract import Extract
from fieldfare.client.typologies.features import Query, own_query, query_columns
from fieldfare.client.typologies.pack import Indicator, Pack
from fieldfare.client.typologies.probe import (
    CUSTOMERS,
    probe_extract,
    probe_records,
    reordered,
    without_customer,
)
from fieldfare.shared.errors import UsageError

SEED: Final = 20260331
TAKEN_OUT: Final = tuple(range(CUSTOMERS))  # each: the one who has the most is among them

# What a query may not call, and why.
_FORBIDDEN: Final = {
    "a clock": r"now|current_date|current_time|current_timestamp|today|get_current_time\w*",
    "chance": r"random|setseed|uuid|gen_random_uuid|sample|tablesample",
    "sums that depend on order": r"avg|mean|fsum|stddev\w*|var_\w+|variance|corr|covar_\w+|regr_\w+"
    r"|skewness|kurtosis\w*|entropy|product",
    "the order of rows": r"first|last|any_value|arbitrary|list|array_agg|string_agg|group_concat"
    r"|rowid|arg_max|arg_min|max_by|min_by|mode",
    "estimates": r"approx_\w+|reservoir_quantile|hash",
    "files or the engine": r"read_\w+|glob|getenv|current_setting|pragma_\w+|duckdb_\w+",
}
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Checked:
    """The findings about one indicator.

    Attributes:
        problems: empty where it holds.
        told: how many customers of the made-up extract have a number that is not zero.
    """

    id: str
    problems: tuple[str, ...]
    told: int = 0


@dataclass
class _Trials:
    whole: Extract
    mixed: Extract
    parts: list[tuple[int, Extract]] = field(default_factory=list)


def check_pack(pack: Pack) -> tuple[Checked, ...]:
    """Check every indicator of a pack on made-up records."""
    records = probe_records(SEED)
    trials = _Trials(probe_extract(records), probe_extract(reordered(records, SEED)))
    for index in TAKEN_OUT:
        rest = without_customer(records, f"c{index:02d}")
        trials.parts.append((index, probe_extract(rest)))
    return tuple(_checked(indicator, trials) for indicator in pack.indicators)


def _checked(indicator: Indicator, trials: _Trials) -> Checked:
    problems = list(_words(indicator))
    told = 0
    try:
        query = own_query(indicator)
        whole = query_columns(trials.whole, query)
        problems += _experiments(query, whole, trials)
        told = sum(bool(value) for value in whole[0].to_pylist())
        if not told:
            problems.append(
                "expected a number for a customer of the made-up extract, found none: so the "
                "trials say nothing"
            )
        if indicator.typology.linked is not None:
            _run_linked(indicator, trials.whole)
    except UsageError as error:
        problems.append(str(error))
    return Checked(indicator.id, tuple(problems), told)


def _run_linked(indicator: Indicator, extract: Extract) -> None:
    form = indicator.typology.linked
    if form is not None:
        query = own_query(indicator)
        query_columns(extract, Query(f"{indicator.id}_linked", indicator, indicator.linked_sql,
                                     query.tag, form.required, form.features))  # fmt: skip


def _words(indicator: Indicator) -> Iterator[str]:
    """Find what a query may not call, constants that nobody uses, and silence about why."""
    for sql in (indicator.sql, indicator.linked_sql):
        bare = _COMMENT.sub(" ", sql).lower()
        for what, words in _FORBIDDEN.items():
            found = re.search(rf"\b({words})\s*\(", bare) or re.search(
                rf"\b({words})\b(?!\s*\()", bare if what == "a clock" else ""
            )
            if found:
                yield f"expected no {what} in a query, found {found[1]}"
    both = f"{indicator.sql} {indicator.linked_sql}"
    for name in indicator.typology.parameters:
        if not re.search(rf"\${name}\b", both):
            yield f"parameters: {name} is in no query"
    if "-- own:" not in indicator.sql:
        yield 'expected a line "-- own: ..." that says why the query is one'


def _experiments(query: Query, whole: list[Any], trials: _Trials) -> Iterator[str]:
    if not _same(whole, query_columns(trials.whole, query)):
        yield "expected the same numbers from the same records, found others"
    if not _same(whole, query_columns(trials.mixed, query)):
        yield "expected the same numbers whatever the order of rows, found others"
    for index, extract in trials.parts:
        rest = [pa.concat_arrays([one[:index], one[index + 1 :]]) for one in whole]
        if not _same(rest, query_columns(extract, query)):
            yield "own: other customers' numbers changed when one customer was taken out"
            return


def _same(left: list[Any], right: list[Any]) -> bool:
    """Compare bit for bit, through the bytes that a file would hold."""
    return all(_bits(one) == _bits(other) for one, other in zip(left, right, strict=True))


def _bits(column: Any) -> tuple[bytes, bytes]:
    empty = column.is_null().to_numpy(zero_copy_only=False)
    values = column.fill_null(0.0).to_numpy(zero_copy_only=False)
    return empty.tobytes(), values.tobytes()
