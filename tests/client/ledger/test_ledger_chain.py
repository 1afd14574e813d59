"""The chain fixes every field of every entry, in order."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from fieldfare.client.ledger.budget import Debit, LedgerEntry
from fieldfare.client.ledger.chain import (
    ChainCheck,
    Tip,
    from_micros,
    genesis,
    next_entry,
    to_micros,
)
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.privacy.sides import Side, SideCosts

DAY = timedelta(days=1)
START = datetime(2025, 1, 1, tzinfo=UTC)
VECTOR = hashlib.sha256(b"vector").hexdigest()


def history(length: int) -> list[LedgerEntry]:
    """Entries of two studies in turn; entry i costs i + 1."""
    tip, before = genesis("units", START), {"a": SideCosts(), "b": SideCosts()}
    entries = []
    for i in range(length):
        study = "ab"[i % 2]
        debit = Debit(
            study=study,
            run="r",
            step=i,
            attempt=0,
            kind="training",
            request=hashlib.sha256(bytes([i])).hexdigest(),
            cost=i + 1,
        )
        entry = next_entry(tip, debit, vector=VECTOR, before=before[study], time=START + i * DAY)
        before[study] = before[study].plus(debit.side, debit.cost)
        tip = Tip(position=entry.position, time=entry.time)
        entries.append(entry)
    return entries


def check(entries: list[LedgerEntry]) -> None:
    chain = ChainCheck(genesis("units", START))
    for entry in entries:
        chain.add(entry)


def test_a_head_can_be_recomputed_by_hand() -> None:
    start = {"created": to_micros(START), "format": 1, "population": "units", "type": "genesis"}
    first = {
        "attempt": 0,
        "cost": 1,
        "cumulative": 1,
        "epoch": 1,
        "format": 1,
        "kind": "training",
        "request": hashlib.sha256(b"\x00").hexdigest(),
        "run": "r",
        "sequence": 1,
        "step": 0,
        "study": "a",
        "study_total": 1,
        "time": to_micros(START),
        "type": "debit",
        "vector": VECTOR,
    }
    head = hashlib.sha256(json.dumps(start, separators=(",", ":")).encode()).digest()
    head = hashlib.sha256(head + json.dumps(first, separators=(",", ":")).encode()).digest()
    assert history(1)[0].position.head == head.hex()


def test_an_untouched_history_is_accepted_with_its_totals() -> None:
    entries = history(6)
    check(entries)
    assert entries[-1].position.cumulative == 21
    assert [entry.study_total for entry in entries[-2:]] == [1 + 3 + 5, 2 + 4 + 6]


@pytest.mark.parametrize("index", [0, 2, 5])
def test_any_changed_field_is_found(index: int) -> None:
    entries = history(6)
    entry = entries[index]
    changes = [
        replace(entry, time=entry.time + timedelta(microseconds=1)),
        replace(entry, vector="0" * 64),
        replace(entry, study_total=entry.study_total - 1),
        *(
            replace(entry, position=replace(entry.position, **change))
            for change in (
                {"sequence": index + 2},
                {"head": "0" * 64},
                {"cumulative": entry.position.cumulative - 1},
                {"debited": entry.position.debited + 1},
                {"epoch": 2},
            )
        ),
        *(
            replace(entry, debit=replace(entry.debit, **change))
            for change in (
                {"study": "c"},
                {"run": "other"},
                {"step": 99},
                {"attempt": 1},
                {"kind": "evaluation"},
                {"request": "0" * 64},
                {"cost": entry.debit.cost + 1},
                {"side": Side.HOLDOUT},
            )
        ),
    ]
    for changed in changes:
        with pytest.raises(LedgerError, match="expected"):
            check([*entries[:index], changed, *entries[index + 1 :]])


def test_missing_doubled_and_swapped_entries_are_found() -> None:
    a, b, c, d = history(4)
    for damaged in ([b, c, d], [a, c, d], [a, a, b], [a, c, b, d]):
        with pytest.raises(LedgerError, match="expected entry"):
            check(damaged)


def test_a_time_before_its_predecessor_is_found() -> None:
    tip = Tip(position=genesis("units", START).position, time=START)
    debit = history(1)[0].debit
    early = next_entry(tip, debit, vector=VECTOR, before=SideCosts(), time=START - DAY)
    with pytest.raises(LedgerError, match="expected entry 1 after"):
        check([early])


def test_population_and_time_of_creation_start_different_chains() -> None:
    heads = {
        genesis(population, created).position.head
        for population in ("units", "others")
        for created in (START, START + DAY)
    }
    assert len(heads) == 4


def test_times_are_exact_and_in_utc() -> None:
    instant = datetime(2031, 7, 8, 9, 10, 11, 123457, tzinfo=timezone(timedelta(hours=5)))
    assert from_micros(to_micros(instant)) == instant
    assert to_micros(datetime(1970, 1, 1, tzinfo=UTC)) == 0


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2025, 1, 1),  # noqa: DTZ001  that it has no zone is the point
        datetime(1969, 12, 31, tzinfo=UTC),
        datetime(2256, 1, 1, tzinfo=UTC),
    ],
)
def test_an_impossible_clock_is_refused(instant: datetime) -> None:
    with pytest.raises(LedgerError, match="expected a"):
        to_micros(instant)


@pytest.mark.parametrize("micros", [-1, 2**53, "0", None, 1.5])
def test_a_damaged_time_is_refused(micros: int) -> None:
    with pytest.raises(LedgerError, match="time in microseconds"):
        from_micros(micros)
