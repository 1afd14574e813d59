"""Answers to questions: one noisy sum in, values with honest error bars out.

Everything here is post-processing of what institutions released: it costs nothing, changes no
privacy claim, and can be done again by anybody who has the sum. From Python:

    from fieldfare.server.answers import analytics
    answers = analytics.read_answers(plan, questions, values, institutions=6)
    analytics.table(answers).to_pandas()
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fieldfare.server.answers.answer import Answer, Cell, Values, held_back, table_rows
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
from fieldfare.server.answers.tables import (
    agreeing_cells,
    ecdf_cells,
    quantile_cells,
    table_cells,
    top_cells,
)
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms
from fieldfare.shared.queries.columns import MISSING, OTHER
from fieldfare.shared.queries.layout import Block, Layout, layout_for
from fieldfare.shared.queries.questions import (
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
class _Read:
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
        read = _Read(
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


def _answer(question: Question, read: _Read, institutions: int, mu2: float) -> Answer:
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
    question: Histogram | Quantiles | Ecdf | GroupBy | Contingency | TopK | Trend, read: _Read
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
