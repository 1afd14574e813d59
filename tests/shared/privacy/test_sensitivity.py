import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.errors import AccountingError
from fieldfare.shared.privacy.sensitivity import NeighbouringRelation, Sensitivity

UNIT = NeighbouringRelation.ADD_OR_REMOVE_ONE_UNIT

sensitivities = st.builds(
    Sensitivity,
    clipping_norm=st.floats(1e-3, 1e3),
    gamma=st.floats(1e-9, 1e-4),
    rounded_entries=st.integers(0, 10**6),
    multiplicity=st.integers(1, 5),
    linked_cap=st.integers(0, 3),
)


@given(sensitivities)
def test_l2_is_never_below_the_real_value(sensitivity: Sensitivity) -> None:
    with localcontext() as context:
        context.prec = 80
        rounding = Decimal(sensitivity.gamma) * Decimal(sensitivity.rounded_entries).sqrt() / 2
        reach = Decimal(sensitivity.clipping_norm) + rounding
        real = sensitivity.multiplicity * (1 + 2 * sensitivity.linked_cap) * reach
        assert real * (1 - Decimal("1e-75")) <= Decimal(sensitivity.l2(UNIT))
        assert Decimal(sensitivity.l2(UNIT)) <= real * (1 + Decimal("2.3e-16"))


def test_l2_by_hand() -> None:
    assert Sensitivity(clipping_norm=3.0, gamma=2.0**-20).l2(UNIT) == 3.0
    rounded = Sensitivity(clipping_norm=3.0, gamma=0.5, rounded_entries=16)
    assert rounded.l2(UNIT) == 4.0
    people = Sensitivity(
        clipping_norm=3.0, gamma=0.5, rounded_entries=16, multiplicity=2, linked_cap=3
    )
    assert people.l2(UNIT) == 2 * 7 * 4.0


def test_one_unit_never_moves_a_rounded_sum_further_than_l2() -> None:
    """Clip, round, add in integers: in the worst corner too (docs/design.md, "Integers")."""
    rng, gamma, entries = np.random.default_rng(5), 0.125, 9
    bound = Sensitivity(clipping_norm=1.0, gamma=gamma, rounded_entries=entries).l2(UNIT)
    vectors = rng.normal(size=(4000, entries))
    vectors[0] = 1.0  # a unit with every entry equal: all may be rounded the same way
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= rng.uniform(0.2, 1.0, size=(4000, 1))
    moved = np.linalg.norm(np.rint(vectors / gamma) * gamma, axis=1)
    assert moved.max() <= bound
    assert moved.max() > 1.0  # so leaving the rounding term out would be caught


@pytest.mark.parametrize(
    "terms",
    [
        {"clipping_norm": 0.0},
        {"clipping_norm": math.nan},
        {"clipping_norm": math.inf},
        {"clipping_norm": -1.0},
        {"gamma": 0.0},
        {"gamma": math.nan},
        {"gamma": -0.1},
        {"gamma": 1.5},
        {"rounded_entries": -1},
        {"rounded_entries": 1.0},
        {"multiplicity": 0},
        {"multiplicity": True},
        {"linked_cap": -1},
        {"linked_cap": 0.5},
    ],
)
def test_terms_that_no_sum_has_are_refused(terms: dict[str, float]) -> None:
    with pytest.raises(AccountingError):
        Sensitivity(**{"clipping_norm": 1.0, "gamma": 0.5, **terms})  # type: ignore[arg-type]


def test_only_one_relation_is_accounted_for() -> None:
    assert list(NeighbouringRelation) == [UNIT]
    sensitivity = Sensitivity(clipping_norm=1.0, gamma=0.5)
    for other in (None, "add_or_remove_one_unit", 1):
        with pytest.raises(AccountingError, match="relation"):
            sensitivity.l2(other)  # type: ignore[arg-type]
