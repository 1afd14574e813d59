"""The accuracy of an answer before it is asked: noise, expected error, the smallest visible count.

Nothing here reads a record. Noise follows from the plan; where an error also depends on the
records (a mean's, a correlation's), all units of the study are taken to count, with values
spread evenly between their bounds. Conditions that leave a tenth of the units make such an
error ten times as large; counts and sums are as stated for all records.

Questions come as a TOML file with `[[queries]]`, the same tables as in a study.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Final

from pydantic import BaseModel, Field

from fieldfare.shared.errors import StudyError
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms
from fieldfare.shared.study.question_layout import Block, Factor, layout_for
from fieldfare.shared.study.questions import (
    MAX_QUESTIONS,
    Contingency,
    Correlation,
    Count,
    Covariance,
    Ecdf,
    HeavyHitters,
    Mean,
    Quantiles,
    Question,
    QuestionGroup,
    Ratio,
    Sum,
    Variance,
)
from fieldfare.shared.study.toml import Section, load_toml, parse_toml

ABSOLUTE: Final = math.sqrt(2 / math.pi)  # E|x| of a normal variable with sigma 1
LEAST_CELL: Final = 10.0  # what answers hold back below (server/answers/answer.py)
LEAST_SIGMAS: Final = 3.0
READ_SURELY: Final = 0.95  # that all bits of a frequent text are read
EVEN_VARIANCE: Final = 1 / 3  # of values spread evenly over [-1, 1]


@dataclass(frozen=True)
class ExpectedMeasure:
    """One measure of an answer.

    Attributes:
        measure: count, sum, mean, ...
        of: its unit: `units`, `share of units`, a column, or nothing.
        sigma: standard deviation of the noise, in that.
        least: the smallest count that can be told from zero; None where nothing is counted.
    """

    measure: str
    of: str
    sigma: float
    least: float | None = None

    @property
    def error(self) -> float:
        """Expected absolute error of the noise: sigma sqrt(2/pi)."""
        return self.sigma * ABSOLUTE


@dataclass(frozen=True)
class QuestionPlan:
    """One question before it is asked.

    Attributes:
        question: as declared.
        mu2: its share of the release's cost.
        cells: numbers in its answer's tables; 1 where it is one number.
        expected: one for each measure.
    """

    question: Question
    mu2: float
    cells: int
    expected: tuple[ExpectedMeasure, ...]


def question_plans(
    plan: Plan, questions: QuestionGroup, terms: ReleaseTerms, institutions: int
) -> tuple[QuestionPlan, ...]:
    """Return each question's cost and its answer's expected error, in order.

    Args:
        plan: of the study.
        questions: answered by one release.
        terms: of that release (`Plan.question_terms`).
        institutions: how many take part; each adds sigma/sqrt(n - t), and all n are in the sum.

    Raises:
        StudyError: a question that cannot be asked, one line for each reason.
    """
    study = plan.study
    layout = layout_for(questions, study.asked_columns)
    noise = terms.noise_on_sum(institutions, study.privacy.collusion_tolerance)
    found = []
    for index, question in enumerate(questions.questions):
        placed = [layout.blocks[i] for i in layout.reads[index]]
        blocks = [one.block for one in placed]
        sigma = max(noise / one.scale for one in placed)
        expected = tuple(_expected(question, blocks[0], sigma, study.records.units))
        cells = sum(math.prod(block.shape) for block in blocks)
        mu2 = float(layout.shares[index]) * terms.mu2
        found.append(QuestionPlan(question, mu2, cells, expected))
    return tuple(found)


def least_told(sigma: float) -> float:
    """Return the noisy count below which a cell is held back: max(10, 3 sigma)."""
    return max(LEAST_CELL, LEAST_SIGMAS * sigma)


def _expected(
    question: Question, block: Block, sigma: float, units: int
) -> Iterator[ExpectedMeasure]:
    if isinstance(question, Count):
        yield _count(sigma)
    elif isinstance(question, Sum):
        yield ExpectedMeasure("sum", question.column, sigma * block.factors[0].half)
    elif isinstance(question, Mean | Variance):
        yield _moment(question, block.factors[0].half, sigma / units)
    elif isinstance(question, Ratio):
        yield ExpectedMeasure("ratio", "", _ratio(block, sigma / units))
    elif isinstance(question, Correlation):
        yield ExpectedMeasure("correlation", "", sigma / units / EVEN_VARIANCE)
    elif isinstance(question, Covariance):
        yield ExpectedMeasure("covariance", "", _widest(block.factors) * sigma / units)
    elif isinstance(question, Quantiles | Ecdf):
        at = question.at if isinstance(question, Quantiles) else (0.5,)
        yield ExpectedMeasure("rank", "share of units", _share(block, sigma, at) / units)
    elif isinstance(question, HeavyHitters):
        yield _frequent(block, sigma)
    else:
        yield _count(sigma)
        if not isinstance(question, Contingency) and block.factors:
            each = max(units / math.prod(block.shape), 1.0)
            half = block.factors[0].half
            yield ExpectedMeasure("mean", block.factors[0].column, half * sigma / each)


def _count(sigma: float) -> ExpectedMeasure:
    return ExpectedMeasure("count", "units", sigma, least_told(sigma))


def _moment(question: Mean | Variance, half: float, each: float) -> ExpectedMeasure:
    """A mean at the centre; a variance of a third, whose count and squares are noisy too."""
    if isinstance(question, Mean):
        return ExpectedMeasure("mean", question.column, half * each)
    spread = math.sqrt(1 + EVEN_VARIANCE**2)
    return ExpectedMeasure("variance", f"{question.column}^2", half**2 * each * spread)


def _ratio(block: Block, each: float) -> float:
    """Return the noise on a ratio of two sums, to first order, at their bounds' centres."""
    upper, lower = block.measures[0][0], block.measures[1][0]
    above, below = ((f.lower + f.upper) / 2 for f in (upper, lower))
    if below == 0:  # nothing to divide by: the answer would be held back
        return math.inf
    value = above / below
    return each * math.hypot(upper.half, value * lower.half) / abs(below)


def _widest(factors: Sequence[Factor]) -> float:
    return max(a.half * b.half for a, b in combinations(factors, 2))


def _share(block: Block, sigma: float, at: Sequence[float]) -> float:
    """Return the largest noise on how many units lie below a quantile, over the bins' total."""
    bins = math.prod(block.shape) - 1  # the last cell is of units without a value
    return sigma * math.sqrt(bins) * max(math.sqrt(share * (1 - share)) for share in at)


def _frequent(block: Block, sigma: float) -> ExpectedMeasure:
    """A text shows where the signs of all its bits are read in one row; then its count is fine."""
    if block.sketch is None:
        return _count(sigma)
    bits = block.sketch.bits
    surely = NormalDist().inv_cdf(READ_SURELY ** (1 / bits)) * sigma
    spread = sigma / math.sqrt(block.sketch.rows * bits)
    return ExpectedMeasure("count", "units", spread, max(least_told(spread), surely))


# -- question file --------------------------------------------------------------------------------


class _QuestionFile(BaseModel):
    model_config = Section.model_config

    # Whether there are any is asked below: pydantic counts those that have a mistake as none.
    queries: Annotated[tuple[Question, ...], Field(max_length=MAX_QUESTIONS, strict=False)]


def load_questions(path: Path) -> QuestionGroup:
    """Read questions that are to be answered together.

    Raises:
        StudyError: unreadable, or every mistake in it, one line each.
    """
    return _together(load_toml(path, _QuestionFile), str(path))


def parse_questions(text: str, name: str) -> QuestionGroup:
    """Parse questions that are to be answered together; `name` begins every line of an error.

    Raises:
        StudyError: every mistake in it, one line each.
    """
    return _together(parse_toml(text, _QuestionFile, name), name)


def _together(read: _QuestionFile, name: str) -> QuestionGroup:
    found = read.queries
    if not found:
        raise StudyError(f"{name}: queries: expected at least one question, found none")
    names = [question.name for question in found]
    twice = sorted({one for one in names if names.count(one) > 1})
    if twice:
        raise StudyError(
            f"{name}: expected a name of its own for each question, found {twice[0]!r} twice"
        )
    return QuestionGroup(questions=found)
