import numpy as np
import pytest

from fieldfare.client.scoring.evidence import NOBODY, NOT_SAID, Evidence, strongest
from fieldfare.client.scoring.indicators import OTHER, PERSONAS
from fieldfare.client.typologies.typology import Family

NAMES = ("R01", "R04", "R07", "R13", "amount", "other")
EVIDENCE = Evidence.of(NAMES, {"amount": Family.LABOUR})

SAID = np.ones((1, len(NAMES)), np.int8)


def row(**parts: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array([[parts.get(name, 0.0) for name in NAMES]])


def raised(**parts: float) -> set[str]:
    fires = np.full((1, len(NAMES)), NOT_SAID, np.int8)
    return {
        f
        for f, up in zip(EVIDENCE.families, EVIDENCE.raising(row(**parts), fires)[0], strict=True)
        if up
    }


def test_families_are_those_that_occur() -> None:
    assert EVIDENCE.families == ("FLOW", "TRAVEL", "ALT_PAY", "LABOUR", OTHER)


@pytest.mark.parametrize(
    ("parts", "families"),
    [
        ({}, set()),
        ({"R01": 0.15, "R04": 0.15}, {"FLOW"}),  # two of a family are one
        ({"R01": 1.0, "R04": -0.9}, set()),  # what speaks against it within the family counts
        ({"R01": 0.3, "R07": 0.3, "amount": 0.3}, {"FLOW", "TRAVEL", "LABOUR"}),
        ({"R01": 0.19}, set()),
    ],
)
def test_evidence_is_counted_by_family(parts: dict[str, float], families: set[str]) -> None:
    assert raised(**parts) == families


def test_what_speaks_against_is_counted_too() -> None:
    assert EVIDENCE.lowering(row(R07=-0.5, R01=0.4)).tolist() == [
        [False, True, False, False, False]
    ]


def test_a_look_alike_explains_most_of_what_raises() -> None:
    names = [PERSONAS[at].name for at in EVIDENCE.look_alikes(row(R01=1, R07=1, R13=1), SAID)[0]]
    assert "touring musician or trade" in names
    assert EVIDENCE.look_alikes(row(other=1), SAID).tolist() == [[NOBODY, NOBODY]]
    assert EVIDENCE.look_alikes(row(R01=-1), SAID).tolist() == [[NOBODY, NOBODY]]


def test_the_strongest_come_first_and_all_where_fewer_are_there() -> None:
    features, values = strongest(np.array([[0.1, 0.9, -2.0, 0.5]]), 2)
    assert (features.tolist(), values.tolist()) == ([[1, 3]], [[0.9, 0.5]])
    features, values = strongest(np.array([[0.1, 0.9]]), 5)
    assert (features.tolist(), values.tolist()) == ([[1, 0]], [[0.9, 0.1]])


def test_an_indicator_fires_by_its_first_feature_or_nothing_says_it() -> None:
    evidence = Evidence.of(("R04", "R04_retention", "R16_payments", "amount"), {})
    least = evidence.at_least[0]
    values = np.array([[least, least - 0.01, np.nan]] * 4, np.float32)
    assert evidence.fires(values).tolist() == [[1, 1, -1, -1], [0, 0, -1, -1], [0, 0, -1, -1]]


def test_the_absence_of_an_indicator_is_no_evidence() -> None:
    contributions = row(R01=2.0, R07=2.0)
    silent = np.array([[0, 0, 1, -1, -1, -1]], np.int8)
    found = dict(zip(EVIDENCE.families, EVIDENCE.raising(contributions, silent)[0], strict=True))
    assert (found["FLOW"], found["TRAVEL"]) == (False, True)
    alike = EVIDENCE.look_alikes(row(R01=1, R13=1), np.zeros((1, len(NAMES)), np.int8))
    assert alike.tolist() == [[NOBODY, NOBODY]]
