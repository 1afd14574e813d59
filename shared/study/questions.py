"""Questions about all institutions' records together, as a study declares them.

A question is data, never code: a kind out of a closed list, columns that the study declares,
public domains. What one unit may add to its answer follows from it alone (`query_blocks`).
Questions that are answered together are a `QuestionGroup`; a request binds its bytes.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.features.features import MAX_LEVELS, Name, NumericFeature, Value
from fieldfare.shared.study.question_columns import (
    Asked,
    Columns,
    InstitutionColumn,
    MonthColumn,
    OpenColumn,
    holds_several,
)

MAX_QUESTIONS: Final = 64
MAX_KEYS: Final = 3
MAX_CONDITIONS: Final = 3
MAX_CELLS: Final = 4096  # of one table
MAX_GROUP_BYTES: Final = 256 * 1024
LEAST_SHARE_OF_RANGE: Final = 0.01  # of a filter on a number: narrower could isolate one unit
MAX_CELLS_PER_UNIT: Final = 64

QuestionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
Levels = Annotated[tuple[Value, ...], Field(max_length=MAX_LEVELS, strict=False)]
ColumnNames = Annotated[tuple[Name, ...], Field(strict=False)]
CellsPerUnit = Annotated[int, Field(ge=1, le=MAX_CELLS_PER_UNIT)]
Bins = Annotated[int, Field(ge=2, le=1024)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Condition(_Section):
    """Only units whose level is listed, or whose number is from `lower` to below `upper`."""

    column: Name
    levels: Levels = ()
    lower: float | None = None
    upper: float | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        numbers = (self.lower, self.upper)
        if bool(self.levels) == (numbers != (None, None)):
            raise ValueError("expected either levels or lower and upper")
        if len(set(self.levels)) != len(self.levels):
            raise ValueError("expected different levels")
        return self


class _Question(_Section):
    """What every question says of itself.

    Attributes:
        name: of the answer.
        where: conditions, all of which a unit must meet.
        share: of the group's mu^2, beside the shares of the others.
    """

    name: QuestionName
    where: tuple[Condition, ...] = Field(default=(), max_length=MAX_CONDITIONS, strict=False)
    share: float = Field(default=1.0, ge=1e-3, le=1e3)


class Count(_Question):
    """How many units."""

    kind: Literal["count"]


class Sum(_Question):
    """The sum of a number, clipped to its bounds."""

    kind: Literal["sum"]
    column: Name


class Mean(_Question):
    """The mean of a number, clipped to its bounds."""

    kind: Literal["mean"]
    column: Name


class Variance(_Question):
    """The variance of a number, clipped to its bounds."""

    kind: Literal["variance"]
    column: Name


class Ratio(_Question):
    """The sum of one number by the sum of another."""

    kind: Literal["ratio"]
    numerator: Name
    denominator: Name


class Histogram(_Question):
    """Units by bin of a number, or by level; at most `cells` of a list."""

    kind: Literal["histogram"]
    column: Name
    bins: Bins = 16
    edges: tuple[float, ...] = Field(default=(), max_length=1025, strict=False)
    cells: CellsPerUnit = 1

    @field_validator("edges")
    @classmethod
    def _rising(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(a >= b for a, b in pairwise(edges)) or len(edges) == 1:
            raise ValueError("expected two or more rising edges")
        return edges


class Quantiles(_Question):
    """Values below which these shares of the units lie; the median is .5."""

    kind: Literal["quantiles"]
    column: Name
    at: tuple[float, ...] = Field(default=(0.5,), min_length=1, max_length=99, strict=False)
    bins: Bins = 64

    @field_validator("at")
    @classmethod
    def _shares(cls, at: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < share < 1 for share in at) or list(at) != sorted(set(at)):
            raise ValueError("expected rising shares between 0 and 1")
        return at


class Ecdf(_Question):
    """The share of units at or below each bin's end."""

    kind: Literal["ecdf"]
    column: Name
    bins: Bins = 64


class GroupBy(_Question):
    """Units by public keys; with `column`, the mean of a number in each cell too."""

    kind: Literal["group_by"]
    by: ColumnNames = Field(min_length=1)
    column: Name | None = None
    cells: CellsPerUnit = 1


class Contingency(_Question):
    """Tables over up to three columns each, consistent with each other."""

    kind: Literal["contingency"]
    marginals: tuple[ColumnNames, ...] = Field(min_length=1, max_length=20, strict=False)

    @field_validator("marginals")
    @classmethod
    def _different(cls, marginals: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        if len({frozenset(m) for m in marginals}) != len(marginals):
            raise ValueError("expected different marginals")
        return marginals


class TopK(_Question):
    """The `k` most frequent levels of a declared domain."""

    kind: Literal["top_k"]
    column: Name
    k: int = Field(default=10, ge=1, le=MAX_LEVELS)
    cells: CellsPerUnit = 1


class HeavyHitters(_Question):
    """The most frequent texts of an open domain; texts of few units never appear."""

    kind: Literal["heavy_hitters"]
    column: Name
    k: int = Field(default=10, ge=1, le=64)
    rows: int = Field(default=2, ge=1, le=4)
    buckets: int = Field(default=64, ge=8, le=256)


class Correlation(_Question):
    """Pearson's correlation of each pair of numbers."""

    kind: Literal["correlation"]
    columns: ColumnNames = Field(min_length=2, max_length=8)


class Covariance(_Question):
    """The covariance of each pair of numbers."""

    kind: Literal["covariance"]
    columns: ColumnNames = Field(min_length=2, max_length=8)


class Trend(_Question):
    """Units by month, with an alarm where a month is above the months before it.

    Attributes:
        window: months that a month is compared with.
        false_alarm: most often that a series without a change gives any alarm.
    """

    kind: Literal["trend"]
    column: Name
    window: int = Field(default=6, ge=3, le=60)
    false_alarm: float = Field(default=0.05, ge=1e-6, le=0.5)
    cells: CellsPerUnit = 1


Question = Annotated[
    Count
    | Sum
    | Mean
    | Variance
    | Ratio
    | Histogram
    | Quantiles
    | Ecdf
    | GroupBy
    | Contingency
    | TopK
    | HeavyHitters
    | Correlation
    | Covariance
    | Trend,
    Field(discriminator="kind"),
]
Kind = Literal[
    "count",
    "sum",
    "mean",
    "variance",
    "ratio",
    "histogram",
    "quantiles",
    "ecdf",
    "group_by",
    "contingency",
    "top_k",
    "heavy_hitters",
    "correlation",
    "covariance",
    "trend",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class QuestionGroup(_Section):
    """Questions that one release answers together."""

    format: Literal[1] = 1
    questions: tuple[Question, ...] = Field(min_length=1, max_length=MAX_QUESTIONS, strict=False)

    @field_validator("questions")
    @classmethod
    def _distinct(cls, questions: tuple[Question, ...]) -> tuple[Question, ...]:
        names = [question.name for question in questions]
        if len(set(names)) != len(names):
            raise ValueError("expected a name of its own for each question")
        return questions

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, whose hash a request binds."""
        return canonical_bytes(self)

    @classmethod
    def from_bytes(cls, content: bytes) -> "QuestionGroup":
        """Parse canonical bytes, and no other spelling of them.

        Raises:
            ProtocolError: too long, no group, or another spelling.
        """
        if len(content) > MAX_GROUP_BYTES:
            raise ProtocolError(f"expected at most {MAX_GROUP_BYTES} bytes of questions")
        try:
            group = cls.model_validate(json.loads(content))
        except (ValidationError, ValueError, RecursionError):
            raise ProtocolError("expected a well-formed group of questions") from None
        if group.to_bytes() != content:
            raise ProtocolError("expected the canonical bytes of a group of questions")
        return group


def columns_of(question: Question) -> tuple[str, ...]:
    """Return every column that a question reads, conditions included."""
    data: dict[str, Any] = question.model_dump()
    single = (data.get(key) for key in ("column", "numerator", "denominator"))
    lists = (*data.get("by", ()), *data.get("columns", ()))
    tables = (name for marginal in data.get("marginals", ()) for name in marginal)
    filters = (condition.column for condition in question.where)
    return tuple(dict.fromkeys([*(n for n in single if n), *lists, *tables, *filters]))


def question_problems(question: Question, columns: Columns) -> list[str]:
    """Return the problems of a question under a study's columns, one line each.

    Every line says what was expected, what was found and what to do; nothing was debited.
    """
    unknown = [name for name in columns_of(question) if name not in columns]
    if unknown:
        return [
            f"expected a column that the study declares, found {name!r}: declare it under features "
            "or columns, or correct its spelling"
            for name in unknown
        ]
    return [*_condition_problems(question.where, columns), *_own_problems(question, columns)]


def _condition_problems(where: Sequence[Condition], columns: Columns) -> Iterator[str]:
    for condition in where:
        column = columns[condition.column]
        if condition.levels:
            yield from _level_problems(condition, column)
        else:
            yield from _range_problems(condition, column)
    if len({condition.column for condition in where}) != len(where):
        yield "where: expected one condition for each column, found two: write them as one"


def _level_problems(condition: Condition, column: Asked) -> Iterator[str]:
    if isinstance(column, OpenColumn | NumericFeature):
        yield (
            f"where.{condition.column}: expected declared levels, found a column without levels: a "
            "filter on single values could isolate one unit; use a range or declared levels"
        )
        return
    if isinstance(column, InstitutionColumn) or not set(condition.levels) <= set(column.levels):
        yield (
            f"where.{condition.column}: expected levels that the study declares for units, found "
            "others: correct them, or ask by the column instead"
        )


def _range_problems(condition: Condition, column: Asked) -> Iterator[str]:
    if not isinstance(column, NumericFeature):
        yield f"where.{condition.column}: expected levels, found a range: list levels"
        return
    low = column.lower if condition.lower is None else condition.lower
    high = column.upper if condition.upper is None else condition.upper
    if not column.lower <= low < high <= column.upper:
        yield (
            f"where.{condition.column}: expected lower < upper within {column.lower:g} to "
            f"{column.upper:g}, found {low:g} and {high:g}"
        )
    elif high - low < LEAST_SHARE_OF_RANGE * (column.upper - column.lower):
        yield (
            f"where.{condition.column}: expected a range of at least {LEAST_SHARE_OF_RANGE:.0%} of "
            "the declared bounds, found a narrower one: it could isolate one unit; widen it"
        )


def _own_problems(question: Question, columns: Columns) -> Iterator[str]:
    if isinstance(question, Sum | Mean | Variance | Quantiles | Ecdf):
        yield from _numeric([question.column], columns)
    elif isinstance(question, Ratio):
        yield from _numeric([question.numerator, question.denominator], columns)
    elif isinstance(question, Correlation | Covariance):
        yield from _numeric(question.columns, columns)
        if len(set(question.columns)) != len(question.columns):
            yield "columns: expected different ones, found one twice"
    elif isinstance(question, Trend):
        yield from _trend_problems(question, columns)
    elif isinstance(question, HeavyHitters):
        if not isinstance(columns[question.column], OpenColumn):
            yield f"column {question.column}: expected an open column: ask top_k or histogram"
    elif not isinstance(question, Count):
        yield from _table_problems(question, columns)


def _trend_problems(question: Trend, columns: Columns) -> Iterator[str]:
    column = columns[question.column]
    if not isinstance(column, MonthColumn):
        yield f"column {question.column}: expected a month column: declare one under columns"
    elif len(column.levels) <= question.window:
        yield "window: expected fewer months than the column has: shorten the window"


def _table_problems(
    question: Histogram | GroupBy | Contingency | TopK, columns: Columns
) -> Iterator[str]:
    if isinstance(question, Contingency):
        tables: tuple[tuple[str, ...], ...] = question.marginals
    elif isinstance(question, GroupBy):
        tables = (question.by,)
        if question.column is not None:
            yield from _numeric([question.column], columns)
    else:
        tables = ((question.column,),)
    for names in tables:
        yield from _key_problems(names, columns)
    if isinstance(question, Histogram) and question.edges:
        yield from _edge_problems(question, columns)
    if isinstance(question, TopK) and isinstance(columns[question.column], NumericFeature):
        yield f"column {question.column}: expected declared levels, found a number: ask a histogram"


def _key_problems(names: Sequence[str], columns: Columns) -> Iterator[str]:
    if len(names) > MAX_KEYS or len(set(names)) != len(names) or not names:
        yield f"expected 1 to {MAX_KEYS} different keys, found {len(names)}: use fewer"
        return
    if any(isinstance(columns[name], OpenColumn) for name in names):
        yield "expected keys over declared domains, found an open column: ask heavy_hitters"
    if sum(holds_several(columns[name]) for name in names) > 1:
        yield "expected at most one key that lists several levels, found more: drop one"


def _edge_problems(question: Histogram, columns: Columns) -> Iterator[str]:
    column = columns[question.column]
    if not isinstance(column, NumericFeature):
        yield (
            f"edges: expected a column of numbers, found {question.column}, which has levels: "
            "leave edges out"
        )
    elif question.edges[0] < column.lower or question.edges[-1] > column.upper:
        yield f"edges: expected within {column.lower:g} to {column.upper:g}, found others"


def _numeric(names: Sequence[str], columns: Columns) -> Iterator[str]:
    for name in names:
        if not isinstance(columns[name], NumericFeature):
            yield (
                f"column {name}: expected a number with declared bounds, found another column: an "
                "unbounded sum has no sensitivity; declare it as numeric with lower and upper"
            )
