"""Whoever takes away the entries that an indicator counts takes away what made it fire."""

from dataclasses import replace

import pytest
from tests.client.typologies.ledgers import FIRES, Ledger, extract_of, transaction_of

from fieldfare.client.typologies.counted import COUNTED, marks
from fieldfare.client.typologies.features import feature_table, hit_table
from fieldfare.client.typologies.pack import own_pack

PACK = own_pack()
ABSENCES = {"R25"}


@pytest.fixture(scope="module")
def counted() -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    extract = extract_of({name: one for name, (one, _) in FIRES.items()})
    query = (
        f"SELECT c.customer_id, e.moment, e.amount, e.direction, {marks(COUNTED)} AS marks "
        "FROM entry AS e JOIN customer AS c USING (unit)"
    )
    for name, *what, marked in extract.connection.execute(query).fetchall():
        if name in marked:
            found.setdefault(name, set()).add(hash(tuple(what)))
    return found


def test_every_indicator_marks_entries_but_those_of_absences() -> None:
    assert set(COUNTED) == {one.id for one in PACK.indicators} - ABSENCES


def test_without_its_entries_no_indicator_fires(counted: dict[str, set[int]]) -> None:
    assert set(counted) == set(COUNTED)
    rest = {name: without(FIRES[name][0], counted[name]) for name in COUNTED}
    hits = hit_table(feature_table(extract_of(rest), PACK).table, PACK).to_pylist()
    assert [row["unit"] for row in hits if row["unit"] in row["hits"]] == []


def test_an_indicator_without_entries_marks_none() -> None:
    extract = extract_of({"R25": FIRES["R25"][0]})
    query = f"SELECT {marks(['R25'])} FROM entry AS e"
    assert {tuple(found) for (found,) in extract.connection.execute(query).fetchall()} == {()}


def without(ledger: Ledger, marked: set[int]) -> Ledger:
    rows = [transaction_of(row, "a", 0) for row in ledger.rows]
    whats = [hash((one["ts_utc"], one["amount_minor"], one["direction"])) for one in rows]
    kept = [row for row, what in zip(ledger.rows, whats, strict=True) if what not in marked]
    return replace(ledger, rows=kept)
