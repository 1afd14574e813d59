from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.runs.asking import EVERY_KIND, asking

from fieldfare.shared.errors import StudyError
from fieldfare.shared.study.question_layout import (
    WEIGHT_BITS,
    Layout,
    axis_of,
    even_edges,
    layout_for,
)
from fieldfare.shared.study.questions import QuestionGroup

COLUMNS = asking().asked_columns


def laid_out(*questions: dict[str, Any]) -> Layout:
    return layout_for(QuestionGroup.model_validate({"questions": list(questions)}), COLUMNS)


def squared_norm(layout: Layout) -> int:
    """The most that any unit's vector can have, in whole grid steps squared."""
    return sum(placed.block.marked * placed.weight**2 for placed in layout.blocks)


@given(
    st.lists(
        st.tuples(st.sampled_from(EVERY_KIND), st.floats(0.1, 100)),
        min_size=1,
        unique_by=lambda pair: pair[0]["name"],
    )
)
def test_no_group_of_questions_lets_a_unit_have_a_norm_above_one(
    chosen: list[tuple[dict[str, Any], float]],
) -> None:
    layout = laid_out(*({**question, "share": share} for question, share in chosen))
    assert 0.99 * 4**WEIGHT_BITS < squared_norm(layout) <= 4**WEIGHT_BITS
    assert sum(layout.shares) == 1


@pytest.mark.parametrize("question", EVERY_KIND, ids=lambda q: str(q["name"]))
def test_alone_a_question_gets_all_there_is(question: dict[str, Any]) -> None:
    layout = laid_out(question)
    ceiling = 4**WEIGHT_BITS
    assert ceiling * 0.999 < squared_norm(layout) <= ceiling


def test_shares_are_of_mu_squared() -> None:
    layout = laid_out({**EVERY_KIND[0], "share": 3}, {**EVERY_KIND[2], "share": 1})
    first, second = layout.blocks
    assert first.weight**2 / second.weight**2 == pytest.approx(3, rel=1e-5)
    assert layout.shares == (Fraction(3, 4), Fraction(1, 4))


def test_questions_about_one_table_are_answered_by_one() -> None:
    histogram = {"name": "h", "kind": "histogram", "column": "amount", "bins": 64}
    quantiles = {"name": "q", "kind": "quantiles", "column": "amount"}
    ecdf = {"name": "e", "kind": "ecdf", "column": "amount"}
    alone = laid_out(histogram)
    together = laid_out(histogram, quantiles, ecdf)
    assert len(together.blocks) == 1
    assert together.reads == ((0,), (0,), (0,))
    # Cheaper: the same noise as for one, where three tables would have sqrt(3) times more.
    assert together.blocks[0].weight == alone.blocks[0].weight


def test_blocks_lie_one_after_the_other() -> None:
    layout = laid_out(*EVERY_KIND)
    end = 0
    for placed in layout.blocks:
        assert placed.part == slice(end, end + placed.block.entries)
        end = placed.part.stop
    assert end == layout.entries


def test_edges_are_even_on_the_columns_scale() -> None:
    study = asking(
        {"name": "u", "kind": "count"},
        features=[
            {"name": "a", "kind": "numeric", "lower": 0, "upper": 999, "scale": "log1p"},
            {"name": "b", "kind": "numeric", "lower": -1, "upper": 1},
        ],
    )
    log, linear = study.features
    assert even_edges(log, 3) == [0, 9, 99, 999]  # type: ignore[arg-type]
    assert even_edges(linear, 4) == [-1, -0.5, 0, 0.5, 1]  # type: ignore[arg-type]
    axis = axis_of(linear, bins=2)
    assert axis.labels == ("-1 to 0", "0 to 1", "missing")


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({"kind": "group_by", "by": ["channel"], "cells": 2}, "expected cells = 1"),
        ({"kind": "trend", "column": "month", "window": 4, "cells": 20}, "cells of at most 14"),
        ({"kind": "mean", "column": "none"}, "q: expected a column that the study declares"),
        (
            {"kind": "heavy_hitters", "column": "corridor", "share": 0.001},
            "share: expected at least",
        ),
    ],
)
def test_questions_that_cannot_be_laid_out_say_why(question: dict[str, Any], reason: str) -> None:
    others = [] if "share" not in question else [{"name": "o", "kind": "count", "share": 1000,
               "where": [{"column": "flagged", "levels": ["1"]}]}]  # fmt: skip
    with pytest.raises(StudyError, match=reason):
        laid_out({"name": "q", **question}, *others)


def test_domains_are_limited() -> None:
    wide = asking(
        {"name": "u", "kind": "count"},
        columns=[
            {"name": f"c{i}", "kind": "categorical", "levels": [str(n) for n in range(100)]}
            for i in range(3)
        ],
    )
    cube = QuestionGroup.model_validate(
        {"questions": [{"name": "cube", "kind": "group_by", "by": ["c0", "c1", "c2"]}]}
    )
    with pytest.raises(StudyError, match="expected at most 4096 cells in one table, found 1061208"):
        layout_for(cube, wide.asked_columns)
    many = QuestionGroup.model_validate(
        {
            "questions": [
                {"name": f"q{i}", "kind": "histogram", "column": "amount", "bins": 1000 + i}
                for i in range(24)
            ]
            + [
                {"name": f"s{i}", "kind": "heavy_hitters", "column": "corridor", "buckets": 128 + i,
                 "rows": 4}
                for i in range(2)
            ]
        }
    )  # fmt: skip
    with pytest.raises(StudyError, match="at most 65536 numbers"):
        layout_for(many, asking().asked_columns)
