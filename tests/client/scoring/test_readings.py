"""Harmless readings: each sign is needed, a missing number says nothing, names are the pack's."""

import numpy as np
import pytest

from fieldfare.client.scoring.readings import (
    COLUMN_OF,
    COLUMNS,
    READINGS,
    SIGNS,
    readings_of,
    signs_of,
    telling_signs_of,
    tiers_of,
)
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.harm_rules import is_protected
from fieldfare.simulations.world.personas import LOOK_ALIKES

WORKS_ALONE = {"R21_kept": 12.0, "R04": 0.1, "R38_share": 0.2, "R17_kinds": 5.0}
ON_SUPPORT = {"R39_kept": 0.4, "R21": 0.1}
EMPLOYS = {"R25_ratio": 0.45, "R26": 0.02, "R36_in_again": 0.1, "R17": 0.7, "R17_kinds": 4.0,
           "R16_payments": 4.0}  # fmt: skip
SERVES = {"R25_ratio": 0.5, "R26": 0.08, "R36_in_again": 0.2, "R17_kinds": 3.0, "R28": 0.0,
          "R29": 0.0}  # fmt: skip
SENDS_HOME = {"R29": 2.0, "R26": 0.0, "R17_kinds": 5.0, "R16_payments": 4.0, "R21": 0.05,
              "R13": 0.0}  # fmt: skip
TOURS = {"R07_payments": 3.0, "R31": 4.0, "R04": 0.3, "R17_kinds": 6.0, "R36_in_again": 0.2,
         "R38": 1.0, "R21": 0.1, "R29": 0.0}  # fmt: skip
FOR_AN_EMPLOYER = {"R07_payments": 3.0, "R31": 3.0, "R27": 1.0, "R18": 0.01, "R17_kinds": 5.0,
                   "R21": 0.0, "R13": 0.0}  # fmt: skip
SHARES = {"R36": 4.0, "R37_share": 0.2, "R21": 0.2, "R17_kinds": 5.0, "R13": 0.0, "R29": 0.0,
          "R07_payments": 0.0}  # fmt: skip
CIRCLE = {"R36_in_again": 0.7, "R01_once_share": 0.3, "R23": 0.9, "R21": 0.2}
SELLS = {"R21_kept": 8.0, "R04": 0.4, "R36_in_again": 0.1, "R17_kinds": 5.0, "R29": 0.0,
         "R07_payments": 0.0}  # fmt: skip
FITTING = [WORKS_ALONE, ON_SUPPORT, EMPLOYS, SERVES, SENDS_HOME, TOURS, FOR_AN_EMPLOYER, SHARES,
           CIRCLE, SELLS]  # fmt: skip


def numbers(**given: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array([[given.get(name, np.nan)] for name in COLUMNS], np.float32)


@pytest.mark.parametrize(("at", "fitting"), enumerate(FITTING))
def test_a_reading_holds_where_all_of_its_signs_do(at: int, fitting: dict[str, float]) -> None:
    assert readings_of(numbers(**fitting))[0].tolist() == [one == at for one in range(len(FITTING))]
    assert tiers_of(numbers(**fitting)).tolist() == [0]
    for name in fitting:
        without = {key: value for key, value in fitting.items() if key != name}
        assert not readings_of(numbers(**without))[0, at]


def test_every_reading_is_tried() -> None:
    assert len(FITTING) == len(READINGS)
    for fitting, reading in zip(FITTING, READINGS, strict=True):
        there = {one.feature for one in reading.signs if not one.missing}
        assert there == set(fitting), reading.name


@pytest.mark.parametrize(
    "controlled",
    [
        WORKS_ALONE | {"R04": 0.6},  # what comes in is gone by the next day
        WORKS_ALONE | {"R38_share": 0.9},  # two people's income comes here
        WORKS_ALONE | {"R17_kinds": 2.0},  # no life of one's own
        WORKS_ALONE | {"R21_kept": 1.0},  # strangers' money goes on to one person
        ON_SUPPORT | {"R21": 0.6},  # most of the money goes to one person
        ON_SUPPORT | {"R39_kept": 0.02},  # benefits are taken away
        WORKS_ALONE | {"R25_ratio": 0.5},  # a business: it is asked about wages
        EMPLOYS | {"R26": 0.2},  # wages come back
        EMPLOYS | {"R36_in_again": 0.6},  # the same people pay in again and again
        EMPLOYS | {"R25_ratio": 0.0},  # no wages are paid
        EMPLOYS | {"R17": 0.95},  # no rent, no bills, no dues
        SERVES | {"R26": 0.2},
        SERVES | {"R28": 5.0},  # recruiters are paid
        SERVES | {"R29": 4.0},  # money goes abroad
        SENDS_HOME | {"R26": 0.2},  # the employer takes wages back
        SENDS_HOME | {"R29": 6.0},  # to many people abroad
        SENDS_HOME | {"R21": 0.4},  # to one person who is no family abroad
        SENDS_HOME | {"R13": 5.0},  # somebody advertises
        TOURS | {"R04": 0.8},  # what comes in is gone by the next day
        TOURS | {"R38": 20.0},  # collects from the same few
        TOURS | {"R21": 0.6},
        FOR_AN_EMPLOYER | {"R27": 0.0},  # no wage comes in
        FOR_AN_EMPLOYER | {"R18": 1.5},  # other money comes in beside
        FOR_AN_EMPLOYER | {"R13": 5.0},
        SHARES | {"R37_share": 0.7},  # what comes in is handed on
        SHARES | {"R36": 0.0},  # nobody is paid back
        CIRCLE | {"R21": 0.6},
        CIRCLE | {"R36_in_again": 0.1, "R01_once_share": 1.0},  # strangers pay in, once
        CIRCLE | {"R23": 0.3},
        SELLS | {"R04": 0.8},
        SELLS | {"R29": 3.0},
        SELLS | {"R36_in_again": 0.6},  # the same few pay in
    ],
)
def test_no_reading_fits_where_somebody_else_decides(controlled: dict[str, float]) -> None:
    assert tiers_of(numbers(**controlled)).tolist() == [1]


def test_nothing_is_known_of_who_has_no_numbers() -> None:
    assert tiers_of(numbers()).tolist() == [1]
    there = signs_of(numbers())[0]
    assert there.tolist() == [one.missing for one in SIGNS]
    assert not telling_signs_of(numbers()).any()
    assert tiers_of(np.empty((len(COLUMNS), 0), np.float32)).tolist() == []


def test_signs_are_told_where_a_reading_holds_or_lacks_one() -> None:
    def told(**given: float) -> set[str]:
        there = telling_signs_of(numbers(**given))[0]
        return {SIGNS[at].feature for at in np.flatnonzero(there)}

    assert told(**ON_SUPPORT) == {"R39_kept", "R21"}
    assert told(R21=0.1, R29=0.0, R13=0.0) == set()  # which nearly everybody has
    assert told(**EMPLOYS) == set(EMPLOYS)
    assert told(**EMPLOYS | {"R26": 0.3}) == set(EMPLOYS) - {"R26"}
    assert told(**EMPLOYS | {"R26": 0.3, "R17": 0.95}) == set()


def test_harm_rule_5_each_named_look_alike_that_was_reviewed_too_often_has_a_reading() -> None:
    """Harm rule 5: reviewed more than twice as often by the score alone (docs/adr/0023)."""
    answered = {
        "independent_adult_worker": WORKS_ALONE, "survivor_rebuilding": ON_SUPPORT,
        "farm_contractor": EMPLOYS, "cash_restaurant": SERVES, "convenience_shop": SERVES,
        "late_spa": SERVES, "migrant_sending_home": SENDS_HOME, "touring_musician": TOURS,
        "travelling_nurse": FOR_AN_EMPLOYER, "student": SHARES, "community_treasurer": CIRCLE,
        "marketplace_seller": SELLS,
    }  # fmt: skip
    assert set(answered) <= {one.name for one in LOOK_ALIKES}
    assert [one for one in FITTING if one not in answered.values()] == []


def test_signs_are_own_numbers_of_the_pack_and_say_themselves() -> None:
    """Harm rule 4: none reads what people are."""
    known = {spec.name for spec in own_pack().features}
    assert set(COLUMNS) <= known
    assert not any(map(is_protected, COLUMNS))
    assert len({one.name for one in READINGS}) == len(READINGS)
    assert [COLUMNS[at] for at in COLUMN_OF] == [one.feature for one in SIGNS]
    for sign in SIGNS:
        assert "{" not in sign.said(max(sign.low, 0.1))
        assert sign.missing or sign.low <= sign.high
