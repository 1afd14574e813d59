"""A unit's vector of answers: blocks of cells, weighted so that all together have norm 1.

Every kind of question comes down to one form: a unit marks at most `cells` cells of a public
table, and adds to each marked cell one bounded number per measure (a count is the number 1).
So a unit's entries in a block are at most `cells * measures`, each of magnitude at most the
block's weight W; weights are whole grid steps with sum(cells * measures * W^2) <= 4^gamma_bits.
The L2 norm of any unit's whole vector is then at most C = 1, exactly, without a rounding term.

Blocks that several questions need are asked for once and shared (a histogram, its quantiles
and its top k are one block), with the shares of all of them.

Short open texts as integers, and where a public hash puts them.

A text is read as capital letters, digits and a few signs, six bits a character; a longer one is
cut. A sketch adds up the bits of a scrambled text and of a check, each as +1 or -1, so that a
value that many units share can be read off the sums, and a value that few have cannot. They are
scrambled (one to one, publicly) so that texts which look alike have bits that do not: texts that
share a bucket then add noise to a count, but no bias.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.canonical import bytes_hash, canonical_bytes
from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.features import CategoricalFeature, NumericFeature, Scale
from fieldfare.shared.features.rows import splitmix
from fieldfare.shared.study.question_columns import (
    MISSING,
    OTHER,
    Asked,
    Columns,
    InstitutionColumn,
    LabelColumn,
    MonthColumn,
    OpenColumn,
    SeveralColumn,
    holds_several,
)
from fieldfare.shared.study.questions import (
    MAX_CELLS,
    Condition,
    Contingency,
    Correlation,
    Count,
    Covariance,
    Ecdf,
    GroupBy,
    HeavyHitters,
    Histogram,
    Mean,
    Quantiles,
    Question,
    QuestionGroup,
    Ratio,
    Sum,
    TopK,
    Trend,
    Variance,
    question_problems,
)

WEIGHT_BITS: Final = 20  # grid of the group's vector: gamma = 2^-20 of C = 1
MAX_ENTRIES: Final = 2**16
LEAST_WEIGHT: Final = 2**10  # grid steps: a number is read to a thousandth of its bounds
CHARACTER_BITS: Final = 6
CHECK_BITS: Final = 18  # a bucket of pure noise passes for a value once in 2^18


@dataclass(frozen=True)
class Axis:
    """One public key of a table.

    Attributes:
        column: its name.
        labels: what each cell along it is called, in order.
        inner: edges between the bins of a number; empty for levels.
        lower, upper: bounds to which a number is clipped; 0 for levels.
        several: a unit may be in several cells.
    """

    column: str
    labels: tuple[str, ...]
    inner: tuple[float, ...] = ()
    lower: float = 0.0
    upper: float = 0.0
    several: bool = False


@dataclass(frozen=True)
class Factor:
    """A number clipped to its bounds and moved to [-1, 1]: (x - centre) / half."""

    column: str
    lower: float
    upper: float
    centre: float
    half: float


Measure = tuple[Factor, ...]  # a product; the empty one is 1
ONE: Final[Measure] = ()


@dataclass(frozen=True)
class Sketch:
    """An open domain hashed into public buckets, with a value's bits in each."""

    column: str
    length: int
    rows: int
    buckets: int
    salt: str

    @property
    def bits(self) -> int:
        """Bits of a value and of its check, each +1 or -1."""
        return CHARACTER_BITS * self.length + CHECK_BITS


@dataclass(frozen=True)
class Block:
    """A table of cells, and the weight that a unit adds to each cell that it marks."""

    axes: tuple[Axis, ...]
    measures: tuple[Measure, ...]
    where: tuple[Condition, ...] = ()
    cells: int = 1
    sketch: Sketch | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        if self.sketch is not None:
            return (self.sketch.rows, self.sketch.buckets)
        return tuple(len(axis.labels) for axis in self.axes)

    @property
    def width(self) -> int:
        """Numbers in each cell."""
        return self.sketch.bits if self.sketch else len(self.measures)

    @property
    def entries(self) -> int:
        """Numbers in all cells."""
        return math.prod(self.shape) * self.width

    @property
    def marked(self) -> int:
        """The most entries of one unit that are not zero; each at most the weight."""
        cells = self.sketch.rows if self.sketch else self.cells
        return cells * self.width

    @property
    def factors(self) -> tuple[Factor, ...]:
        """Every number that a unit must have to count here."""
        return tuple(dict.fromkeys(factor for measure in self.measures for factor in measure))


@dataclass(frozen=True)
class PlacedBlock:
    """A block in its group's vector.

    Attributes:
        start: index of its first entry.
        weight: W, in grid steps: what a count of one unit adds.
    """

    block: Block
    start: int
    weight: int

    @property
    def scale(self) -> float:
        """W in the vector's own unit: divide a sum or a sigma by it to get units."""
        return math.ldexp(self.weight, -WEIGHT_BITS)

    @property
    def part(self) -> slice:
        """Where its entries are."""
        return slice(self.start, self.start + self.block.entries)


@dataclass(frozen=True)
class Layout:
    """A group's vector: blocks one after the other, and which question reads which.

    Attributes:
        blocks: in order.
        reads: by question, indices into `blocks`.
        shares: by question, its share of the group's mu^2 (1 in all).
    """

    blocks: tuple[PlacedBlock, ...]
    reads: tuple[tuple[int, ...], ...]
    shares: tuple[Fraction, ...]

    @property
    def entries(self) -> int:
        """Length of the vector."""
        return sum(placed.block.entries for placed in self.blocks)


def layout_for(group: QuestionGroup, columns: Columns) -> Layout:
    """Lay a group's questions out as one vector of norm at most 1.

    Formal Guarantees:
        For any unit, sum over blocks of marked * weight^2 <= 4^WEIGHT_BITS, in whole numbers:
        its vector has L2 norm at most C = 1, and adding or removing it moves the sum by no more.

    Edge cases:
        | group | result |
        |---|---|
        | the same block in several questions | placed once, with all their shares |
        | a share so small that its weight is no grid step | StudyError |
        | more than 2^16 entries, or 4096 cells in one table | StudyError |

    Raises:
        StudyError: a question that cannot be asked, one line for each reason.
    """
    problems = [
        f"{question.name}: {line}"
        for question in group.questions
        for line in question_problems(question, columns)
    ]
    if problems:
        raise StudyError(problems)
    total = sum(Fraction(question.share) for question in group.questions)
    parts: dict[Block, Fraction] = {}
    reads = []
    for question in group.questions:
        blocks = _checked(question, blocks_of(question, columns))
        for block in blocks:
            part = Fraction(question.share) / total / len(blocks)
            parts[block] = parts.get(block, Fraction(0)) + part
        reads.append(blocks)
    order = list(parts)
    placed, start = [], 0
    for block in order:
        placed.append(PlacedBlock(block, start, _weight(parts[block], block)))
        start += block.entries
    if start > MAX_ENTRIES:
        raise StudyError(
            f"expected at most {MAX_ENTRIES} numbers in one group's vector, found {start}: ask for "
            "fewer cells, or in several groups"
        )
    indices = tuple(tuple(order.index(block) for block in blocks) for blocks in reads)
    shares = tuple(Fraction(question.share) / total for question in group.questions)
    return Layout(tuple(placed), indices, shares)


def _checked(question: Question, blocks: Sequence[Block]) -> tuple[Block, ...]:
    for block in blocks:
        cells = math.prod(block.shape)
        if cells > MAX_CELLS:
            raise StudyError(
                f"{question.name}: expected at most {MAX_CELLS} cells in one table, found {cells}: "
                "use fewer bins, levels or keys"
            )
        if block.cells > cells:
            raise StudyError(
                f"{question.name}: expected cells of at most {cells}, all there are, found "
                f"{block.cells}"
            )
        if block.cells > 1 and not any(axis.several for axis in block.axes):
            raise StudyError(
                f"{question.name}: expected cells = 1 for columns of one value a unit, found "
                f"{block.cells}: more would only add noise"
            )
    return tuple(dict.fromkeys(blocks))


def _weight(share: Fraction, block: Block) -> int:
    """Return the most grid steps W with marked * W^2 <= share * 4^WEIGHT_BITS."""
    room = share * 4**WEIGHT_BITS / block.marked
    weight = math.isqrt(room.numerator // room.denominator)
    if weight < LEAST_WEIGHT:
        raise StudyError("share: expected at least a millionth of the group, found less: raise it")
    return weight


def blocks_of(question: Question, columns: Columns) -> tuple[Block, ...]:
    """Return the blocks that a question reads; the question fits the columns."""
    where = question.where
    if isinstance(question, Count | Sum):
        measure = ONE if isinstance(question, Count) else (_reach(columns[question.column]),)
        return (Block((), (measure,), where),)
    if isinstance(question, Mean | Variance):
        x = _centred(columns[question.column])
        measures = (ONE, (x,)) if isinstance(question, Mean) else (ONE, (x,), (x, x))
        return (Block((), measures, where),)
    if isinstance(question, Ratio):
        names = (question.numerator, question.denominator)
        return (Block((), tuple((_reach(columns[name]),) for name in names), where),)
    if isinstance(question, Correlation | Covariance):
        return (Block((), _moments([_centred(columns[n]) for n in question.columns]), where),)
    if isinstance(question, HeavyHitters):
        return (_sketch(question, columns[question.column]),)
    return _tables(question, columns)


def _tables(
    question: Histogram | Quantiles | Ecdf | GroupBy | Contingency | TopK | Trend, columns: Columns
) -> tuple[Block, ...]:
    where = question.where
    if isinstance(question, Histogram):
        axis = axis_of(columns[question.column], bins=question.bins, edges=question.edges)
        return (Block((axis,), (ONE,), where, question.cells),)
    if isinstance(question, Quantiles | Ecdf):
        return (Block((axis_of(columns[question.column], bins=question.bins),), (ONE,), where),)
    if isinstance(question, TopK | Trend):
        return (Block((axis_of(columns[question.column]),), (ONE,), where, question.cells),)
    if isinstance(question, GroupBy):
        axes = tuple(axis_of(columns[name]) for name in question.by)
        measures: tuple[Measure, ...] = (ONE,)
        if question.column is not None:
            measures = (ONE, (_centred(columns[question.column]),))
        return (Block(axes, measures, where, question.cells),)
    return tuple(
        Block(tuple(axis_of(columns[name]) for name in names), (ONE,), where)
        for names in question.marginals
    )


def axis_of(column: Asked, *, bins: int = 0, edges: Sequence[float] = ()) -> Axis:
    """Return a column as a key: every unit has a cell, also where a value is missing."""
    if isinstance(column, NumericFeature):
        points = list(edges) or (even_edges(column, bins) if bins else list(column.knots))
        labels = [f"{low:.6g} to {high:.6g}" for low, high in pairwise(points)]
        return Axis(
            column.name,
            (*labels, MISSING),
            tuple(points[1:-1]),
            points[0],
            points[-1],
        )
    if isinstance(column, LabelColumn):
        return Axis(column.name, column.levels)
    if isinstance(column, InstitutionColumn):
        return Axis(column.name, (*column.levels, OTHER))
    if isinstance(column, CategoricalFeature | MonthColumn | SeveralColumn):
        labels = [*column.levels, OTHER, MISSING]
        return Axis(column.name, tuple(labels), several=holds_several(column))
    raise StudyError(f"{column.name}: expected a key over a declared domain")


def even_edges(column: NumericFeature, bins: int) -> list[float]:
    """Return bins + 1 edges, evenly spaced on the column's scale, in six digits."""
    low, high = column.lower, column.upper
    if column.scale is Scale.LOG1P:
        low, high = math.log1p(low), math.log1p(high)
    inner = [low + (high - low) * index / bins for index in range(1, bins)]
    if column.scale is Scale.LOG1P:
        inner = [math.expm1(edge) for edge in inner]
    # Few digits, so that every machine's logarithm gives the same edges.
    for digits in (6, 12):
        points = [column.lower, *(float(f"{edge:.{digits}g}") for edge in inner), column.upper]
        if all(a < b for a, b in pairwise(points)):
            return points
    raise StudyError(f"{column.name}: expected bins wide enough to tell apart: use fewer bins")


def _centred(column: Asked) -> Factor:
    if not isinstance(column, NumericFeature):
        raise StudyError(f"{column.name}: expected a number with declared bounds")
    centre = column.lower / 2 + column.upper / 2
    return Factor(column.name, column.lower, column.upper, centre, column.upper - centre)


def _reach(column: Asked) -> Factor:
    if not isinstance(column, NumericFeature):
        raise StudyError(f"{column.name}: expected a number with declared bounds")
    reach = max(abs(column.lower), abs(column.upper))
    return Factor(column.name, column.lower, column.upper, 0.0, reach)


def _moments(factors: Sequence[Factor]) -> tuple[Measure, ...]:
    products = [(a, b) for i, a in enumerate(factors) for b in factors[i:]]
    return (ONE, *((factor,) for factor in factors), *products)


def _sketch(question: HeavyHitters, column: Asked) -> Block:
    if not isinstance(column, OpenColumn):
        raise StudyError(f"{column.name}: expected an open column")
    salt = bytes_hash(canonical_bytes(question))
    sketch = Sketch(column.name, column.length, question.rows, question.buckets, salt)
    return Block((), (), question.where, 1, sketch)


# -- open texts -----------------------------------------------------------------------------------

ALPHABET: Final = " ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/>+&'#@*"
MISSING_TEXT: Final = 2**64 - 1
ROUNDS: Final = 4  # of a Feistel network (Luby-Rackoff 1988)
_CODES: Final = {character: code for code, character in enumerate(ALPHABET)}
_CHECK, _BUCKETS = ROUNDS, ROUNDS + 1  # which key of a sketch is for what

Codes = NDArray[np.uint64]


def packed(text: str, length: int) -> int:
    """Return a text as an integer of 6 bits a character; 0 is the empty text."""
    value = 0
    for index, character in enumerate(text.strip().upper()[:length]):
        value |= _CODES.get(character, _CODES["_"]) << (CHARACTER_BITS * index)
    return value


def unpacked(value: int, length: int) -> str | None:
    """Return the text of an integer, or None where it is none that `packed` returns."""
    codes = [(value >> (CHARACTER_BITS * i)) & (2**CHARACTER_BITS - 1) for i in range(length)]
    if any(code >= len(ALPHABET) for code in codes):
        return None
    text = "".join(ALPHABET[code] for code in codes).rstrip()
    return text if text and packed(text, length) == value else None


def scrambled(sketch: Sketch, values: Codes) -> Codes:
    """Return uint64 (values,): packed texts, one to one, with bits that look like chance."""
    half, mask = _half(sketch)
    left, right = values >> half, values & mask
    for number in range(ROUNDS):
        left, right = right, left ^ (_hashed(sketch, right, number) & mask)
    return (left << half) | right


def unscrambled(sketch: Sketch, codes: Codes) -> Codes:
    """Return uint64 (codes,): the packed texts that `scrambled` made these of."""
    half, mask = _half(sketch)
    left, right = codes >> half, codes & mask
    for number in reversed(range(ROUNDS)):
        left, right = right ^ (_hashed(sketch, left, number) & mask), left
    return (left << half) | right


def checks(sketch: Sketch, values: Codes) -> Codes:
    """Return uint64 (values,): 18 bits by which a text that was read is believed."""
    return _hashed(sketch, values, _CHECK) & np.uint64(2**CHECK_BITS - 1)


def buckets(sketch: Sketch, values: Codes) -> NDArray[np.int64]:
    """Return int64 (rows, values): each packed text's bucket in each row."""
    rows = [_hashed(sketch, values, _BUCKETS + row) for row in range(sketch.rows)]
    return (np.stack(rows) % np.uint64(sketch.buckets)).astype(np.int64)


def signs(sketch: Sketch, values: Codes) -> NDArray[np.int64]:
    """Return int64 (values, bits): +1 or -1 for each bit of a scrambled text, then of its check."""
    parts = [
        (scrambled(sketch, values), CHARACTER_BITS * sketch.length),
        (checks(sketch, values), CHECK_BITS),
    ]
    bits = [
        (codes[:, None] >> np.arange(count, dtype=np.uint64)) & np.uint64(1)
        for codes, count in parts
    ]
    return 2 * np.concatenate(bits, axis=1).astype(np.int64) - 1


def _half(sketch: Sketch) -> tuple[np.uint64, np.uint64]:
    bits = CHARACTER_BITS * sketch.length // 2
    return np.uint64(bits), np.uint64(2**bits - 1)


def _hashed(sketch: Sketch, values: Codes, number: int) -> Codes:
    """Return one of a sketch's public hashes of each value."""
    salt = np.array([int(sketch.salt[:16], 16), number], dtype=np.uint64)
    key = splitmix(splitmix(salt[:1]) + salt[1:])
    return splitmix(splitmix(values ^ key) + key)
