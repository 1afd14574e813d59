"""Rows come back as they were written, and damage is seen."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fieldfare.client.ledger.budget import Debit, LedgerEntry
from fieldfare.client.ledger.chain import Tip, next_entry, to_micros
from fieldfare.client.ledger.rows import Store
from fieldfare.client.ledger.schema import open_database
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.sqlite.database import Database

NOW = datetime(2025, 1, 1, 12, 30, 15, 123457, tzinfo=UTC)
DAY = timedelta(days=1)
DEBIT = Debit(study="s", run="r", step=0, attempt=0, kind="training", request="a" * 64, cost=7)


@pytest.fixture
def database() -> Iterator[Database]:
    with open_database(None, busy_timeout=0.05) as database:
        yield database


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database, "units", lambda: NOW)


def add(store: Store, debit: Debit, time: datetime = NOW) -> LedgerEntry:
    entry = next_entry(
        store.tip(),
        debit,
        vector=hashlib.sha256(b"vector").hexdigest(),
        before=store.study_costs(debit.study),
        time=time,
    )
    store.append(entry, b"reply", b"vector")
    return entry


def test_an_empty_ledger_stands_at_its_start(store: Store) -> None:
    assert store.tip() == store.start
    assert store.start.time == NOW
    assert store.entries_after(0, 10) == []
    assert store.study_costs("s").total == store.spent_since(0) == 0
    assert store.reply("a" * 64) is None
    assert store.contains(store.start.position)
    assert not store.contains(replace(store.start.position, head="0" * 64))
    assert not store.contains(replace(store.start.position, epoch=2))


def test_the_start_is_kept(database: Database, store: Store) -> None:
    again = Store(database, "units", lambda: NOW + DAY)
    assert again.start == store.start
    with pytest.raises(LedgerError, match="'others', found that of 'units'"):
        Store(database, "others", lambda: NOW)


def test_an_entry_comes_back_as_it_was_written(store: Store) -> None:
    entry = add(store, DEBIT)
    assert store.entries_after(0, 10) == [entry]
    assert store.tip() == Tip(position=entry.position, time=NOW)
    stored = store.reply(DEBIT.request)
    assert stored is not None
    assert (stored.reply, stored.vector, stored.position) == (b"reply", b"vector", entry.position)
    assert store.contains(entry.position)
    assert not store.contains(replace(entry.position, sequence=2))


def test_standing_says_what_stands_in_the_way(store: Store) -> None:
    add(store, DEBIT, NOW)
    add(store, replace(DEBIT, step=3, attempt=2, request="b" * 64, cost=20), NOW + DAY)
    add(store, replace(DEBIT, run="x", step=9, request="c" * 64, cost=300), NOW + 2 * DAY)
    add(store, replace(DEBIT, study="t", step=9, request="d" * 64, cost=4000), NOW + 3 * DAY)
    found = store.balance(replace(DEBIT, step=3, attempt=2), NOW + 366 * DAY)
    assert found.occupant == "b" * 64
    assert found.last == (3, 2)
    assert (found.study.total, found.yearly_total, found.lifetime_total) == (327, 4320, 4327)
    empty = store.balance(replace(DEBIT, study="u"), NOW)
    assert (empty.occupant, empty.last, empty.study.total) == (None, None, 0)


def test_the_window_includes_its_first_instant(store: Store) -> None:
    add(store, DEBIT, NOW)
    first = NOW + timedelta(days=365)
    assert store.balance(DEBIT, first).yearly_total == 7
    assert store.balance(DEBIT, first + timedelta(microseconds=1)).yearly_total == 0
    assert store.balance(DEBIT, datetime(1970, 1, 2, tzinfo=UTC)).yearly_total == 7


def test_several_entries_of_one_instant_count_together(store: Store) -> None:
    for step in range(3):
        add(store, replace(DEBIT, step=step, request=f"{step}" * 64))
    micros = to_micros(NOW)
    assert store.spent_since(micros) == 21
    assert store.spent_since(micros + 1) == 0


def test_a_request_belongs_to_one_place(store: Store) -> None:
    assert not store.answered(DEBIT)
    add(store, DEBIT)
    assert store.answered(DEBIT)
    assert store.answered(replace(DEBIT, cost=8))  # the plan may count anew; a repeat stays free
    for change in ({"study": "t"}, {"run": "x"}, {"step": 1}, {"attempt": 1}, {"kind": "other"}):
        with pytest.raises(LedgerError, match="hash the whole request"):
            store.answered(replace(DEBIT, **change))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE replies SET reply = x'00'",
        "UPDATE replies SET vector = x'00'",
        "UPDATE replies SET reply_sha256 = 'x'",
        "UPDATE entries SET vector = 'x'",
        "DELETE FROM replies",
    ],
)
def test_bytes_that_did_not_leave_are_not_given_out(
    database: Database, store: Store, damage: str
) -> None:
    add(store, DEBIT)
    for table in ("entries", "replies"):
        for event in ("UPDATE", "DELETE"):
            database.rows(f"DROP TRIGGER {table}_{event}")
    database.rows(damage)
    with pytest.raises(LedgerError, match="expected the bytes that left as entry 1"):
        store.reply(DEBIT.request)


def test_run_states_are_replaced_and_forgotten_by_study(store: Store) -> None:
    assert store.run_state("s", "r") is None
    for study, run in (("s", "r"), ("s", "x"), ("t", "r")):
        store.put_run_state(study, run, f"{study}{run}".encode())
    store.put_run_state("s", "r", b"next")
    assert store.run_state("s", "r") == b"next"
    assert (store.run_names("s"), store.run_names("u")) == (["r", "x"], [])
    store.forget_runs("s")
    assert store.run_state("s", "r") is store.run_state("s", "x") is None
    assert store.run_state("t", "r") == b"tr"
