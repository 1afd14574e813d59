import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.records.scored import customers, ranking_of, scored_study, units_of

from fieldfare.client.scoring.evidence import indicators
from fieldfare.client.scoring.ranking_table import MOST_COUNTER, MOST_REASONS, SCHEMA, AlertTable
from fieldfare.client.scoring.units import values_before
from fieldfare.client.typologies.family import Family

STUDY = scored_study()


@pytest.fixture
def table(tmp_path: Path) -> AlertTable:
    units = units_of(tmp_path, customers(400), STUDY)
    return AlertTable.of(ranking_of(units, STUDY), {"wages": Family.PROFILE})


def rows(table: AlertTable, size: int = 150) -> list[dict[str, Any]]:
    batches = list(table.batches(size))
    assert all(batch.schema == SCHEMA for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()]


def test_everyone_stands_there_once_highest_first(table: AlertTable) -> None:
    found = rows(table)
    assert [row["rank"] for row in found] == list(range(1, 401))
    assert len({row["unit"] for row in found}) == 400


def test_contributions_add_up_exactly_to_the_score(table: AlertTable) -> None:
    for row in (*rows(table), *table.cards(np.arange(400)).to_pylist()):
        parts = [one["contribution"] for one in (*row["reasons"], *row["counter_evidence"])]
        for order in (parts, parts[::-1]):
            total = row["base"]
            for part in order:
                total += part
            assert total + row["others"] == row["score"]
        assert math.fsum([row["base"], *parts, row["others"]]) == row["score"]


def test_reasons_are_the_strongest_of_each_direction(table: AlertTable) -> None:
    ranking = table.ranking
    contributions = ranking.contributions(np.arange(len(ranking.units)))
    order = np.argsort(ranking.ranks)
    for row, place in zip(rows(table), order.tolist(), strict=True):
        up = sorted((c for c in contributions[place].tolist() if c > 0), reverse=True)
        down = sorted(c for c in contributions[place].tolist() if c < 0)
        assert [one["contribution"] for one in row["reasons"]] == up[:MOST_REASONS]
        assert [one["contribution"] for one in row["counter_evidence"]] == down[:MOST_COUNTER]
        assert {one["direction"] for one in row["reasons"]} <= {"raises"}
        assert {one["direction"] for one in row["counter_evidence"]} <= {"lowers"}


def test_a_reason_says_what_where_from_and_what_is_usual(table: AlertTable) -> None:
    found = {
        one["feature"]: one
        for row in rows(table)
        for one in (*row["reasons"], *row["counter_evidence"])
    }
    reason, wages = found["R01"], found["wages"]
    assert (reason["indicator"], reason["family"]) == ("R01", "FLOW")
    assert "FINTRAC-2021-OA001" in reason["source"]
    assert reason["value"] is not None
    assert reason["usual"] is not None
    assert 0 <= reason["percentile"] <= 100
    assert reason["own_baseline"] is None
    assert (wages["indicator"], wages["family"], wages["source"]) == (None, "PROFILE", None)


def test_missing_and_levels_are_said_in_words(table: AlertTable) -> None:
    units = table.ranking.units.units.to_pylist()
    cards = table.cards(np.array([units.index("n00003"), units.index("n00004")])).to_pylist()
    said = [
        {one["feature"]: one for one in (*card["reasons"], *card["counter_evidence"])}
        for card in cards
    ]
    assert (said[0]["R04"]["value"], said[0]["R04"]["level"]) == (None, "missing")
    assert (said[1]["channel"]["value"], said[1]["channel"]["level"]) == (None, "missing")
    assert said[0]["channel"]["level"] in {"branch", "online", "other"}


def test_own_baselines_stand_beside_the_values(tmp_path: Path) -> None:
    units = units_of(tmp_path, customers(100), STUDY)
    before = units_of(tmp_path, customers(60, seed=3), STUDY)
    ranking = ranking_of(units, STUDY)
    table = AlertTable.of(ranking, {}, values_before(ranking.units, before))
    earlier = dict(zip(before.units.to_pylist(), before.values[0].tolist(), strict=True))
    seen = 0
    for row in rows(table):
        for one in (*row["reasons"], *row["counter_evidence"]):
            if one["feature"] == "R01":
                assert one["own_baseline"] == earlier.get(row["unit"])
                seen += row["unit"] in earlier
    assert seen


def test_no_row_has_a_role_that_a_person_did_not_set(table: AlertTable) -> None:
    assert {row["party_role"] for row in rows(table)} == {"unknown"}


def test_families_are_counted_and_named(table: AlertTable) -> None:
    found = rows(table)
    assert all(row["families"] == len(row["family_names"]) for row in found)
    assert max(row["families"] for row in found) >= 2
    family = {name: one.family for name, one in indicators().items()}
    for row in found:
        assert {family[name] for name in row["evidence"]} == set(row["family_names"])
        assert set(row["evidence"]) <= set(row["fired"])
        marked = {one["indicator"] for one in row["reasons"] if one["evidence"]}
        assert marked <= set(row["evidence"])
        assert not any(one["evidence"] for one in row["counter_evidence"])
    assert any(set(row["fired"]) - set(row["evidence"]) for row in found)
    assert any(row["against"] for row in found)
    assert any(row["look_alikes"] for row in found)


def test_a_reason_says_whether_its_indicator_fires_as_published(table: AlertTable) -> None:
    least = indicators()["R13"].at_least
    seen = set()
    for row in rows(table):
        for one in (*row["reasons"], *row["counter_evidence"]):
            if one["feature"] == "R13":
                assert one["fires"] == (one["value"] >= np.float32(least))
                seen.add(one["fires"])
            if one["feature"] == "wages":
                assert one["fires"] is None
    assert seen == {True, False}
