import pytest

from fieldfare.client.scoring.evidence import (
    FAMILIES,
    OTHER,
    PERSONAS,
    family_of,
    indicator_of,
    indicators,
    titles,
)
from fieldfare.client.typologies.family import Family
from fieldfare.client.typologies.pack import own_pack


def test_every_feature_of_the_pack_has_a_family_a_source_and_words() -> None:
    specs = [spec for one in own_pack().indicators for spec in one.typology.features]
    assert len(indicators()) >= 30
    for spec in specs:
        found = indicator_of(spec.name)
        assert found is not None
        assert found.family in FAMILIES
        assert found.source
        assert found.benign
        assert spec.meaning in titles([spec.name])[spec.name]


@pytest.mark.parametrize("name", ["amount", "R", "R99", "XR04", "R04x", "r04"])
def test_a_name_that_says_nothing_is_of_no_known_family(name: str) -> None:
    assert indicator_of(name) is None
    assert family_of(name, {}) == OTHER
    assert titles([name]) == {name: name}


def test_an_institution_may_name_a_family() -> None:
    assert family_of("amount", {"amount": Family.FLOW}) == "FLOW"
    assert family_of("R04_retention", {}) == "FLOW"
    assert family_of("R04", {"R04": Family.TIME}) == "TIME"


def test_personas_overlap_indicators_that_exist() -> None:
    assert set().union(*(persona.overlaps for persona in PERSONAS)) <= set(indicators())
    assert all(persona.apart for persona in PERSONAS)
    assert len({persona.name for persona in PERSONAS}) == len(PERSONAS)
