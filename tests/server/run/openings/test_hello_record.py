from datetime import UTC, datetime
from pathlib import Path

from fieldfare.server.run.record import RunCheckpoint
from fieldfare.server.run.store_record import HelloRecord
from fieldfare.server.store.store import run_store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_hello_keeps_who_says_what_to_a_study_and_nothing_of_a_run(tmp_path: Path) -> None:
    with run_store(tmp_path / "runs.sqlite") as store:
        record = HelloRecord(store, "a" * 64, lambda: NOW)
        record.answered_hello("bank-a", "approved", b"signed")
        record.answered_hello("bank-b", "refused with unknown_study", b"")
        record.note_action("bank-a", "answered")
        found = store.approvals("a" * 64)
        assert {name: (row.text, row.envelope) for name, row in found.items()} == {
            "bank-a": ("approved", b"signed"),
            "bank-b": ("refused with unknown_study", b""),
        }
        assert all(row.at == NOW for row in found.values())
        assert store.rows() == ()
        assert record.checkpoint().openings == RunCheckpoint().openings
