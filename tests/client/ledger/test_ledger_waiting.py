"""An answer that waits: what took its place is in no file, and what peers showed stands with it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from fieldfare.client.ledger.budget import Debit, Limits
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.peers import PeerRows
from fieldfare.client.ledger.pending import PendingAnswer
from fieldfare.shared.errors import LedgerError, PolicyRefusal, RefusalCode

SEED: Final = b"a seed that nobody may ever read"
NEXT: Final = b"the seed of the later attempt..."


def open_ledger(path: Path) -> Ledger:
    limits = Limits(yearly_picomu2=1_000, lifetime_picomu2=2_000)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Ledger.open(
        path, population="units", limits=limits, clock=lambda: now, busy_timeout=0.05
    )


def answer(seed: bytes, attempt: int = 0, step: int = 0, run: str = "r") -> PendingAnswer:
    return PendingAnswer(
        study="s",
        run=run,
        step=step,
        attempt=attempt,
        request=f"{step:032x}{attempt:032x}",
        cost=10,
        commitment=b"c",
        vector=b"v",
        seed=seed,
    )


def keep(ledger: Ledger, one: PendingAnswer) -> None:
    ledger.keep_waiting(one, check=lambda _: None, run_states={})


def opened(ledger: Ledger, one: PendingAnswer) -> None:
    debit = Debit(
        study="s",
        run="r",
        step=one.step,
        attempt=one.attempt,
        kind="training",
        request=one.request,
        cost=one.cost,
    )
    ledger.commit_waiting(
        debit, study_limit=100, max_attempts=2, sign=lambda waits, _: waits.commitment
    )


def found(path: Path, secret: bytes) -> bool:
    return any(secret in file.read_bytes() for file in path.parent.iterdir())


def log_bytes(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


@contextmanager
def reader_of(path: Path) -> Iterator[None]:
    """Another program that reads what waits, and keeps the log from being emptied."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM pending").fetchall()
        yield


def test_a_seed_that_a_later_attempt_replaced_is_in_no_file(tmp_path: Path) -> None:
    path = tmp_path / "units.ledger"
    with open_ledger(path) as ledger:
        keep(ledger, answer(SEED))
        assert found(path, SEED)  # so the search can find it
        keep(ledger, answer(NEXT, attempt=1))
        assert not found(path, SEED)
        assert found(path, NEXT)


def test_a_step_after_an_opened_one_leaves_the_log_to_its_debit(tmp_path: Path) -> None:
    path = tmp_path / "units.ledger"
    with open_ledger(path) as ledger:
        keep(ledger, answer(SEED))
        opened(ledger, answer(SEED))
        assert (found(path, SEED), log_bytes(path)) == (False, 0)
        keep(ledger, answer(NEXT, step=1))
        assert log_bytes(path) > 0
        opened(ledger, answer(NEXT, step=1))
        assert (found(path, NEXT), log_bytes(path)) == (False, 0)


def test_a_reader_in_the_way_of_the_erasure_keeps_the_answer_in(tmp_path: Path) -> None:
    path = tmp_path / "units.ledger"
    with open_ledger(path) as ledger:
        keep(ledger, answer(SEED))
        with reader_of(path):
            for _ in range(2):  # the second time nothing is replaced any more
                with pytest.raises(LedgerError, match="another process reading"):
                    keep(ledger, answer(NEXT, attempt=1))
        assert found(path, SEED)
        keep(ledger, answer(NEXT, attempt=1))
        assert not found(path, SEED)


def test_another_that_finds_the_answer_kept_erases_what_it_replaced(tmp_path: Path) -> None:
    path = tmp_path / "units.ledger"
    with open_ledger(path) as ledger, open_ledger(path) as other:
        keep(ledger, answer(SEED))
        with reader_of(path), pytest.raises(LedgerError, match="another process reading"):
            keep(ledger, answer(NEXT, attempt=1))
        assert found(path, SEED)
        keep(other, answer(NEXT, attempt=1))
        assert not found(path, SEED)


def test_no_answer_leaves_before_a_failed_erasure_was_made_good(tmp_path: Path) -> None:
    path = tmp_path / "units.ledger"
    with open_ledger(path) as ledger:
        keep(ledger, answer(SEED))
        with reader_of(path):
            with pytest.raises(LedgerError, match="another process reading"):
                ledger.forget_run("s", "r", [])
            with pytest.raises(LedgerError, match="another process reading"):
                keep(ledger, answer(NEXT, run="r-2"))
        assert found(path, SEED)
        keep(ledger, answer(NEXT, run="r-3"))
        assert not found(path, SEED)


def test_what_peers_showed_is_kept_with_the_answer_or_not_at_all(tmp_path: Path) -> None:
    def showing(rows: PeerRows) -> None:
        rows.put_replies({"b": b"a signed reply"})

    def refusing(rows: PeerRows) -> None:
        showing(rows)
        raise PolicyRefusal(RefusalCode.KEYS_GONE, "expected keys")

    path = tmp_path / "units.ledger"
    with open_ledger(path) as ledger:
        with pytest.raises(PolicyRefusal):
            ledger.keep_waiting(answer(SEED), check=refusing, run_states={})
        with ledger.peers() as rows:
            assert rows.replies() == {}
        ledger.keep_waiting(answer(SEED), check=showing, run_states={})
    with open_ledger(path) as ledger, ledger.peers() as rows:
        assert rows.replies() == {"b": b"a signed reply"}
