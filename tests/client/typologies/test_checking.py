"""The pack keeps to its word; queries that do not are found out."""

import pytest

from fieldfare.client.typologies.checking import IndicatorFindings, check_pack
from fieldfare.client.typologies.pack import Pack, PackIndicator, own_pack


@pytest.fixture(scope="module")
def checked() -> tuple[IndicatorFindings, ...]:
    return check_pack(own_pack())


def test_every_indicator_of_the_pack_is_own_and_deterministic(
    checked: tuple[IndicatorFindings, ...],
) -> None:
    assert {one.id: one.problems for one in checked if one.problems} == {}
    assert all(one.told for one in checked)  # no proof on empty columns


OWN = own_pack().indicators
R32 = next(one for one in OWN if one.id == "R32")
BODY = "SELECT unit, max(branch_items) AS R32 FROM entry GROUP BY unit"


WRONG = {
    # compares with the median of everybody
    "SELECT unit, max(branch_items) - (SELECT count(*) FROM entry) / 1e4 AS R32 FROM entry "
    "GROUP BY unit": "one customer was taken out",
    # a rank among customers
    "SELECT unit, rank() OVER (ORDER BY count(*)) AS R32 FROM entry GROUP BY unit": "taken out",
    # the place in the extract
    "SELECT unit, unit AS R32 FROM customer": "taken out",
    # customers who share a device
    "SELECT a.unit, count(DISTINCT b.unit) AS R32 FROM entry AS a JOIN entry AS b USING (device) "
    "GROUP BY a.unit": "taken out",
    "SELECT unit, first(amount) AS R32 FROM entry GROUP BY unit": "the order of rows",
    "SELECT unit, avg(amount) AS R32 FROM entry GROUP BY unit": "depend on order",
    "SELECT unit, sum(random()) AS R32 FROM entry GROUP BY unit": "chance",
    "SELECT unit, count(*) + (current_date - DATE '2026-01-01') AS R32 FROM entry "
    "GROUP BY unit": "clock",
    "SELECT unit, max(branch_items) AS R32 FROM entry GROUP BY unit, account": "at most one row",
    "SELECT unit, max(branch_items) AS other FROM entry GROUP BY unit": "R32",
    "SELECT unit, 0 AS R32 FROM customer": "say nothing",
    "SELECT unit, age_band AS R32 FROM customer": "age_band",
    "SELECT customer_id AS unit, 1 AS R32 FROM customers": "customers",
    f"{BODY}; DROP TABLE entry": "expected one SELECT",
    "DELETE FROM entry": "expected one SELECT",
    "SELECT FROM": "expected SQL",
    "SELECT 1 AS unit, content AS R32 FROM read_text('/etc/hostname')": "files or the engine",
}


SAID = "-- own: a trial\n"
UNUSED = R32.typology.model_copy(update={"parameters": {"least": 3}})


@pytest.fixture(scope="module")
def trials() -> dict[str, str]:
    tried = {sql: PackIndicator(R32.typology, SAID + sql) for sql in (*WRONG, BODY)}
    tried |= {
        "unused": PackIndicator(UNUSED, SAID + BODY),
        "silent": PackIndicator(R32.typology, BODY),
    }
    found = check_pack(Pack(tuple(tried.values()), ""))
    return {name: "; ".join(one.problems) for name, one in zip(tried, found, strict=True)}


@pytest.mark.parametrize("sql", WRONG)
def test_a_query_that_breaks_the_rules_is_found_out(sql: str, trials: dict[str, str]) -> None:
    assert WRONG[sql] in trials[sql]


def test_a_good_query_passes(trials: dict[str, str]) -> None:
    assert trials[BODY] == ""


def test_a_constant_that_nobody_uses_is_found(trials: dict[str, str]) -> None:
    assert "least is in no query" in trials["unused"]


def test_a_query_that_does_not_say_why_it_is_own_is_found(trials: dict[str, str]) -> None:
    assert 'expected a line "-- own: ..."' in trials["silent"]
