"""Answers without privacy, which only a simulation can compute, because it holds all records.

Exact sums over all institutions, without noise and without a limit on cells per unit;
quantiles are those of the values themselves. Numbers are clipped to their declared bounds, as
everywhere: beyond them a study does not claim to look.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.asked import AskedUnits
from fieldfare.client.sums.question_sums import chosen_units, question_sum
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.answers.answer import Answer, Cell
from fieldfare.shared.errors import UsageError
from fieldfare.shared.study.question_columns import Columns
from fieldfare.shared.study.question_layout import Block, Factor, layout_for, packed
from fieldfare.shared.study.questions import (
    Contingency,
    Correlation,
    Covariance,
    Ecdf,
    HeavyHitters,
    Quantiles,
    Question,
    QuestionGroup,
    Ratio,
)
from fieldfare.shared.study.study import Study
from fieldfare.simulations.engines.one_pass import InstitutionUnits

Truth = Callable[[Cell], float | None]


def answers_beside_truth(
    study: Study, answers: Sequence[Answer], sums: Mapping[str, StudySums | InstitutionUnits]
) -> list[dict[str, Any]]:
    """Return each answer as results.json has it, with `true` beside `value`."""
    units = [part.asked for part in sums.values() if part.asked is not None]
    found = []
    for question, answer in zip(study.queries, answers, strict=True):
        truth = _truth(question, study.asked_columns, units)
        data = answer.as_dict()
        true = [truth(cell) for cell in answer.cells]
        data["true"] = true if isinstance(data["value"], list) else true[0]
        found.append(data)
    return found


def _truth(question: Question, columns: Columns, units: Sequence[AskedUnits]) -> Truth:
    if isinstance(question, HeavyHitters):
        return _texts(question, columns, units)
    unbounded = question.model_copy(
        update={"cells": _most_cells(question, columns)} if hasattr(question, "cells") else {}
    )
    layout = layout_for(QuestionGroup.model_construct(questions=(unbounded,)), columns)
    if isinstance(question, Quantiles | Ecdf):
        return _values(question, layout.blocks[0].block, columns, units)
    total = np.sum([question_sum(layout, columns, part) for part in units], axis=0)
    tables: dict[tuple[str, ...], NDArray[np.float64]] = {}
    for placed in layout.blocks:
        rows = (total[placed.part] / placed.weight).reshape(-1, placed.block.width)
        tables |= dict(zip(_keys(question, placed.block), rows, strict=True))
    block = layout.blocks[0].block
    if isinstance(question, Correlation | Covariance):
        return _pairs(question, tables[()], block.factors)
    return lambda cell: _number(cell, tables[cell.key], block, question)


def _most_cells(question: Question, columns: Columns) -> int:
    names = getattr(question, "by", None) or (getattr(question, "column", ""),)
    several = [c for c in (columns[name] for name in names) if getattr(c, "several", False)]
    several += [c for c in (columns[n] for n in names) if c.kind == "several"]
    return len(getattr(several[0], "levels", ())) + 2 if several else 1


def _keys(question: Question, block: Block) -> list[tuple[str, ...]]:
    keys: list[tuple[str, ...]] = [()]
    for axis in block.axes:
        named = isinstance(question, Contingency)
        labels = [f"{axis.column}={label}" if named else label for label in axis.labels]
        keys = [(*key, label) for key in keys for label in labels]
    return keys


def _number(cell: Cell, row: NDArray[np.float64], block: Block, question: Question) -> float | None:
    """Return one number from exact sums in units."""
    if cell.measure == "count":
        return round(float(row[0]), 6)
    factors = block.factors
    if cell.measure == "sum":
        return float(row[0]) * factors[0].half
    if isinstance(question, Ratio):
        upper, lower = block.measures[0][0].half, block.measures[1][0].half
        return float(row[0] * upper / (row[1] * lower)) if row[1] else None
    if not row[0]:
        return None
    mean = float(row[1] / row[0])
    if cell.measure == "mean":
        return factors[0].centre + factors[0].half * mean
    return float((row[2] / row[0] - mean**2) * factors[0].half ** 2)


def _pairs(
    question: Correlation | Covariance, row: NDArray[np.float64], factors: Sequence[Factor]
) -> Truth:
    width = len(factors)
    names = [factor.column for factor in factors]
    means = row[1 : 1 + width] / row[0]
    matrix = np.zeros((width, width))
    matrix[np.triu_indices(width)] = row[1 + width :] / row[0]
    matrix = matrix + np.triu(matrix, 1).T - np.outer(means, means)

    def truth(cell: Cell) -> float:
        """Return a cell's value without privacy."""
        i, j = (names.index(name) for name in cell.key)
        if isinstance(question, Correlation):
            return float(matrix[i, j] / np.sqrt(matrix[i, i] * matrix[j, j]))
        return float(matrix[i, j] * factors[i].half * factors[j].half)

    return truth


def _values(
    question: Quantiles | Ecdf, block: Block, columns: Columns, units: Sequence[AskedUnits]
) -> Truth:
    axis = block.axes[0]
    parts = []
    for part in units:
        numbers = part.values.numbers[axis.column][chosen_units(block, columns, part)]
        parts.append(np.clip(numbers[~np.isnan(numbers)], axis.lower, axis.upper))
    values = np.concatenate(parts)
    if not len(values):
        return lambda _: None
    if isinstance(question, Quantiles):
        return lambda cell: float(np.quantile(values, float(cell.key[0])))
    ends = dict(zip((f"{end:.6g}" for end in (*axis.inner, axis.upper)),
                    (*axis.inner, axis.upper), strict=True))  # fmt: skip
    last = f"{axis.upper:.6g}"
    # Bins hold values from their lower end to below their upper one; the last holds both.
    return lambda cell: 1.0 if cell.key[0] == last else float(np.mean(values < ends[cell.key[0]]))


def _texts(question: HeavyHitters, columns: Columns, units: Sequence[AskedUnits]) -> Truth:
    layout = layout_for(QuestionGroup(questions=(question,)), columns)
    block = layout.blocks[0].block
    if block.sketch is None:
        raise UsageError("expected a sketch for heavy hitters, found none")
    length = block.sketch.length
    texts = np.concatenate(
        [part.values.texts[question.column][chosen_units(block, columns, part)] for part in units]
    )
    found = dict(zip(*(a.tolist() for a in np.unique(texts, return_counts=True)), strict=True))
    return lambda cell: float(found.get(packed(cell.key[0], length), 0))
