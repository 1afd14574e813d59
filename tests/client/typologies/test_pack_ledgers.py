"""Every indicator fires on its hand-made ledger and not on its look-alike; numbers by hand."""

from typing import Any

import pytest
from tests.client.typologies.ledgers import BENIGN, FIRES, extract_of

from fieldfare.client.typologies.features import feature_table, hit_table
from fieldfare.client.typologies.pack import own_pack

PACK = own_pack()
IDS = [indicator.id for indicator in PACK.indicators]


@pytest.fixture(scope="module")
def computed() -> tuple[dict[str, Any], dict[str, Any]]:
    ledgers = {f"{name} fires": one for name, (one, _) in FIRES.items()}
    ledgers |= {f"{name} benign": one for name, (one, _) in BENIGN.items()}
    table = feature_table(extract_of(ledgers), PACK).table
    rows = {row["unit"]: row for row in table.to_pylist()}
    return rows, {row["unit"]: row for row in hit_table(table, PACK).to_pylist()}


def test_every_indicator_has_both_ledgers() -> None:
    assert len(IDS) == 39
    assert list(FIRES) == list(BENIGN) == IDS


@pytest.mark.parametrize("name", IDS)
def test_it_fires_on_its_ledger(name: str, computed: tuple[dict[str, Any], dict[str, Any]]) -> None:
    rows, hits = computed
    assert rows[f"{name} fires"][name] == pytest.approx(FIRES[name][1])
    assert name in hits[f"{name} fires"]["hits"]


@pytest.mark.parametrize("name", IDS)
def test_it_is_silent_on_its_look_alike(
    name: str, computed: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    rows, hits = computed
    expected = BENIGN[name][1]
    found = rows[f"{name} benign"][name]
    assert found is None if expected is None else found == pytest.approx(expected)
    assert name not in hits[f"{name} benign"]["hits"]
