"""A file that was copied back, cut, flipped or edited is refused; erased keys are gone."""

import hashlib
import random
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from tests.support.federations.debits import commit_release

from fieldfare.client.ledger.budget import Debit, Limits, StoredReply
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.errors import LedgerError, PolicyRefusal

LIMIT: Final = 10**6


def open_ledger(path: Path, *, units: str = "units") -> Ledger:
    return Ledger.open(
        path,
        population=units,
        limits=Limits(yearly_picomu2=LIMIT, lifetime_picomu2=LIMIT),
        clock=lambda: datetime(2025, 1, 1, tzinfo=UTC),
        busy_timeout=0.05,
    )


def debit(step: int, *, study: str = "s", run: str = "r", variant: str = "") -> Debit:
    return Debit(
        study=study,
        run=run,
        step=step,
        attempt=0,
        kind="training",
        request=hashlib.sha256(f"{study} {run} {step} {variant}".encode()).hexdigest(),
        cost=10,
    )


def commit(
    ledger: Ledger, debit: Debit, *, vector: bytes = b"masked", state: bytes = b"next keys"
) -> StoredReply:
    return commit_release(
        ledger,
        debit,
        vector=vector,
        study_limit=LIMIT,
        max_attempts=3,
        sign=lambda position: f"signed: {position}".encode(),
        run_states={debit.run: state},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "units.ledger"


def fill(path: Path, steps: range) -> list[StoredReply]:
    with open_ledger(path) as ledger:
        return [commit(ledger, debit(step), vector=bytes([step]) * 3000) for step in steps]


def copies(path: Path, target: Path) -> Path:
    """Copy the ledger and its witness to `target`, as a backup does."""
    target.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy2(file, target)
    return target / path.name


def witness_of(path: Path) -> Path:
    return path.with_name(path.name + ".witness")


def test_a_ledger_survives_closing(path: Path) -> None:
    replies = fill(path, range(4))
    with open_ledger(path) as ledger:
        assert [ledger.stored(debit(step).request) for step in range(4)] == replies
        assert ledger.position() == replies[-1].position
        assert ledger.spent() == 40
        with pytest.raises(PolicyRefusal):
            commit(ledger, debit(3, variant="x"))
        ledger.verify()
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_population_gets_its_own_ledger(path: Path) -> None:
    fill(path, range(1))
    with pytest.raises(LedgerError, match="population 'others'"):
        open_ledger(path, units="others")


def test_a_link_leads_to_the_same_witness(path: Path, tmp_path: Path) -> None:
    fill(path, range(2))
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link"
    link.symlink_to(path)
    with open_ledger(link) as ledger:
        assert ledger.position().sequence == 2
    assert not witness_of(link).exists()
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(LedgerError, match="expected a ledger at"):
        open_ledger(loop)


def test_a_restored_older_copy_is_refused(path: Path, tmp_path: Path) -> None:
    fill(path, range(2))
    backup = copies(path, tmp_path / "backup")
    last = fill(path, range(2, 4))[-1]
    shutil.copy2(backup, path)
    with pytest.raises(LedgerError, match=r"entry 4, head .* ends at entry 2 without it"):
        open_ledger(path)
    # Someone who restores both is found by the last signed reply, which others hold.
    shutil.copy2(witness_of(backup), witness_of(path))
    with open_ledger(path) as ledger:
        assert not ledger.contains(last.position)


def test_a_fork_of_the_same_length_is_refused(path: Path, tmp_path: Path) -> None:
    fill(path, range(2))
    backup = copies(path, tmp_path / "backup")
    fill(path, range(2, 3))
    with open_ledger(backup) as ledger:
        commit(ledger, debit(2, variant="other"))
    shutil.copy2(backup, path)
    with pytest.raises(LedgerError, match=r"entry 3, head .* ends at entry 3 without it"):
        open_ledger(path)


@pytest.mark.parametrize("pages", [1, 2000])  # of the cache: more than the ledger has, or fewer
def test_an_older_copy_over_the_file_of_a_running_ledger_gives_no_budget_back(
    path: Path, tmp_path: Path, pages: int
) -> None:
    """The file keeps its name and its place, as `cp` leaves it; nobody starts anew."""
    open_ledger(path).close()
    (backup := tmp_path / "backup").write_bytes(path.read_bytes())
    with open_ledger(path) as ledger:
        ledger._database.rows(f"PRAGMA cache_size = {pages}")
        for step in range(9):
            commit(ledger, debit(step))
        position = ledger.position()
        shutil.copyfile(backup, path)
        for step in range(9):
            with pytest.raises(LedgerError, match="entry 9 that this process wrote"):
                commit(ledger, debit(step, study="another", run="r2"))
        with pytest.raises(LedgerError, match="entry 9 that this process wrote"), ledger.peers():
            pass
    with pytest.raises(LedgerError, match=r"entry 9, head .* ends at entry 0 without it"):
        open_ledger(path)
    assert position.cumulative == 90


def test_a_fork_of_the_same_length_under_a_running_ledger_is_refused(
    path: Path, tmp_path: Path
) -> None:
    fill(path, range(2))
    backup = copies(path, tmp_path / "backup")
    with open_ledger(backup) as ledger:
        commit(ledger, debit(2, variant="other"))
    with open_ledger(path) as ledger:
        commit(ledger, debit(2))
        shutil.copyfile(backup, path)
        with pytest.raises(LedgerError, match="entry 3 that this process wrote"):
            commit(ledger, debit(3))


def test_a_ledger_that_another_process_went_on_with_is_gone_on_with(path: Path) -> None:
    with open_ledger(path) as one, open_ledger(path) as other:
        for step in range(0, 6, 2):
            commit(one, debit(step))
            commit(other, debit(step + 1))
        assert other.position().sequence == 6


def test_a_ledger_ahead_of_its_witness_is_fine_and_catches_up(path: Path, tmp_path: Path) -> None:
    fill(path, range(2))
    backup = copies(path, tmp_path / "backup")
    fill(path, range(2, 4))
    newest = witness_of(path).read_bytes()
    shutil.copy2(witness_of(backup), witness_of(path))
    with open_ledger(path) as ledger:
        assert ledger.position().sequence == 4
    assert witness_of(path).read_bytes() == newest


def test_a_missing_witness_is_refused_unless_nothing_was_spent(path: Path) -> None:
    open_ledger(path).close()
    witness_of(path).unlink()
    fill(path, range(2))
    witness_of(path).unlink()
    with pytest.raises(LedgerError, match=r"expected a witness .* of 2 entries, found none"):
        open_ledger(path)


@pytest.mark.parametrize("mode", ["NORMAL", "EXCLUSIVE"])
def test_a_ledger_that_another_process_holds_is_refused(path: Path, mode: str) -> None:
    fill(path, range(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"PRAGMA locking_mode = {mode}")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="another process"):
            open_ledger(path)
        other.execute("ROLLBACK")
    with open_ledger(path) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="another process"):
            commit(ledger, debit(1))
        assert ledger.spent() == 10
        other.execute("ROLLBACK")
        assert commit(ledger, debit(1)).position.cumulative == 20


@pytest.mark.parametrize("content", [None, b""])
def test_a_lost_database_is_not_begun_anew(path: Path, content: bytes | None) -> None:
    fill(path, range(2))
    path.unlink()
    if content is not None:
        path.touch(mode=0o600)
    with pytest.raises(LedgerError, match="found none: restore"):
        open_ledger(path)
    assert path.exists() == (content is not None)


def test_a_truncated_file_is_refused(path: Path) -> None:
    fill(path, range(6))
    content = path.read_bytes()
    for length in (0, 1, 99, 100, 4095, 4096, 8192, len(content) // 2, len(content) - 4096):
        path.write_bytes(content[:length])
        with pytest.raises(LedgerError, match="expected"):
            open_ledger(path)
    path.write_bytes(content)
    open_ledger(path).close()


def test_a_flipped_bit_is_found_or_harmless(path: Path) -> None:
    replies = fill(path, range(20))
    content = path.read_bytes()
    rng, found = random.Random(5), 0  # noqa: S311  a fixed seed
    for _ in range(150):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            with open_ledger(path) as ledger:
                ledger.verify()
                assert [ledger.stored(debit(step).request) for step in range(20)] == replies
        except LedgerError:
            found += 1
        for log in path.parent.glob(f"{path.name}-*"):
            log.unlink()
    assert found > 30  # most bits carry something


TAMPERING: Final = [
    "DELETE FROM entries WHERE sequence = 3",
    "DELETE FROM entries WHERE sequence > 1",
    "DELETE FROM entries",
    "UPDATE entries SET cost = 1 WHERE sequence = 2",
    "UPDATE entries SET cost = 1, cumulative = cumulative - 9 WHERE sequence = 3",
    "UPDATE entries SET study_total = 1",
    "UPDATE entries SET time = time - 40000000000000",
    "UPDATE entries SET time = 'yesterday' WHERE sequence = 3",
    "UPDATE entries SET epoch = 2",
    "UPDATE entries SET step = step + 10",
    "UPDATE entries SET request = 'x' WHERE sequence = 1",
    "UPDATE entries SET vector = x'00' WHERE sequence = 1",
    "UPDATE ledger SET created = 0",
]


@pytest.mark.parametrize("statement", TAMPERING)
def test_a_history_that_was_edited_is_refused(path: Path, statement: str) -> None:
    fill(path, range(3))
    with open_ledger(path) as ledger:
        for table in ("entries", "replies", "ledger"):
            for event in ("UPDATE", "DELETE"):
                ledger._database.rows(f"DROP TRIGGER {table}_{event}")
        ledger._database.rows("PRAGMA foreign_keys = OFF")
        ledger._database.rows(statement)
        if "created" not in statement:  # read once, when the ledger is opened
            with pytest.raises(LedgerError, match="expected"):
                ledger.verify()
    with pytest.raises(LedgerError, match="expected"):
        open_ledger(path)


def test_a_reply_that_was_edited_is_found_by_verify(path: Path) -> None:
    fill(path, range(3))
    with open_ledger(path) as ledger:
        ledger._database.rows("DROP TRIGGER replies_UPDATE")
        ledger._database.rows("UPDATE replies SET vector = x'00' WHERE sequence = 2")
        with pytest.raises(LedgerError, match="entry 2"):
            ledger.verify()


def test_replaced_and_forgotten_states_are_in_no_file(path: Path) -> None:
    rng = random.Random(3)  # noqa: S311  a fixed seed
    live: dict[tuple[str, str], bytes] = {}
    dead: list[bytes] = []
    with open_ledger(path) as ledger:
        for step in range(60):
            study, run = rng.choice("ab"), f"run {rng.randrange(8)}"
            mark = rng.randbytes(16)
            state = mark * rng.choice([2, 20, 100, 600])  # inside a page, and over several
            dead.extend([live[study, run]] if (study, run) in live else [])
            if rng.random() < 0.7:
                commit(ledger, debit(step, study=study, run=run), state=state, vector=bytes(2000))
            else:
                ledger.put_run_state(study, run, state)
            live[study, run] = mark
            if step % 20 == 19:
                ledger.forget_runs(study)
                dead += [live.pop(key) for key in [*live] if key[0] == study]
            content = b"".join(file.read_bytes() for file in path.parent.iterdir())
            assert not [mark for mark in dead if mark in content]
            assert all(mark in content for mark in live.values())  # so the search can find
