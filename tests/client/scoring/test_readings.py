"""Harmless readings: each sign is needed, a missing number says nothing, names are the pack's."""

import numpy as np
import pytest

from fieldfare.client.scoring.readings import (
    COLUMNS,
    READINGS,
    SIGNS,
    readings_of,
    signs_of,
    tiers_of,
)
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.harm_rules import is_protected

WORKS_ALONE = {"R21_kept": 12.0, "R04": 0.1, "R38_share": 0.2, "R17_kinds": 5.0}
ON_SUPPORT = {"R39_kept": 0.4, "R21": 0.1}


def numbers(**given: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array([[given.get(name, np.nan)] for name in COLUMNS], np.float32)


@pytest.mark.parametrize(("at", "fitting"), [(0, WORKS_ALONE), (1, ON_SUPPORT)])
def test_a_reading_holds_where_all_of_its_signs_do(at: int, fitting: dict[str, float]) -> None:
    assert readings_of(numbers(**fitting))[0].tolist() == [one == at for one in range(2)]
    assert tiers_of(numbers(**fitting)).tolist() == [0]
    for name in fitting:
        without = {key: value for key, value in fitting.items() if key != name}
        assert tiers_of(numbers(**without)).tolist() == [1]


@pytest.mark.parametrize(
    "controlled",
    [
        WORKS_ALONE | {"R04": 0.6},  # what comes in is gone by the next day
        WORKS_ALONE | {"R38_share": 0.9},  # two people's income comes here
        WORKS_ALONE | {"R17_kinds": 2.0},  # no life of one's own
        WORKS_ALONE | {"R21_kept": 1.0},  # strangers' money goes on to one person
        ON_SUPPORT | {"R21": 0.6},  # most of the money goes to one person
        ON_SUPPORT | {"R39_kept": 0.02},  # benefits are taken away
    ],
)
def test_no_reading_fits_where_somebody_else_decides(controlled: dict[str, float]) -> None:
    assert tiers_of(numbers(**controlled)).tolist() == [1]


def test_nothing_is_known_of_who_has_no_numbers() -> None:
    assert tiers_of(numbers()).tolist() == [1]
    assert not signs_of(numbers()).any()
    assert tiers_of(np.empty((len(COLUMNS), 0), np.float32)).tolist() == []


def test_signs_are_own_numbers_of_the_pack_and_say_themselves() -> None:
    """Harm rule 4: none reads what people are."""
    known = {spec.name for spec in own_pack().features}
    assert set(COLUMNS) <= known
    assert not any(map(is_protected, COLUMNS))
    assert len({one.name for one in READINGS}) == len(READINGS)
    for sign in SIGNS:
        assert "{" not in sign.said(max(sign.low, 0.1))
