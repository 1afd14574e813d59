"""A coordinator that opens run after run fills neither the ledger nor the log.

613 openings in 20 s once left 10 KiB each in the ledger for good, and not one line in the log.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from tests.support.federations.bench import Bench, MakeBench, make_study

from fieldfare.client.custodian.key_agreement import MOST_AGREED
from fieldfare.client.custodian.openings import (
    DAY_SECONDS,
    MOST_IN_A_DAY,
    MOST_KEPT,
    MOST_OPENINGS,
    Openings,
)
from fieldfare.client.custodian.ports import NoLog, RunEvent
from fieldfare.client.ledger.budget import Limits
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.run_states import (
    FOLLOWED_STATE,
    HEAD_STATE,
    LEDGER_STATE,
    OPENING_STATE,
)
from fieldfare.shared.errors import PolicyRefusal, RefusalCode
from fieldfare.shared.protocol.messages import ReleaseKind

STUDY: Final = "a" * 64
STATE: Final = b"x" * 10 * 1024  # of one opening, with three participants
TRIED: Final = 613


class Noted(NoLog):
    """Counts what is written down."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    def noted(
        self, event: RunEvent, study: str, run: str, fingerprint: str, rule: str = ""
    ) -> None:
        del study, fingerprint, rule
        assert event is RunEvent.OPENED
        self.runs.append(run)


class Clock:
    """A clock that a test moves."""

    at = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    limits = Limits(yearly_picomu2=10**12, lifetime_picomu2=10**13)
    with Ledger.open(
        tmp_path / "ledger.sqlite", population="customers", limits=limits, clock=clock
    ) as made:
        yield made


def opening(run: str, fingerprint: str = "") -> Any:
    return SimpleNamespace(study=STUDY, run=run, hash=(fingerprint or run).ljust(64, "0"))


def opens(openings: Openings, ledger: Ledger, run: str) -> None:
    openings.admit(opening(run))
    ledger.put_run_state(STUDY, OPENING_STATE + run, STATE)
    ledger.put_run_state(STUDY, f"{OPENING_STATE}{run}:{'b' * 64}", STATE)
    ledger.put_run_state(STUDY, run, STATE)


def test_openings_without_end_are_bounded_and_logged(
    ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldfare.client.custodian.openings.MOST_KEPT", 8)
    log, refused = Noted(), list[RefusalCode]()
    openings = Openings(ledger, log)
    for number in range(TRIED):
        try:
            opens(openings, ledger, f"run-{number}")
        except PolicyRefusal as refusal:
            refused.append(refusal.code)
    assert refused == [RefusalCode.TOO_MANY_ATTEMPTS] * (TRIED - MOST_IN_A_DAY)
    assert len(log.runs) == MOST_IN_A_DAY
    assert len(ledger.run_names(STUDY)) == 3 * 8
    with pytest.raises(PolicyRefusal):  # a restart forgets nothing
        Openings(ledger, log).admit(opening("another"))
    clock.at += timedelta(seconds=DAY_SECONDS)
    openings.admit(opening("tomorrow"))


def test_a_person_who_set_the_clock_back_has_openings_counted_anew(
    ledger: Ledger, clock: Clock
) -> None:
    """They were counted on the day of a clock that was a year ahead, which none renewed."""
    openings = Openings(ledger, Noted())
    clock.at += timedelta(days=365)
    for number in range(MOST_IN_A_DAY):
        openings.admit(opening(f"run-{number}"))
    clock.at -= timedelta(days=364)  # by itself it begins no new day, whatever day it shows
    with pytest.raises(PolicyRefusal):
        openings.admit(opening("another"))
    openings.renew()
    openings.admit(opening("another"))
    for number in range(MOST_IN_A_DAY - 1):
        openings.admit(opening(f"again-{number}"))
    openings.renew()  # of this day: it says nothing new
    with pytest.raises(PolicyRefusal):
        openings.admit(opening("one more"))


def test_a_repeat_is_neither_counted_nor_logged(ledger: Ledger) -> None:
    log = Noted()
    openings = Openings(ledger, log)
    for _ in range(MOST_IN_A_DAY + 1):
        openings.admit(opening("run-1"))
    assert log.runs == ["run-1"]
    openings.admit(opening("run-1", "anew after a restart"))
    assert log.runs == ["run-1", "run-1"]


def test_a_run_that_was_paid_for_stays(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldfare.client.custodian.openings.MOST_KEPT", 2)
    openings = Openings(ledger, Noted())
    monkeypatch.setattr(ledger, "paid", lambda _, run: {"request"} if run == "paid" else set())
    for run in ("paid", "free", "third", "fourth"):
        opens(openings, ledger, run)
    kept = {name.partition(":")[0] for name in ledger.run_names(STUDY)} - {"opening"}
    assert kept == {"paid", "third", "fourth"}


@pytest.mark.parametrize("most", [3, MOST_AGREED + 2])
def test_runs_that_nobody_paid_for_leave_nothing_on_disk_and_in_memory(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Rehearsals and commitments are free: with 3 kept, 12 runs once left 12 rows and 12 keys."""
    monkeypatch.setattr("fieldfare.client.custodian.openings.MOST_KEPT", most)
    bench = make_bench(make_study(aggregation={"opening": "on", "participants": "fixed"}))
    name, study = "bank-a", bench.study.id
    for _ in range(most + 2):
        run = bench.open_run()
        run.commit(name, run.request(ReleaseKind.REHEARSAL))
        run.commit(name, run.request())
    ledger = bench.ledger(name)
    runs = {state.split(":")[1] for state in ledger.run_names(study) if state != ":approval"}
    assert runs == {f"run-{number}" for number in range(3, most + 3)}
    waiting = [ledger.waiting(study, f"run-{number}") for number in range(1, most + 3)]
    assert [one is not None for one in waiting] == [False] * 2 + [True] * most
    held = {run for _, run in bench.held(name)._agreed}
    assert held == {f"run-{most + 2 - number}" for number in range(min(most, MOST_AGREED))}
    assert ledger.spent() == 0


def test_a_run_that_is_opened_without_end_leaves_its_newest_openings(bench: Bench) -> None:
    name, run = "bank-a", bench.open_run()
    run.answer(name, run.request())
    for _ in range(MOST_OPENINGS + 2):
        run.open_anew()
    kept = [one for one in bench.ledger(name).run_names(bench.study.id) if "opening:run-1:" in one]
    assert len(kept) == MOST_OPENINGS
    run.answer(name, run.request(attempt=1))  # under the newest
    bench.restart(name)
    run.answer(name, run.request(attempt=1))


def test_heads_and_sums_of_runs_are_kept_as_long_as_somebody_paid_for_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can have a log co-signed: its head, of 32 bytes a leaf, stayed for good."""
    monkeypatch.setattr("fieldfare.client.custodian.openings.MOST_KEPT", 2)
    name, study = "bank-a", bench.study.id
    ledger = bench.ledger(name)
    bench.open_run("paid").state(2)
    bench.open_run("free")
    for run in ("paid", "free"):
        ledger.put_run_state(LEDGER_STATE, f"{HEAD_STATE}{study}:{run}", STATE)
    ledger.put_run_state(study, f"{FOLLOWED_STATE}paid", STATE)
    for number in range(2):
        bench.open_run(f"newer-{number}")
    heads = [one for one in ledger.run_names(LEDGER_STATE) if one.startswith(HEAD_STATE)]
    assert heads == [f"{HEAD_STATE}{study}:paid"]
    states = {one.partition(":paid")[0] for one in ledger.run_names(study) if ":paid" in one}
    assert states == {"opened", "opening", "progress"}


def test_a_clock_that_is_set_back_begins_no_new_day(ledger: Ledger, clock: Clock) -> None:
    openings = Openings(ledger, Noted())
    for number in range(MOST_IN_A_DAY):
        openings.admit(opening(f"run-{number % MOST_KEPT}", str(number)))
    clock.at -= timedelta(seconds=2 * DAY_SECONDS)
    with pytest.raises(PolicyRefusal):
        openings.admit(opening("one more"))
