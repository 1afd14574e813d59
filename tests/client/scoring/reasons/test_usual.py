import numpy as np

from fieldfare.client.scoring.evidence import MOST_READ, UsualValues


def test_medians_and_percentiles_leave_out_what_is_missing() -> None:
    values = np.array([[*range(101), np.nan]], np.float32)
    usual = UsualValues.of(values)
    assert usual.medians.tolist() == [50.0]
    found = usual.percentile(0, np.array([0, 50, 100, 1e9, np.nan], np.float32)).tolist()
    assert (found[:4], np.isnan(found[4])) == ([0.5, 50.5, 100.0, 100.0], True)


def test_equal_values_stand_in_the_middle_of_their_rank() -> None:
    usual = UsualValues.of(np.array([[0.0] * 90 + [5.0] * 10], np.float32))
    assert usual.percentile(0, np.array([0.0], np.float32))[0] < 50
    assert usual.percentile(0, np.array([5.0], np.float32))[0] > 90


def test_a_feature_that_nobody_has_is_usual_nowhere() -> None:
    usual = UsualValues.of(np.full((1, 4), np.nan, np.float32))
    assert np.isnan(usual.medians).all()
    assert np.isnan(usual.percentile(0, np.array([1.0], np.float32))).all()


def test_of_many_a_part_is_read() -> None:
    usual = UsualValues.of(np.arange(3 * MOST_READ, dtype=np.float32)[None, :])
    assert abs(usual.medians[0] - 1.5 * MOST_READ) < 0.01 * MOST_READ
