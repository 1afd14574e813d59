"""Answers to questions: one noisy sum in, values with honest error bars out.

Everything here is post-processing of what institutions released: it costs nothing, changes no
privacy claim, and can be done again by anybody who has the sum. From Python:

    from fieldfare.server.answers import analytics
    answers = analytics.read_answers(plan, questions, values, institutions=6)
    analytics.table(answers).to_pandas()
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np

from fieldfare.server.answers.answer import (
    Z95,
    Answer,
    Cell,
    Values,
    count_cell,
    held_back,
    least_count,
    non_negative,
    table_rows,
)
from fieldfare.server.answers.estimators import (
    alarms,
    count_answer,
    frequent_texts,
    mean_cell,
    pair_answer,
    ratio_answer,
    sum_answer,
    variance_answer,
)
from fieldfare.shared.errors import UsageError
from fieldfare.shared.evaluation.score_table import project
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms
from fieldfare.shared.study.question_columns import MISSING, OTHER
from fieldfare.shared.study.question_layout import Axis, Block, Layout, layout_for
from fieldfare.shared.study.questions import (
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
)

__all__ = ["Answer", "Cell", "noise_on_sum", "read_answers", "read_sum", "table"]


@dataclass(frozen=True)
class _DecodedPart:
    """One question's part of a sum.

    Attributes:
        blocks: the blocks that it reads.
        raws: float64 (cells, width) of each, noisy, in units.
        sigmas: noise on each one's entries, in units.
    """

    blocks: tuple[Block, ...]
    raws: tuple[Values, ...]
    sigmas: tuple[float, ...]


def noise_on_sum(terms: ReleaseTerms, *, institutions: int, collusion_tolerance: int) -> float:
    """Return the standard deviation of the noise where all institutions added their shares."""
    return terms.noise_on_sum(institutions, collusion_tolerance)


def read_answers(
    plan: Plan, questions: QuestionGroup, values: Values, *, institutions: int, step: int = -1
) -> tuple[Answer, ...]:
    """Read the answers off a released sum.

    Args:
        plan: of the study.
        questions: that the sum answers.
        values: float64 (entries,), the decoded sum.
        institutions: how many are in it.
        step: its position in the run; by default that of the declared questions.

    Returns:
        One answer for each question, in order.

    Raises:
        StudyError: the questions are not the study's.
    """
    terms = plan.question_terms(plan.query.first_step if step < 0 else step, questions)
    tolerance = plan.study.privacy.collusion_tolerance
    noise = noise_on_sum(terms, institutions=institutions, collusion_tolerance=tolerance)
    layout = layout_for(questions, plan.study.asked_columns)
    return read_sum(questions, layout, values, noise, institutions=institutions, mu2=terms.mu2)


def read_sum(
    questions: QuestionGroup,
    layout: Layout,
    values: Values,
    noise: float,
    *,
    institutions: int,
    mu2: float = 0.0,
) -> tuple[Answer, ...]:
    """Read answers off a sum whose noise has a known standard deviation, in the sum's unit."""
    if values.shape != (layout.entries,):
        raise UsageError(f"expected a sum of {layout.entries} numbers, found {values.size}")
    answers = []
    for index, question in enumerate(questions.questions):
        placed = [layout.blocks[i] for i in layout.reads[index]]
        read = _DecodedPart(
            tuple(p.block for p in placed),
            tuple((values[p.part] / p.scale).reshape(-1, p.block.width) for p in placed),
            tuple(noise / p.scale for p in placed),
        )
        share = float(layout.shares[index]) * mu2
        answers.append(_answer(question, read, institutions, share))
    return tuple(answers)


def table(answers: Iterable[Answer]) -> Any:
    """Return a pyarrow table with one row for each cell of each answer.

    Columns: question, kind, keys and cell (lists of text), measure, value, low, high, sigma,
    suppressed, institutions, alarm. `.to_pandas()` gives a data frame.
    """
    import pyarrow as pa  # noqa: PLC0415 -- 30 MB, which a page has no use for

    texts = pa.list_(pa.string())
    schema = pa.schema(
        [
            ("question", pa.string()),
            ("kind", pa.string()),
            ("keys", texts),
            ("cell", texts),
            ("measure", pa.string()),
            ("value", pa.float64()),
            ("low", pa.float64()),
            ("high", pa.float64()),
            ("sigma", pa.float64()),
            ("suppressed", pa.bool_()),
            ("institutions", pa.int64()),
            ("alarm", pa.bool_()),
        ]
    )
    rows = [row for answer in answers for row in table_rows(answer)]
    return pa.Table.from_pylist(rows, schema=schema)


def _answer(question: Question, read: _DecodedPart, institutions: int, mu2: float) -> Answer:
    block, raw, sigma = read.blocks[0], read.raws[0], read.sigmas[0]
    keys, found = tuple(axis.column for axis in block.axes), ()
    if isinstance(question, Count | Sum | Mean | Variance | Ratio):
        cell, sigma = _number(question, block, raw[0], sigma)
        cells: tuple[Cell, ...] = (cell,)
    elif isinstance(question, Correlation | Covariance):
        keys = ("first", "second")
        wanted = isinstance(question, Correlation)
        cells, sigma = pair_answer(raw[0], sigma, block.factors, correlation=wanted)
    elif isinstance(question, HeavyHitters):
        keys = (question.column,)
        cells, sigma = _frequent(question, block, raw, sigma)
    else:
        cells = _tabulated(question, read)
        keys = ("cell",) * len(cells[0].key) if isinstance(question, Contingency) else keys
        if isinstance(question, Quantiles | Ecdf):
            keys = ("at",)
    alarmed = _alarmed(question, block, raw, sigma) if isinstance(question, Trend) else found
    return Answer(
        name=question.name,
        kind=question.kind,
        keys=keys,
        cells=cells,
        sigma=sigma,
        suppressed=held_back(cells),
        institutions=institutions,
        mu2=mu2,
        alarms=alarmed,
    )


def _number(
    question: Count | Sum | Mean | Variance | Ratio, block: Block, raw: Values, sigma: float
) -> tuple[Cell, float]:
    if isinstance(question, Count):
        return count_answer(raw, sigma)
    factors = block.factors
    if isinstance(question, Sum):
        return sum_answer(raw, sigma, factors[0])
    if isinstance(question, Ratio):
        return ratio_answer(raw, sigma, block.measures[0][0], block.measures[1][0])
    if isinstance(question, Variance):
        return variance_answer(raw, sigma, factors[0])
    cell = mean_cell((), raw, sigma, factors[0])
    count = max(float(raw[0]), 1.0)
    place = float(raw[1]) / count
    return cell, factors[0].half * sigma * math.sqrt(1 + place**2) / count


def _frequent(
    question: HeavyHitters, block: Block, raw: Values, sigma: float
) -> tuple[tuple[Cell, ...], float]:
    if block.sketch is None:
        raise UsageError("expected a sketch for heavy hitters, found none")
    shaped = raw.reshape(*block.shape, block.width)
    return frequent_texts(block.sketch, shaped, sigma, question.k)


def _tabulated(
    question: Histogram | Quantiles | Ecdf | GroupBy | Contingency | TopK | Trend,
    read: _DecodedPart,
) -> tuple[Cell, ...]:
    block, raw, sigma = read.blocks[0], read.raws[0], read.sigmas[0]
    if isinstance(question, Quantiles):
        return quantile_cells(block, raw, sigma, question.at)
    if isinstance(question, Ecdf):
        return ecdf_cells(block, raw, sigma)
    if isinstance(question, TopK):
        return top_cells(block, raw, sigma, question.k)
    if isinstance(question, Contingency):
        return agreeing_cells(read.blocks, read.raws, read.sigmas)
    return table_cells(block, raw, sigma)


def _alarmed(question: Trend, block: Block, raw: Values, sigma: float) -> tuple[str, ...]:
    labels = [label for label in block.axes[0].labels if label not in {OTHER, MISSING}]
    found = alarms(
        raw[: len(labels), 0], sigma, window=question.window, false_alarm=question.false_alarm
    )
    return tuple(labels[month] for month in found)


STEPS: Final = 400  # of the projected gradient, at most


SETTLED: Final = 1e-3  # of the noise: where no cell moves further in a step, the fit is done


PLACES: Final = 17  # within a bin, when a quantile's interval is looked for


Keys = list[tuple[str, ...]]


def keys_of(axes: Sequence[Axis]) -> Keys:
    """Return every cell's key, the last axis fastest."""
    return list(product(*(axis.labels for axis in axes)))


def table_cells(block: Block, raw: Values, sigma: float) -> tuple[Cell, ...]:
    """Return a table's counts, non-negative and of the noisy total; with a mean where asked.

    Args:
        block: the table.
        raw: float64 (cells, measures), noisy, in units.
        sigma: noise on each.
    """
    counts = raw[:, 0]
    values = non_negative(counts)
    cells = [
        count_cell(key, float(noisy), float(value), sigma)
        for key, noisy, value in zip(keys_of(block.axes), counts, values, strict=True)
    ]
    for factor in block.factors:
        cells += [
            mean_cell(key, row, sigma, factor)
            for key, row in zip(keys_of(block.axes), raw, strict=True)
        ]
    return tuple(cells)


def top_cells(block: Block, raw: Values, sigma: float, k: int) -> tuple[Cell, ...]:
    """Return the `k` declared levels with the largest noisy counts, largest first."""
    counts = raw[:, 0]
    values = non_negative(counts)
    named = [
        (float(counts[index]), index)
        for index, label in enumerate(block.axes[0].labels)
        if label not in {OTHER, MISSING}
    ]
    best = sorted(named, reverse=True)[:k]
    labels = block.axes[0].labels
    return tuple(
        count_cell((labels[index],), noisy, float(values[index]), sigma) for noisy, index in best
    )


def edges_of(axis: Axis) -> Values:
    """Return float64 (bins + 1,): the edges of a number's bins."""
    return np.array([axis.lower, *axis.inner, axis.upper])


def ecdf_cells(block: Block, raw: Values, sigma: float) -> tuple[Cell, ...]:
    """Return the share of units at or below the end of each bin; units without a value left out."""
    counts = raw[:-1, 0]
    total, bins = float(counts.sum()), len(counts)
    ends = edges_of(block.axes[0])[1:]
    if total < least_count(sigma * np.sqrt(bins)):
        return tuple(Cell((f"{end:.6g}",), "share", None) for end in ends)
    below = np.cumsum(project(counts[None])[0])
    shares = np.minimum(below / below[-1], 1.0) if below[-1] > 0 else np.zeros(bins)
    lows, highs = _share_intervals(np.cumsum(counts), sigma)
    found = zip(ends.tolist(), shares.tolist(), lows.tolist(), highs.tolist(), strict=True)
    return tuple(
        Cell((f"{end:.6g}",), "share", share, low, high) for end, share, low, high in found
    )


def _share_intervals(noisy: Values, sigma: float) -> tuple[Values, Values]:
    """Return where |part - F total| <= z sigma sqrt(cells (1 - F)^2 + (bins - cells) F^2).

    Args:
        noisy: float64 (bins,), counts added up; the last one is the total.
        sigma: noise on each bin.
    """
    bins, total = len(noisy), float(noisy[-1])
    square, cells = (Z95 * sigma) ** 2, np.arange(1, bins + 1)
    a = total**2 - square * bins
    if a <= 0:
        return np.zeros(bins), np.ones(bins)
    b = -2 * noisy * total + 2 * square * cells
    c = noisy**2 - square * cells
    half = np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))
    lows, highs = (np.clip((-b + sign * half) / (2 * a), 0.0, 1.0) for sign in (-1.0, 1.0))
    # Every value is at or below the upper bound, to which it is clipped.
    lows[-1] = highs[-1] = 1.0
    return lows, highs


def quantile_cells(
    block: Block, raw: Values, sigma: float, at: Sequence[float]
) -> tuple[Cell, ...]:
    """Return the values below which given shares of the units lie.

    The interval holds every value that the noise does not rule out (inverted test at 5 %),
    widened to whole bins: where in its bin a value lies is not known.
    """
    counts = raw[:-1, 0]
    total, bins = float(counts.sum()), len(counts)
    edges = edges_of(block.axes[0])
    if total < least_count(sigma * np.sqrt(bins)):
        return tuple(Cell((f"{share:g}",), "quantile", None) for share in at)
    smooth = project(counts[None])[0]
    below = np.concatenate([[0.0], np.cumsum(smooth)])
    cells = []
    for share in at:
        low, high = _quantile_interval(counts, edges, sigma, share)
        place = share * below[-1]
        index = int(np.clip(np.searchsorted(below, place, side="right") - 1, 0, bins - 1))
        inside = (place - below[index]) / smooth[index] if smooth[index] > 0 else 0.5
        value = edges[index] + min(max(float(inside), 0.0), 1.0) * (edges[index + 1] - edges[index])
        cells.append(
            Cell((f"{share:g}",), "quantile", float(value), min(low, value), max(high, value))
        )
    return tuple(cells)


def _quantile_interval(
    counts: Values, edges: Values, sigma: float, share: float
) -> tuple[float, float]:
    bins = len(counts)
    before = np.concatenate([[0.0], np.cumsum(counts)[:-1]])
    inside = np.linspace(0.0, 1.0, PLACES)
    excess = before[:, None] + inside * counts[:, None] - share * counts.sum()
    index = np.arange(bins)[:, None]
    spread = index * (1 - share) ** 2 + (inside - share) ** 2 + (bins - 1 - index) * share**2
    possible = (np.abs(excess) <= Z95 * sigma * np.sqrt(spread)).any(axis=1)
    crossing = (excess[:, 0] <= 0) & (excess[:, -1] >= 0)  # where there is hardly any noise
    found = np.flatnonzero(possible | crossing)
    if not len(found):
        found = np.array([int(np.argmin(np.abs(excess).min(axis=1)))])
    return float(edges[found[0]]), float(edges[found[-1] + 1])


def agreeing_cells(
    blocks: Sequence[Block], raws: Sequence[Values], sigmas: Sequence[float]
) -> tuple[Cell, ...]:
    """Return tables that are marginals of one non-negative table, and so agree with each other.

    Weighted non-negative least squares by accelerated projected gradient (Beck-Teboulle 2009).
    Intervals are the noisy counts' own.
    """
    columns = list(dict.fromkeys(axis for block in blocks for axis in block.axes))
    shape = tuple(len(axis.labels) for axis in columns)
    rest = [
        tuple(i for i, axis in enumerate(columns) if axis not in block.axes) for block in blocks
    ]
    tables = [_ordered(block, raw[:, 0], columns) for block, raw in zip(blocks, raws, strict=True)]
    fitted = _fitted(shape, rest, tables, np.array(sigmas))
    cells: list[Cell] = []
    for block, raw, out, sigma in zip(blocks, raws, rest, sigmas, strict=True):
        present = [axis for axis in columns if axis in block.axes]
        order = [present.index(axis) for axis in block.axes]
        values = fitted.sum(axis=out).transpose(order).ravel()
        names = [axis.column for axis in block.axes]
        for key, noisy, value in zip(keys_of(block.axes), raw[:, 0], values, strict=True):
            labelled = tuple(f"{name}={label}" for name, label in zip(names, key, strict=True))
            cells.append(count_cell(labelled, float(noisy), float(value), sigma))
    return tuple(cells)


def _ordered(block: Block, counts: Values, columns: Sequence[Axis]) -> Values:
    """Return a table with its axes in the order of the full table's."""
    present = [axis for axis in columns if axis in block.axes]
    return counts.reshape(block.shape).transpose([block.axes.index(axis) for axis in present])


def _fitted(
    shape: tuple[int, ...],
    rest: Sequence[tuple[int, ...]],
    tables: Sequence[Values],
    sigmas: Values,
) -> Values:
    weights = 1.0 / np.maximum(sigmas, 1e-9) ** 2
    weights = weights / weights.sum()
    cells = float(np.prod(shape))
    # The largest curvature: each marginal adds up cells / table size entries.
    steepness = sum(
        weight * cells / table.size for weight, table in zip(weights, tables, strict=True)
    )
    total = max(float(sum(w * t.sum() for w, t in zip(weights, tables, strict=True))), 0.0)
    fitted = np.full(shape, total / cells)
    ahead, pace = fitted.copy(), 1.0
    near = SETTLED * float(sigmas.min())
    for _ in range(STEPS):
        slope = np.zeros(shape)
        for out, table, weight in zip(rest, tables, weights, strict=True):
            slope += np.expand_dims(weight * (ahead.sum(axis=out) - table), out)
        moved = np.maximum(ahead - slope / steepness, 0.0)
        faster = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        change = moved - fitted
        ahead = moved + (pace - 1) / faster * change
        fitted, pace = moved, faster
        if float(np.abs(change).max()) < near:
            break
    return fitted
