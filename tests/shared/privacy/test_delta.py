"""A delta by rule: below one over ten times the units, and as few as one digit can be."""

from pathlib import Path
from typing import Final

import pytest

from fieldfare.shared.privacy.delta import delta_for, largest_delta, usual_delta
from fieldfare.shared.study.file import load_study

ROOT: Final = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("units", "delta"),
    [(1, 9e-2), (9, 1e-2), (10, 9e-3), (2400, 4e-5), (41_500, 2e-6), (61_000, 1e-6),
     (99_999, 1e-6), (100_000, 9e-7), (10**9, 9e-11)],
)  # fmt: skip
def test_the_rule(units: int, delta: float) -> None:
    assert delta_for(units) == delta


def test_it_is_the_largest_of_one_digit_below_the_limit() -> None:
    for units in [*range(1, 2000), 33_333, 50_000, 123_456_789]:
        found, limit = delta_for(units), largest_delta(units)
        digit, power = f"{found:.0e}".split("e")
        assert found == float(f"{digit}e{power}")
        assert found < limit <= float(f"{int(digit) + 1}e{power}") * (1 + 1e-12)


@pytest.mark.parametrize(
    ("units", "delta"), [(0, 1e-5), (9_999, 1e-5), (10_000, 9e-6), (41_500, 2e-6), (10**7, 9e-9)]
)
def test_a_new_study_asks_for_no_more_than_the_rule_allows(units: int, delta: float) -> None:
    assert usual_delta(units) == delta


@pytest.mark.parametrize("name", ["five-banks", "twelve-banks", "helplines"])
def test_the_studies_of_the_invented_world_keep_to_it(name: str) -> None:
    """five-banks asked for 1e-5, which is more than its 41,500 units allow: its pack warned."""
    study = load_study(ROOT / "studies" / f"{name}.toml")
    assert study.privacy.delta <= delta_for(study.records.units)
