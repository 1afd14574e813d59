import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldfare.shared.evaluation.score_table import (
    ABOVE_PREVALENCE,
    BELOW_PREVALENCE,
    bin_of,
    inner_edges,
    prevalence_log_odds,
)
from fieldfare.shared.study.study import Study


def study(bins: int = 24, prevalence: float = 0.02) -> Study:
    content: dict[str, Any] = {
        "name": "s",
        "purpose": "p",
        "records": {"label": "y", "units": 1000, "prevalence": prevalence},
        "features": [{"kind": "categorical", "name": "f", "levels": ["a"]}],
        "privacy": {"epsilon": 1.0, "delta": 1e-5},
        "evaluation": {"score_bins": bins},
    }
    return Study.model_validate(content)


@pytest.mark.parametrize("prevalence", [0.5, 0.02, 1e-9, 5e-324, math.nextafter(1, 0)])
def test_log_odds_of_the_prevalence(prevalence: float) -> None:
    odds = prevalence_log_odds(study(prevalence=prevalence))
    assert math.isfinite(odds)
    assert odds == pytest.approx(math.log(prevalence) - math.log1p(-prevalence), abs=1e-9)


@pytest.mark.parametrize("bins", [4, 24, 512])
@pytest.mark.parametrize("prevalence", [0.5, 0.02, 1e-9])
def test_edges_are_even_increasing_and_public(bins: int, prevalence: float) -> None:
    edges = inner_edges(study(bins, prevalence))
    assert len(edges) == bins - 1
    centre = prevalence_log_odds(study(bins, prevalence))
    assert edges[0] == pytest.approx(centre - BELOW_PREVALENCE)
    assert edges[-1] == pytest.approx(centre + ABOVE_PREVALENCE)
    gaps = np.diff(edges)
    assert (gaps > 0).all()
    assert gaps.max() - gaps.min() < 1e-12


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.floats(allow_nan=False), max_size=30),
    st.integers(4, 40),
    st.data(),
)
def test_each_score_has_one_bin_by_itself(
    scores: list[float], bins: int, data: st.DataObject
) -> None:
    edges = inner_edges(study(bins))
    found = bin_of(np.array(scores), edges)
    assert found.tolist() == [sum(edge <= score for edge in edges) for score in scores]
    order = data.draw(st.permutations(range(len(scores))))
    again = bin_of(np.array([scores[i] for i in order]), edges)
    assert again.tolist() == [found[i] for i in order]


def test_the_outer_bins_are_open() -> None:
    edges = inner_edges(study(24))
    assert bin_of(np.array([-1e300, -math.inf, 1e300, math.inf]), edges).tolist() == [0, 0, 23, 23]
    assert bin_of(edges, edges).tolist() == list(range(1, 24))  # an edge belongs to the bin above
    assert bin_of(np.nextafter(edges, -math.inf), edges).tolist() == list(range(23))
