"""The bench of many members measures what it says, small."""

import pytest
from tests.benchmarks.scale.members import BENCH, limits, line_through, measure


def test_a_line_is_found_again() -> None:
    sizes = [{"members": n, "member_milliseconds": 7.0 + 0.25 * n} for n in (3.0, 10.0, 40.0)]
    assert line_through(sizes) == pytest.approx((7.0, 0.25))


def test_promises_are_about_a_hundred() -> None:
    found = {
        "milliseconds_a_peer": 0.2,
        "sizes": [
            {"members": 10, "elapsed_milliseconds": 9000.0},
            {"members": 100, "elapsed_milliseconds": 1400.0},
        ],
    }
    assert [row.holds for row in BENCH.promises(found)] == [False, True]


def test_limits_are_rates() -> None:
    assert all(rate > 0 for rate in limits().values())


@pytest.mark.promises
def test_a_small_size_is_measured() -> None:
    found = measure(counts="3,4", units=50)
    assert [size["members"] for size in found["sizes"]] == [3, 4]
    assert found["milliseconds_a_peer_alone"] > found["milliseconds_a_peer"]
    assert len(list(BENCH.words(found))) == 17
