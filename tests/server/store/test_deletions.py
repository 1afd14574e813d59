"""What was deleted of runs stays written down, and a statement follows the last vector."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.server.store import deletions
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import RUN_STORE, RunStore, run_store
from fieldfare.shared.errors import RunError
from fieldfare.shared.protocol.deletion import read_deletions
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
KEY: Final = Ed25519PrivateKey.generate()
SIGNER: Final = IdentitySigner(KEY)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with run_store(tmp_path / "runs.sqlite") as opened:
        yield opened


def add_run(store: RunStore, number: int, ended: datetime, vectors: int = 2) -> list[str]:
    """A run that ended, with vectors; returns their hashes."""
    run, contents = f"run-{number}", [b"%d of %d" % (one, number) for one in range(vectors)]
    blobs = {hashlib.sha256(content).hexdigest(): content for content in contents}
    store.create(run, f"{number % 16:x}" * 64, ended)
    store.append(run, [Leaf(LeafKind.REPLY, b"reply")], blobs=blobs)
    store.set_state(run, RunStatus.FINISHED, "", ended)
    return sorted(blobs)


def test_a_statement_says_what_was_deleted_and_why(store: RunStore) -> None:
    first = add_run(store, 1, NOW - timedelta(days=50))
    second = add_run(store, 2, NOW - timedelta(days=40), vectors=350)
    add_run(store, 3, NOW - timedelta(days=3))
    assert store.purge(NOW - timedelta(days=30), "30 days") == 352
    assert store.unstated_deletions() == 2
    assert store.state_deletions(SIGNER, NOW) == 2
    assert (store.state_deletions(SIGNER, NOW), store.unstated_deletions()) == (0, 0)
    content = b"\n".join(store.deletion_statements())
    one, other = read_deletions(content, (), (public_hex(KEY),))
    assert (one.subject, list(one.hashes), one.study) == ("run-1", first, "1" * 64)
    assert (other.subject, list(other.hashes), other.rule) == ("run-2", second, "30 days")
    assert other.time == int(NOW.timestamp())


def test_nothing_is_stated_before_the_last_vector_is_gone(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(store, 1, NOW - timedelta(days=50))
    with monkeypatch.context() as killed:  # between the mark and the deletions
        killed.setattr(deletions, "_PURGE_SOME", "DELETE FROM blobs WHERE 0")
        assert store.purge(NOW) == 0
    assert store.row("run-1").purged
    assert (store.state_deletions(SIGNER, NOW), store.unstated_deletions()) == (0, 1)
    assert store.purge(NOW) == 2
    assert store.state_deletions(SIGNER, NOW) == 1


def test_a_run_of_more_vectors_than_a_statement_names_holds_up_no_other(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(store, 1, NOW - timedelta(days=50), vectors=3)
    add_run(store, 2, NOW - timedelta(days=40), vectors=2)
    monkeypatch.setattr(deletions, "MOST_HASHES", 2)
    assert store.purge(NOW) == 5
    assert (store.state_deletions(SIGNER, NOW), store.unstated_deletions()) == (1, 1)


def test_a_run_without_vectors_has_nothing_to_state(store: RunStore) -> None:
    add_run(store, 1, NOW - timedelta(days=50), vectors=0)
    assert (store.purge(NOW), store.unstated_deletions()) == (0, 0)


def test_deletions_and_statements_are_only_added(tmp_path: Path) -> None:
    with run_store(tmp_path / "runs.sqlite") as store:
        add_run(store, 1, NOW - timedelta(days=50))
        store.purge(NOW)
        store.state_deletions(SIGNER, NOW)
    with Database(RUN_STORE, tmp_path / "runs.sqlite", busy_seconds=0.05) as tables:
        for table in ("deletions", "deletion_statements"):
            for act in (f"DELETE FROM {table}", f"UPDATE {table} SET run = 'x'"):
                with pytest.raises(RunError, match=r"stays so|only added"):
                    tables.rows(act)


def test_two_years_of_runs_keep_no_more_vectors_than_their_time(
    store: RunStore, tmp_path: Path
) -> None:
    kept, sizes = timedelta(days=30), []
    for day in range(0, 730, 10):
        now = NOW + timedelta(days=day)
        number = day // 10
        add_run(store, number, now, vectors=20)
        store.purge(now - kept)
        store.state_deletions(SIGNER, now)
        here = [one for one in range(number + 1) if store.blob_names(f"run-{one}")]
        assert len(here) <= 4
        sizes.append(sum(one.stat().st_size for one in tmp_path.glob("runs.sqlite")))
    assert (
        len(read_deletions(b"\n".join(store.deletion_statements()), (), (public_hex(KEY),))) == 69
    )
    growth = (sizes[-1] - sizes[10]) / 62  # what stays of a run: rows, hashes, its statement
    assert growth < 8_000
