import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldfare.client.scoring.evidence import (
    LEAST_EVIDENCE,
    NOBODY,
    OTHER,
    PERSONAS,
    Evidence,
    RuleResults,
    family_of,
    indicator_of,
    indicators,
    strongest,
)
from fieldfare.client.scoring.reasons import on_grid
from fieldfare.client.typologies.family import Family
from fieldfare.client.typologies.pack import own_pack

NAMES = ("R01", "R04", "R07", "R13", "amount", "other")
EVIDENCE = Evidence.of(NAMES, {"amount": Family.LABOUR})
PACK = tuple(spec.name for one in own_pack().indicators for spec in one.typology.features)


def row(**parts: float) -> NDArray[np.float64]:
    return np.array([[parts.get(name, 0.0) for name in NAMES]])


def said(fires: str = "111111", above: str = "111111") -> RuleResults:
    """Say it of one unit, a sign for each feature: 1 yes, 0 no, - nothing says it."""
    found = [{"1": 1, "0": 0, "-": -1}[sign] for sign in fires]
    return RuleResults(np.array([found], np.int8), np.array([[sign == "1" for sign in above]]))


def raised(published: RuleResults, **parts: float) -> set[str]:
    (up,) = EVIDENCE.counted(row(**parts), published).families
    return {family for family, there in zip(EVIDENCE.families, up, strict=True) if there}


def test_harm_rule_2_what_is_computed_is_like_its_sources_and_no_evidence() -> None:
    """Whatever it is called: neither a new family nor a published rule comes out of a formula."""
    names = ("R04", "R07_log", "share")
    sources = {"R07_log": ("R04",), "share": ("amount", "R13")}
    found = Evidence.of(names, {}, sources)
    of_r04 = found.members[:, found.families.index("FLOW")]
    assert of_r04.tolist() == [1, 1, 0]
    assert found.members[2, found.families.index("ALT_PAY")] == 1
    assert (found.overlaps[1] == found.overlaps[0]).all()
    assert (found.overlaps[2] == Evidence.of(("R13",), {}).overlaps[0]).all()
    assert found.firsts.tolist() == [0, -1, -1]
    up = np.array([[0.0, 5.0, 5.0]])
    rules = found.published(np.full((3, 1), 1e6, np.float32), np.zeros(3, np.float32))
    assert not found.counted(up, rules).features.any()
    alike = {PERSONAS[place].name for place in found.look_alikes(up, rules)[0] if place >= 0}
    assert alike
    named = Evidence.of(names, {"share": Family.LABOUR, "amount": Family.TIME}, sources)
    assert named.members[2, named.families.index("LABOUR")] == 1
    by_source = Evidence.of(names, {"amount": Family.TIME}, sources)
    assert by_source.members[2, by_source.families.index("TIME")] == 1


def test_families_are_those_that_occur() -> None:
    assert EVIDENCE.families == ("FLOW", "TRAVEL", "ALT_PAY", "LABOUR", OTHER)


@pytest.mark.parametrize(
    ("parts", "families"),
    [
        ({}, set()),
        ({"R01": 0.15, "R04": 0.15}, {"FLOW"}),  # two of a family are one
        ({"R01": 1.0, "R04": -0.9}, set()),  # what speaks against it within the family counts
        ({"R01": 0.3, "R07": 0.3, "R13": 0.3}, {"FLOW", "TRAVEL", "ALT_PAY"}),
        ({"R01": 0.19}, set()),
    ],
)
def test_evidence_is_counted_by_family(parts: dict[str, float], families: set[str]) -> None:
    assert raised(said(), **parts) == families


def test_an_indicator_that_fires_not_or_is_usual_or_cannot_be_said_is_no_evidence() -> None:
    assert raised(said(fires="0111--"), R01=2.0, R07=2.0) == {"TRAVEL"}
    assert raised(said(above="011111"), R01=2.0, R07=2.0) == {"TRAVEL"}
    assert raised(said(fires="-111--"), R01=2.0, R07=2.0) == {"TRAVEL"}
    assert raised(said(fires="1111--"), amount=5.0, other=5.0) == set()
    # An absence in the same family adds nothing to what fires and says too little.
    assert raised(said(fires="0111--"), R01=5.0, R04=0.1) == set()


def test_several_telephone_lines_are_no_evidence_against_somebody_without_one() -> None:
    evidence = Evidence.of(("R16_payments", "R13", "R12_purchases"), {})
    medians = np.array([3, 0, 2], np.float32)
    values = np.array([[0.0], [1.0], [2.0]], np.float32)
    published = evidence.published(values, medians)
    assert published.fires.tolist() == [[-1, 0, -1]]
    assert published.above.tolist() == [[False, True, False]]
    counted = evidence.counted(np.array([[5.36, 0.4, 0.7]]), published)
    assert not counted.families.any()
    assert not counted.features.any()


def test_what_speaks_against_is_counted_too() -> None:
    assert EVIDENCE.lowering(row(R07=-0.5, R01=0.4)).tolist() == [
        [False, True, False, False, False]
    ]


def test_a_look_alike_explains_most_of_what_raises() -> None:
    alike = EVIDENCE.look_alikes
    names = [PERSONAS[at].name for at in alike(row(R01=1, R07=1, R13=1), said())[0]]
    assert "touring musician or trade" in names
    nobody = [[NOBODY, NOBODY]]
    assert alike(row(other=1), said()).tolist() == nobody
    assert alike(row(R01=-1), said()).tolist() == nobody
    assert alike(row(R01=1, R13=1), said(fires="000000")).tolist() == nobody
    assert alike(row(R01=1, R13=1), said(fires="------", above="000000")).tolist() == nobody


def test_the_strongest_come_first_and_all_where_fewer_are_there() -> None:
    features, values = strongest(np.array([[0.1, 0.9, -2.0, 0.5]]), 2)
    assert (features.tolist(), values.tolist()) == ([[1, 3]], [[0.9, 0.5]])
    features, values = strongest(np.array([[0.1, 0.9]]), 5)
    assert (features.tolist(), values.tolist()) == ([[1, 0]], [[0.9, 0.1]])


def test_an_indicator_fires_by_its_first_feature_or_nothing_says_it() -> None:
    evidence = Evidence.of(("R04", "R04_retention", "R16_payments", "amount"), {})
    least = evidence.at_least[0]
    values = np.array([[least, least - 0.01, np.nan]] * 4, np.float32)
    medians = np.array([0, 1, np.nan, least], np.float32)
    found = evidence.published(values, medians)
    assert found.fires.tolist() == [[1, 1, -1, -1], [0, 0, -1, -1], [0, 0, -1, -1]]
    assert found.above.tolist() == [
        [True, False, False, False],
        [True, False, False, False],
        [False] * 4,
    ]


@st.composite
def units(draw: st.DrawFn) -> tuple[Evidence, tuple[str, ...], NDArray[np.float32],
                                    NDArray[np.float32], NDArray[np.float64]]:  # fmt: skip
    """Some features of the pack and others, values about their thresholds, and contributions."""
    names = tuple(
        draw(
            st.lists(st.sampled_from((*PACK, "wages", "age")), min_size=1, max_size=12, unique=True)
        )
    )
    size = len(names)
    numbers = st.one_of(
        st.sampled_from([0.0, 0.5, 0.7, 0.97, 1.0, 3.0, 12.0, 21.0, 1000.0, float("nan")]),
        st.floats(-2, 100, width=32),
    )
    column = st.lists(numbers, min_size=size, max_size=size)
    values = np.array(draw(column), np.float32)[:, None]
    medians = np.array(draw(column), np.float32)
    parts = draw(st.lists(st.floats(-6, 6), min_size=size, max_size=size))
    evidence = Evidence.of(names, {"wages": Family.PROFILE})
    return evidence, names, values, medians, on_grid(np.array([parts]))


@given(units())
def test_a_family_counts_only_where_a_published_indicator_of_it_fires_and_is_unusual(
    unit: tuple[
        Evidence, tuple[str, ...], NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]
    ],
) -> None:
    evidence, names, values, medians, parts = unit
    counted = evidence.counted(parts, evidence.published(values, medians))
    value = dict(zip(names, values[:, 0].tolist(), strict=True))
    usual = dict(zip(names, medians.tolist(), strict=True))
    part = dict(zip(names, parts[0].tolist(), strict=True))
    for family, there in zip(evidence.families, counted.families[0], strict=True):
        carrying = [
            name
            for name in names
            if (one := indicator_of(name)) is not None
            and family_of(name, {}) == family
            and value.get(one.id, -np.inf) >= np.float32(indicators()[one.id].at_least)
            and value[one.id] > usual[one.id]
            and value[name] > usual[name]
            and part[name] > 0
        ]
        against = sum(min(part[name], 0) for name in names if family_of(name, {}) == family)
        assert there == (
            bool(carrying) and sum(part[name] for name in carrying) + against >= LEAST_EVIDENCE
        )
        marked = {name for name, mark in zip(names, counted.features[0], strict=True) if mark}
        assert {name for name in marked if family_of(name, {}) == family} == (
            set(carrying) if there else set()
        )
    assert not (counted.families & evidence.lowering(parts)).any()


@given(units(), st.data())
def test_raising_what_is_no_evidence_adds_no_family(
    unit: tuple[
        Evidence, tuple[str, ...], NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]
    ],
    data: st.DataObject,
) -> None:
    """An absence, a value that is usual here, a part of an indicator: however much they add."""
    evidence, names, values, medians, parts = unit
    at = data.draw(st.integers(0, len(names) - 1))
    published = evidence.published(values, medians)
    first = int(evidence.firsts[at])
    if published.fires[0, at] == 1 and published.above[0, at] and published.above[0, first]:
        values[at] = np.nan if data.draw(st.booleans()) else medians[at]
        published = evidence.published(values, medians)
    parts[0, at] = max(parts[0, at], 0.0)
    before = evidence.counted(parts, published)
    parts[0, at] += data.draw(st.sampled_from([0.2, 5.36, 100.0]))
    after = evidence.counted(parts, published)
    assert (after.families == before.families).all()
    assert (after.features == before.features).all()
