"""Means, intervals, and where joining starts to pay."""

import pytest
from scipy.stats import t
from tests.simulations.sweeps.conftest import rows_of

from fieldfare.simulations.sweeps.plan import AXES
from fieldfare.simulations.sweeps.summary import Estimate, Summary


def test_an_interval_is_as_wide_as_overlapping_hold_outs_make_it() -> None:
    found = Estimate.of([0.1, 0.2, 0.4], 0.2)
    assert found is not None
    variance = sum((x - 0.7 / 3) ** 2 for x in (0.1, 0.2, 0.4)) / 2
    reach = t.ppf(0.975, 2) * ((1 / 3 + 0.25) * variance) ** 0.5
    assert found.value == pytest.approx(0.7 / 3)
    assert (found.low, found.high) == pytest.approx((0.7 / 3 - reach, 0.7 / 3 + reach))
    one = Estimate.of([0.3], 0.2)
    assert one == Estimate(0.3, None, None, 1)
    assert one.word == "not known"
    assert Estimate.of([], 0.2) is None


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.01, 0.2, "pays"), (-0.2, -0.01, "costs"), (-0.1, 0.1, "not known"), (0, 1, "not known")],
)
def test_a_gain_pays_where_its_interval_lies_above_nothing(
    low: float, high: float, word: str
) -> None:
    assert Estimate((low + high) / 2, low, high, 3).word == word


def test_gains_are_paired_by_seed_and_start_to_pay_where_all_larger_ones_do() -> None:
    apart = ([0.2, 0.5, 0.8], [0.3, 0.6, 0.9])  # seeds differ more than models
    equal = ([0.2, 0.5, 0.8], [0.2, 0.5, 0.8])
    summary = Summary(
        rows_of(
            {
                (1.0, 3): apart,
                (2.0, 3): equal,
                (4.0, 3): apart,
                (1.0, 5): apart,
                (2.0, 5): apart,
                (4.0, 5): apart,
                (1.0, 9): apart,
                (2.0, 9): apart,
                (4.0, 9): equal,
            }
        ),
        0.2,
    )
    gain = summary.gain(summary.places[0])
    assert gain is not None
    assert (gain.low, gain.value, gain.high) == pytest.approx((0.1, 0.1, 0.1))
    starts = {
        place[AXES.index("institutions")]: at for place, at in summary.starts_to_pay("epsilon")
    }
    assert starts == {3: 4.0, 5: 1.0, 9: None}
    assert list(summary.varied) == ["epsilon", "institutions"]
    assert summary.fact(summary.places[0], "rounds") == 7
