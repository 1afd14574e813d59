from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.runs.asking import EVERY_KIND, MONTHS, asking, made_up, without

from fieldfare.client.records.encoding.asked import AskedUnits
from fieldfare.client.sums.question_sums import question_sum
from fieldfare.shared.study.question_layout import WEIGHT_BITS, Layout, layout_for
from fieldfare.shared.study.questions import QuestionGroup

COLUMNS = asking().asked_columns


def layout_of(*questions: dict[str, Any]) -> Layout:
    return layout_for(QuestionGroup.model_validate({"questions": list(questions)}), COLUMNS)


def sum_of(units: AskedUnits, *questions: dict[str, Any]) -> NDArray[np.int64]:
    return question_sum(layout_of(*questions), COLUMNS, units)


def norm(vector: NDArray[np.int64]) -> float:
    """Exact squared norm of a vector of grid steps, as a share of C^2 = 1."""
    return sum(int(entry) ** 2 for entry in vector) / 4**WEIGHT_BITS


@settings(deadline=None, max_examples=60)
@given(
    question=st.sampled_from(EVERY_KIND),
    seed=st.integers(0, 50),
    place=st.integers(0, 29),
)
def test_a_unit_moves_the_exact_vector_by_at_most_the_declared_sensitivity(
    question: dict[str, Any], seed: int, place: int
) -> None:
    units = made_up(30, seed=seed)
    moved = sum_of(units, question) - sum_of(without(units, place), question)
    assert norm(moved) <= 1.0


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 50), place=st.integers(0, 29))
def test_all_kinds_answered_together_move_by_no_more(seed: int, place: int) -> None:
    units = made_up(30, seed=seed)
    moved = sum_of(units, *EVERY_KIND) - sum_of(without(units, place), *EVERY_KIND)
    assert norm(moved) <= 1.0


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 50), place=st.integers(0, 29))
def test_without_a_unit_all_others_add_the_same(seed: int, place: int) -> None:
    """The whole is the sum of what each unit adds alone: nothing depends on a neighbour."""
    units = made_up(30, seed=seed)
    whole = sum_of(units, *EVERY_KIND)
    alone = np.zeros(len(units), dtype=np.bool_)
    alone[place] = True
    single = AskedUnits(
        units.institution, units.labels[alone], units.values.select(alone), units.order[alone]
    )
    rest = sum_of(without(units, place), *EVERY_KIND)
    np.testing.assert_array_equal(whole, rest + sum_of(single, *EVERY_KIND))


@pytest.mark.parametrize(
    "question",
    [
        {"name": "q", "kind": "count"},
        {"name": "q", "kind": "covariance", "columns": ["amount", "hours"]},
        {"name": "q", "kind": "mean", "column": "amount"},
    ],
)
def test_the_bound_is_reached(question: dict[str, Any]) -> None:
    """A looser bound would only add noise: a unit at the corner of its bounds has norm 1."""
    units = made_up(1)
    units.values.numbers["amount"][:] = 1e9
    units.values.numbers["hours"][:] = -5.0
    assert 0.999 < norm(sum_of(units, question)) <= 1.0


def test_counts_are_exact() -> None:
    units = made_up(400, seed=3)
    layout = layout_of(EVERY_KIND[0], EVERY_KIND[1], EVERY_KIND[11])
    total = question_sum(layout, COLUMNS, units)
    counts = [total[p.part] / p.weight for p in layout.blocks]
    assert counts[0].tolist() == [400]
    assert counts[1].tolist() == [int(units.labels.sum())]
    expected = np.bincount(units.values.codes["channel"], minlength=5)
    np.testing.assert_array_equal(counts[2], expected)


def test_sums_are_those_of_clipped_values_with_missing_ones_left_out() -> None:
    units = made_up(400, seed=4)
    layout = layout_of(EVERY_KIND[3])
    count, total = question_sum(layout, COLUMNS, units) / layout.blocks[0].weight
    amounts = units.values.numbers["amount"]
    present = np.clip(amounts[~np.isnan(amounts)], 0, 100)
    assert count == len(present)
    assert 50 * total + 50 * count == pytest.approx(present.sum(), abs=0.05)


def test_conditions_choose_units() -> None:
    units = made_up(300, seed=5)
    question = {
        "name": "q",
        "kind": "count",
        "where": [
            {"column": "channel", "levels": ["online"]},
            {"column": "amount", "lower": 20, "upper": 60},
            {"column": "month", "levels": [MONTHS[2], MONTHS[3]]},
        ],
    }
    amounts, listed = units.values.numbers["amount"], units.values.lists["month"]
    in_month = set(listed.owners[np.isin(listed.codes, [2, 3])].tolist())
    expected = sum(
        code == 1 and 20 <= amount < 60 and row in in_month
        for row, (code, amount) in enumerate(
            zip(units.values.codes["channel"].tolist(), amounts.tolist(), strict=True)
        )
    )
    layout = layout_of(question)
    assert question_sum(layout, COLUMNS, units)[0] == expected * layout.blocks[0].weight
    assert expected > 0


def test_at_most_so_many_cells_of_a_unit_count_and_always_the_same() -> None:
    units = made_up(500, seed=6)
    listed = units.values.lists["month"]
    sizes = np.bincount(listed.owners, minlength=500)
    for cells in (1, 2, 3, 12):
        layout = layout_of(
            {"name": "q", "kind": "trend", "column": "month", "window": 4, "cells": cells}
        )
        total = question_sum(layout, COLUMNS, units)
        np.testing.assert_array_equal(total, question_sum(layout, COLUMNS, units))
        assert total.sum() == np.minimum(sizes, cells).sum() * layout.blocks[0].weight


def test_which_cells_count_is_chosen_evenly() -> None:
    units = made_up(4000, seed=8)
    listed = units.values.lists["month"]
    sizes = np.bincount(listed.owners, minlength=4000)[listed.owners]
    layout = layout_of({"name": "q", "kind": "trend", "column": "month", "window": 4, "cells": 1})
    counts = question_sum(layout, COLUMNS, units) / layout.blocks[0].weight
    expected = np.bincount(listed.codes, weights=1 / sizes, minlength=14)
    spread = np.sqrt(np.bincount(listed.codes, weights=(1 - 1 / sizes) / sizes, minlength=14))
    assert (np.abs(counts - expected) <= 4 * spread + 1e-9).all()


def test_an_empty_institution_adds_nothing() -> None:
    layout = layout_of(*EVERY_KIND)
    assert not question_sum(layout, COLUMNS, made_up(0)).any()


def test_an_institutions_group_is_public_and_its_own() -> None:
    question = {"name": "q", "kind": "group_by", "by": ["band"]}
    layout = layout_of(question)
    known = question_sum(layout, COLUMNS, made_up(10)) // layout.blocks[0].weight
    other = question_sum(layout, COLUMNS, made_up(10, institution="else"))
    assert known.tolist() == [10, 0]
    assert (other // layout.blocks[0].weight).tolist() == [0, 10]
