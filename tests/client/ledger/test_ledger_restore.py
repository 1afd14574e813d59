"""A restored copy goes on only as a new epoch, without keys, and with all that was spent."""

import os
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.federations.bench import Bench
from tests.support.federations.debits import commit_release

from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.ledger.budget import Debit, Limits, Position, StoredReply
from fieldfare.client.ledger.chain import Statement
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.restore import Acceptance, RestoredLedger
from fieldfare.client.ledger.rollback_check import Witness
from fieldfare.client.ledger.run_states import APPROVAL_STATE, LEDGER_STATE, SHOWN_REPLY
from fieldfare.shared.errors import LedgerError, PolicyRefusal, RefusalCode
from fieldfare.shared.protocol.messages import Approval, Refusal, Reply

LIMITS: Final = Limits(yearly_picomu2=100, lifetime_picomu2=150)
TERMS: Final = Acceptance(user="ines", reason="the disk failed")
DAY: Final = timedelta(days=1)
NAME: Final = "bank-b"
OLD_SCHEMA: Final = Path(__file__).with_name("ledger_v1.sql")


@dataclass
class Clock:
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


CLOCK: Final = Clock()


def open_ledger(path: Path, clock: Clock = CLOCK, limits: Limits = LIMITS) -> Ledger:
    return Ledger.open(path, population="units", limits=limits, clock=clock, busy_timeout=0.05)


def open_restored(path: Path, clock: Clock = CLOCK) -> RestoredLedger:
    return RestoredLedger.open(path, population="units", clock=clock, busy_timeout=0.05)


def accept(path: Path, terms: Acceptance = TERMS, clock: Clock = CLOCK, **more: Any) -> Statement:
    with open_restored(path, clock) as restored:
        return restored.accept(terms, **more)


def commit(
    ledger: Ledger, step: int, *, study: str = "s", run: str = "r", limit: int = 10**6
) -> StoredReply:
    debit = Debit(
        study=study,
        run=run,
        step=step,
        attempt=0,
        kind="training",
        request=os.urandom(32).hex(),
        cost=10,
    )
    return commit_release(
        ledger,
        debit,
        vector=b"masked",
        study_limit=limit,
        max_attempts=1,
        sign=lambda position: f"signed: {position}".encode(),
        run_states={run: b"next keys" * 40},
    )


def fill(path: Path, steps: range, *, study: str = "s") -> list[Position]:
    with open_ledger(path) as ledger:
        return [commit(ledger, step, study=study).position for step in steps]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "units.ledger"


def keep_copy(path: Path) -> Path:
    return Path(shutil.copy2(path, path.with_name("backup")))


def witness_of(path: Path) -> Path:
    return path.with_name(path.name + ".witness")


@pytest.fixture
def behind(path: Path) -> Path:
    """A copy with 2 entries of 10, under a witness of 5."""
    fill(path, range(2))
    backup = keep_copy(path)
    fill(path, range(2, 5))
    shutil.copy2(backup, path)
    return path


# --- accepting -------------------------------------------------------------------------------


def test_what_was_lost_is_spent_and_the_witness_follows(behind: Path) -> None:
    with pytest.raises(LedgerError, match="accept-restore"):
        open_ledger(behind)
    found = accept(behind)
    assert (found.stated.carried, found.stated.kept) == (30, 2)
    assert (found.position.sequence, found.position.cumulative, found.position.epoch) == (3, 50, 2)
    assert Witness(behind, "units").read() == found.position
    with open_ledger(behind) as ledger:
        assert ledger.position() == found.position
        assert ledger.spent() == ledger.spent("s") == 50
        assert [entry.position.sequence for entry in ledger.entries()] == [1, 2]
        assert [entry.position.sequence for entry in ledger.history()] == [1, 2, 3]
        commit(ledger, 9)
        assert ledger.position().epoch == 2
        ledger.verify()


def test_no_limit_admits_more_than_without_the_loss(behind: Path) -> None:
    accept(behind)
    clock = Clock()
    with open_ledger(behind, clock) as ledger:
        for step in range(10, 15):
            commit(ledger, step)
        with pytest.raises(PolicyRefusal):
            commit(ledger, 15)  # 100 in the year
        clock.now += 366 * DAY
        for step in range(15, 20):
            commit(ledger, step)
        with pytest.raises(PolicyRefusal):
            commit(ledger, 20)  # 150 ever
        assert ledger.spent() == 150


def test_the_limit_of_a_study_counts_what_it_may_have_spent(behind: Path, path: Path) -> None:
    """Nobody can know whose the lost entries were, so they count against every study."""
    accept(behind)
    with open_ledger(path) as ledger:
        assert (ledger.spent("s"), ledger.spent("t")) == (50, 30)
        commit(ledger, 9, study="t", limit=40)
        for study in "st":
            with pytest.raises(PolicyRefusal):
                commit(ledger, 10, study=study, limit=49)
        ledger.verify()


def test_the_owner_may_say_whose_the_lost_entries_were(behind: Path) -> None:
    accept(behind, replace(TERMS, study="t"))
    with open_ledger(behind) as ledger:
        assert (ledger.spent("s"), ledger.spent("t"), ledger.spent("u")) == (20, 30, 0)
        assert ledger.spent() == 50
        commit(ledger, 9, study="t")
        assert ledger.spent("t") == 40
        ledger.verify()


def test_every_key_is_destroyed_and_other_states_are_kept(path: Path) -> None:
    secret = b"a chain key that must not outlive its epoch" * 9
    with open_ledger(path) as ledger:
        ledger.put_run_state("s", ":approval", secret)
        ledger.put_run_state(":ledger", "approvals:s", b"3")
        commit(ledger, 0)
    backup = keep_copy(path)
    fill(path, range(1, 3))
    shutil.copy2(backup, path)
    assert secret in path.read_bytes()
    accept(path, keep=":ledger")
    assert not [file for file in path.parent.glob("units*") if secret in file.read_bytes()]
    with open_ledger(path) as ledger:
        assert ledger.run_state("s", ":approval") is None
        assert ledger.run_state("s", "r") is None
        assert ledger.run_state(":ledger", "approvals:s") == b"3"


def test_a_copy_may_be_restored_again_and_again(path: Path) -> None:
    rng = random.Random(4)  # noqa: S311  a fixed seed
    wide = Limits(yearly_picomu2=10**6, lifetime_picomu2=10**6)
    released, step = 0, 0
    for epoch in range(2, 8):
        backup = None
        for _ in range(rng.randrange(2, 6)):
            with open_ledger(path, limits=wide) as ledger:
                commit(ledger, step)
            step, released = step + 1, released + 10
            backup = backup or keep_copy(path)
        assert backup is not None
        shutil.copy2(backup, path)
        found = accept(path)
        assert (found.position.epoch, found.position.cumulative) == (epoch, released)


def test_a_lost_database_is_accepted_as_empty_with_all_its_spend(path: Path) -> None:
    fill(path, range(4))
    path.unlink()
    with pytest.raises(LedgerError, match="found none"):
        open_ledger(path)
    found = accept(path)
    assert (found.position.sequence, found.position.cumulative, found.position.epoch) == (1, 40, 2)
    with open_ledger(path) as ledger:
        assert ledger.spent("any") == 40
        ledger.verify()


def test_the_lost_spend_stays_a_whole_year_from_the_day_of_acceptance(behind: Path) -> None:
    clock = Clock(CLOCK.now + 300 * DAY)
    accept(behind, clock=clock)
    clock.now += 365 * DAY
    with open_ledger(behind, clock) as ledger:
        assert ledger.spent_since(clock.now - 365 * DAY) == 30


# --- when it is possible ---------------------------------------------------------------------


def test_a_ledger_that_lacks_nothing_is_not_accepted(path: Path, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="found neither"):
        open_restored(path)
    assert not path.exists()
    open_ledger(path).close()
    positions = fill(path, range(3))
    for terms in (TERMS, replace(TERMS, spent=10**6), replace(TERMS, kept=0)):
        for shown in (None, *positions):
            with pytest.raises(LedgerError, match="nothing to accept"):
                accept(path, terms, shown=shown)
    with open_ledger(path) as ledger:
        assert ledger.position() == positions[-1]


def test_an_acceptance_is_not_repeated(behind: Path) -> None:
    accept(behind)
    with pytest.raises(LedgerError, match="nothing to accept"):
        accept(behind)


def test_a_crash_before_the_witness_follows_is_healed_by_the_next_start(
    behind: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def died(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Witness, "write", died)
        with pytest.raises(KeyboardInterrupt):
            accept(behind)
    with pytest.raises(LedgerError, match="nothing to accept"):
        accept(behind)
    with open_ledger(behind) as ledger:
        assert ledger.spent() == 50
        assert Witness(behind, "units").read() == ledger.position()


def test_a_crash_before_the_commit_changes_nothing(
    behind: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = behind.read_bytes(), witness_of(behind).read_bytes()
    broken = Clock(CLOCK.now.replace(tzinfo=None))
    with pytest.raises((LedgerError, TypeError)):
        accept(behind, clock=broken)
    assert (behind.read_bytes()[100:], witness_of(behind).read_bytes()) == (
        before[0][100:],
        before[1],
    )
    assert accept(behind).position.cumulative == 50


def test_without_a_witness_the_owner_must_state_the_total(path: Path) -> None:
    fill(path, range(3))
    witness_of(path).unlink()
    with pytest.raises(LedgerError, match="ever debited"):
        accept(path)
    with pytest.raises(LedgerError, match="at least 3e-11"):
        accept(path, replace(TERMS, spent=29))
    found = accept(path, replace(TERMS, spent=75))
    assert (found.stated.carried, found.position.cumulative) == (45, 75)
    with open_ledger(path) as ledger:
        assert ledger.spent() == 75


def test_a_larger_total_that_the_owner_knows_of_counts_more(behind: Path) -> None:
    assert accept(behind, replace(TERMS, spent=90)).position.cumulative == 90


def test_a_smaller_total_does_not_count_less(behind: Path) -> None:
    assert accept(behind, replace(TERMS, spent=20)).position.cumulative == 50


def test_another_populations_witness_or_ledger_is_not_accepted(behind: Path) -> None:
    with pytest.raises(LedgerError, match="'others'"):
        RestoredLedger.open(behind, population="others", clock=CLOCK)
    Witness(behind, "others").write(
        Position(sequence=9, head="a" * 64, cumulative=9, debited=9, epoch=1)
    )
    with pytest.raises(LedgerError, match="population 'units'"):
        accept(behind)


def test_an_edited_history_is_not_healed_by_accepting_it(behind: Path) -> None:
    with closing(sqlite3.connect(behind)) as stranger:
        stranger.execute("DROP TRIGGER entries_UPDATE")
        stranger.execute("UPDATE entries SET cost = 1 WHERE sequence = 2")
        stranger.commit()
    with pytest.raises(LedgerError, match="was changed"):
        open_restored(behind)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM statements",
        "UPDATE statements SET content = replace(content, 'failed', 'burned')",
        "UPDATE entries SET cost = 0, cumulative = 20 WHERE type = 'epoch'",
        "UPDATE entries SET type = 'split' WHERE type = 'epoch'",
        "UPDATE entries SET type = 'debit' WHERE type = 'epoch'",
    ],
)
def test_an_acceptance_that_was_edited_is_refused(behind: Path, statement: str) -> None:
    accept(behind)
    with closing(sqlite3.connect(behind)) as stranger:
        for name in ("entries_UPDATE", "statements_UPDATE", "statements_DELETE"):
            stranger.execute(f"DROP TRIGGER {name}")
        stranger.execute(statement)
        stranger.commit()
    with pytest.raises(LedgerError, match="expected"):
        open_ledger(behind)


# --- branches --------------------------------------------------------------------------------


def test_entries_made_since_the_restoring_count_beside_the_lost_ones(path: Path) -> None:
    """Ledger and witness were both restored, went on, and then a lost reply was shown."""
    fill(path, range(2))
    backup, seen = keep_copy(path), witness_of(path).read_bytes()
    lost = fill(path, range(2, 6))[-1]
    shutil.copy2(backup, path)
    witness_of(path).write_bytes(seen)
    fill(path, range(10, 13))
    with open_ledger(path) as ledger:
        assert not ledger.accounts_for(lost)
    with pytest.raises(LedgerError, match="last entry that was in the restored copy"):
        accept(path, shown=lost)
    with pytest.raises(LedgerError, match="from 0 to 5"):
        accept(path, replace(TERMS, kept=6), shown=lost)
    found = accept(path, replace(TERMS, kept=2), shown=lost)
    assert found.position.cumulative == 2 * 10 + 4 * 10 + 3 * 10  # what really left
    with open_ledger(path) as ledger:
        assert ledger.accounts_for(lost)
        assert ledger.spent() == 90


def test_who_does_not_know_what_was_kept_counts_everything_twice(path: Path) -> None:
    fill(path, range(2))
    lost = Position(sequence=6, head="d" * 64, cumulative=60, debited=60, epoch=1)
    assert accept(path, replace(TERMS, kept=0), shown=lost).position.cumulative == 80


def test_other_replies_of_the_lost_branch_are_accounted_for_up_to_what_was_carried(
    path: Path,
) -> None:
    fill(path, range(2))
    lost = [
        Position(sequence=n, head=f"{n}" * 64, cumulative=10 * n, debited=10 * n, epoch=1)
        for n in range(3, 8)
    ]
    accept(path, replace(TERMS, kept=2), shown=lost[2])
    with open_ledger(path) as ledger:
        assert [ledger.accounts_for(p) for p in lost] == [True, True, True, False, False]
        commit(ledger, 9)
    found = accept(path, shown=lost[4])  # two more entries left than was known
    assert (found.stated.carried, found.position.cumulative) == (20, 80)
    with open_ledger(path) as ledger:
        assert all(ledger.accounts_for(p) for p in lost)


def test_a_fork_of_the_present_epoch_needs_the_owner(behind: Path) -> None:
    first = accept(behind).position
    fork = replace(first, sequence=4, head="e" * 64, cumulative=70, debited=70)
    fill(behind, range(20, 22))
    with pytest.raises(LedgerError, match="last entry"):
        accept(behind, shown=fork)
    assert accept(behind, replace(TERMS, kept=3), shown=fork).position.cumulative == 90


def test_a_copy_from_before_an_acceptance_begins_a_later_epoch(path: Path) -> None:
    fill(path, range(2))
    backup = keep_copy(path)
    fill(path, range(2, 4))
    shutil.copy2(backup, path)
    accept(path)
    fill(path, range(10, 12))
    shutil.copy2(backup, path)  # 20 of 60, epoch 1 of 2
    found = accept(path)
    assert (found.position.epoch, found.position.cumulative) == (3, 60)


def play(path: Path, seed: int) -> tuple[int, int]:
    """Lose copies and whole folders at random; return what the ledger says and what left."""
    rng, wide = random.Random(seed), Limits(yearly_picomu2=10**6, lifetime_picomu2=10**6)  # noqa: S311
    left, kept = 0, (b"", b"", 0)
    for step in range(60):
        move = rng.choice(["debit"] * 4 + ["copy", "restore file", "restore folder"])
        if move == "debit" or not kept[2]:
            with open_ledger(path, limits=wide) as ledger:
                commit(ledger, step, run=f"{step}")
            left += 10
        if move == "copy" or not kept[2]:
            with open_ledger(path, limits=wide) as ledger:
                end = ledger.position().sequence
            kept = path.read_bytes(), witness_of(path).read_bytes(), end
        elif move.startswith("restore"):
            with open_ledger(path, limits=wide) as ledger:
                lost = ledger.position()
            path.write_bytes(kept[0])
            if move == "restore file":
                with open_restored(path) as restored:
                    needed = restored.position() != lost
                found = accept(path).position if needed else lost
            else:
                witness_of(path).write_bytes(kept[1])
                found = goes_on_unnoticed(path, wide, step, rng.randrange(3), lost, kept[2])
                left += 10 * (found.sequence - kept[2] - (found.epoch > lost.epoch))
            kept = path.read_bytes(), witness_of(path).read_bytes(), found.sequence
    with open_ledger(path, limits=wide) as ledger:
        ledger.verify()
        return ledger.spent(), left


def goes_on_unnoticed(
    path: Path, wide: Limits, step: int, debits: int, lost: Position, kept: int
) -> Position:
    """Debit on a folder that was restored whole, until somebody shows the last lost reply."""
    with open_ledger(path, limits=wide) as ledger:
        for number in range(debits):
            commit(ledger, number, run=f"{step} {number}")
        found = ledger.position()
        behind = not ledger.accounts_for(lost)
    return accept(path, replace(TERMS, kept=kept), shown=lost).position if behind else found


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_lost_the_ledger_says_what_really_left(path: Path, seed: int) -> None:
    says, left = play(path, seed)
    assert left > 100
    assert says == left


# --- beside a custodian ----------------------------------------------------------------------


def position_of(reply: Reply) -> Position:
    return Position(
        sequence=reply.ledger_sequence,
        head=reply.ledger_head,
        cumulative=reply.cumulative,
        debited=reply.debited,
        epoch=reply.epoch,
    )


def test_after_a_shown_reply_only_the_acceptance_lets_a_custodian_work_again(bench: Bench) -> None:
    study, path = bench.study.id, bench.path(NAME)
    run = bench.open_run("first")
    run.last(1)  # everybody answers step 0
    bench.ledger(NAME).close()
    backup = {file: file.read_bytes() for file in path.parent.glob(f"{path.name}*")}
    bench.restart(NAME)
    run.open_anew()
    last = run.answer(NAME, run.request(step=1)).reply
    bench.ledger(NAME).close()
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    for file, content in backup.items():
        file.touch(mode=0o600)
        file.write_bytes(content)
    custodian = bench.restart(NAME)
    approved = custodian.describe(study)
    assert isinstance(approved, HelloAnswer)
    before = bench.party(NAME).from_member(approved.approval, Approval, NAME).body
    refusal = Refusal(RefusalCode.LEDGER_UNAVAILABLE)
    assert custodian.describe(study, last) == refusal
    assert bench.restart(NAME).describe(study) == refusal

    bench.ledger(NAME).close()
    with RestoredLedger.open(path, population=NAME, clock=partial(datetime.now, UTC)) as restored:
        assert restored.run_state(LEDGER_STATE, SHOWN_REPLY) == last
        shown = position_of(bench.party(NAME).from_member(last, Reply, NAME).body)
        restored.accept(replace(TERMS, kept=1), shown=shown, keep=LEDGER_STATE)

    custodian = bench.restart(NAME)
    assert bench.ledger(NAME).spent() == 2 * bench.plan.training.cost
    assert bench.ledger(NAME).run_state(study, APPROVAL_STATE) is not None
    answer = custodian.describe(study, last)
    assert isinstance(answer, HelloAnswer)
    after = bench.party(NAME).from_member(answer.approval, Approval, NAME).body
    assert (after.epoch, after.number) == (2, before.number + 1)
    # The old run is over: nothing of it is known, so no second noise meets the same mask.
    assert run.ask(NAME, run.request(step=1)) == Refusal(RefusalCode.UNKNOWN_RUN)
    again = bench.open_run("second")
    again.answer(NAME, again.request())
    bench.ledger(NAME).verify()


# --- old files -------------------------------------------------------------------------------


def old_file(path: Path) -> Path:
    """The ledger that schema version 1 wrote, with its witness."""
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(OLD_SCHEMA.read_text())
    witness_of(path).write_bytes(
        b'{"cumulative":66,"epoch":1,"format":1,"head":'
        b'"34ade72089414e2da540c65bee3b36fa7371b3a7dd513c08ecf7d55a43db04c7",'
        b'"population":"units","sequence":6}'
    )
    return path


def test_a_ledger_of_the_first_schema_is_refused_by_name_and_left_as_it_is(path: Path) -> None:
    old_file(path)
    before = path.read_bytes()
    refused = r"found 1: an earlier build.*ca71956f"
    with pytest.raises(LedgerError, match=refused), open_ledger(path):
        pytest.fail("it was opened")
    with pytest.raises(LedgerError, match=refused):
        accept(path)
    assert path.read_bytes() == before
