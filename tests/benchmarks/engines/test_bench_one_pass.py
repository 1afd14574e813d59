"""The bench of one pass measures what it says, small."""

import pytest
from tests.benchmarks.engines.one_pass import BENCH, exponent, measure


def test_a_line_has_exponent_one_and_a_square_two() -> None:
    sizes = [{"units": n, "processor_seconds": 2.0 + n} for n in (8, 4, 2, 1)]
    assert exponent(sizes, "units", 2.0) == pytest.approx(1.0)
    squares = [{"units": n, "processor_seconds": 2.0 + n * n} for n in (8, 4, 2, 1)]
    assert exponent(squares, "units", 2.0) == pytest.approx(2.0)


def test_promises_are_about_their_size() -> None:
    whole = {"institutions": 1000, "units": 1000, "processor_seconds": 61.0, "peak_megabytes": 9.0}
    grown = {"exponent_in_institutions": 1.0, "exponent_in_units": 1.2}
    rows = BENCH.promises({"steps": 60, "whole": whole, **grown})
    assert [row.holds for row in rows] == [False, True, True, False]
    assert BENCH.promises({"steps": 60, "whole": whole | {"units": 10}}) == []


@pytest.mark.promises
def test_a_small_size_is_measured() -> None:
    found = measure(institutions=6, units=50, steps=1, growth=1)
    assert found["whole"]["processor_seconds"] > 0
    assert found["whole"]["peak_megabytes"] > 50
    assert [row["units"] for row in found["by_units"]] == [25]
    assert len(list(BENCH.words(found))) == 3
