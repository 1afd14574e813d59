"""A world's marginals: what was counted while its lines were made is what its files hold."""

import json

from tests.simulations.world.conftest import Written

from fieldfare.simulations.world.personas import PERSONAS

BANKS = ("bank-a", "bank-b", "bank-c", "bank-d", "bank-e", "remittance-f")


def test_the_file_is_what_was_returned(written: Written) -> None:
    assert json.loads((written.folder / "world.json").read_text("utf-8")) == written.found


def test_totals_are_those_of_the_files(written: Written) -> None:
    lines = [written.read(f"{bank}/transactions") for bank in BANKS]
    assert written.found["totals"]["transactions"] == sum(table.num_rows for table in lines)
    rows = {row["name"]: row for row in written.found["institutions"]}
    for bank, table in zip(BANKS, lines, strict=True):
        assert rows[bank]["transactions"] == table.num_rows
        assert rows[bank]["customers"] == written.read(f"{bank}/customers").num_rows
    assert written.found["totals"]["cases"] == sum(
        written.read(f"{ngo}/cases").num_rows for ngo in ("ngo-g", "ngo-h")
    )
    assert written.found["totals"]["signals"] == written.read("hotline-i/signals").num_rows


def test_channels_and_lives_add_up(written: Written) -> None:
    found = written.found
    assert sum(row["transactions"] for row in found["channels"]) == found["totals"]["transactions"]
    assert [row["life"] for row in found["lives"]] == [p.name for p in PERSONAS]
    assert 0.85 < sum(row["share"] for row in found["lives"]) <= 1
    assert sum(r["accounts"] for r in found["roles"]) == sum(
        r["accounts"] for r in found["scenarios"]
    )


def test_lives_come_out_as_declared(written: Written) -> None:
    rows = {row["life"]: row for row in written.found["lives"]}
    worker, salaried = rows["independent_adult_worker"], rows["salaried"]
    assert worker["a_month"]["p2p_in"] > 5 * salaried["a_month"]["p2p_in"]
    assert worker["p2p_in_at_night"] > 0.3 > salaried["p2p_in_at_night"]
