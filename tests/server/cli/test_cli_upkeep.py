"""`coordinator export transcript` and `purge`, as a user calls them."""

import hashlib
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.homes.keyed_coordinators import KeyedCoordinator, said
from tests.support.network.coordinator import running_superlink

from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.cli.root import run
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

VECTOR = b"a masked vector" * 100


@pytest.fixture
def ended(keyed: KeyedCoordinator) -> KeyedCoordinator:
    """A coordinator with one run that ended eleven years ago and one that ended yesterday."""
    with keyed.store() as store:
        for run, days in (("old", 4000), ("recent", 1)):
            at = datetime.now(UTC) - timedelta(days=days)
            store.create(run, keyed.study.id, at)
            blobs = {hashlib.sha256(VECTOR + run.encode()).hexdigest(): VECTOR + run.encode()}
            store.append(run, [Leaf(LeafKind.ROSTER, b"{}")], blobs=blobs)
            store.set_state(run, RunStatus.FINISHED, "", at)
    return keyed


def test_a_transcript_is_exported(
    ended: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ended.folder / "a recent.transcript"
    assert ended.command("export", "transcript", "rec", "--out", str(out)) == 0
    said_lines = capsys.readouterr().out.splitlines()
    assert said_lines[0] == f"{out}: 1 leaves and 1 masked vectors of recent, co-signed by 0"
    assert said_lines[-1] == f"Next: fieldfare audit transcript '{out}'"
    assert out.read_bytes().startswith(b'{"format":1,"run":"recent"')
    assert ended.command("export", "transcript", "recent", "--out", str(out)) == 2
    out.unlink()
    assert ended.command("export", "transcript", "recent", "--out", str(out), "--json") == 0
    found = said(capsys)
    assert (found["run"], found["leaves"], found["vectors"]) == ("recent", 1, 1)


def test_vectors_are_purged_when_their_time_is_over(
    ended: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended.command("purge", "--json") == 0
    assert said(capsys) == {
        "retention_days": 3650,
        "vectors": 1,
        "statements": 1,
        "unstated": 0,
        "superlink_rows": 0,
    }
    with ended.store() as store:
        assert (len(store.blob_names("old")), len(store.blob_names("recent"))) == (0, 1)
    out = ended.folder / "old.transcript"
    assert ended.command("export", "transcript", "old", "--out", str(out)) == 0
    assert "masked vectors were deleted at the end of their time" in capsys.readouterr().out
    settings = ended.home.settings.read_text()
    ended.home.settings.write_text(settings.replace("= 3650", "= 1"))
    with ended.store() as store:
        store.set_state("recent", RunStatus.FINISHED, "", datetime.now(UTC) - timedelta(days=2))
    assert ended.command("purge") == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 masked vectors of runs that ended more than 1 days ago deleted",
        "1 statement of deletion signed",
        "0 rows of ended runs deleted from the SuperLink's own state",
    ]


@pytest.mark.promises
def test_a_superlinks_state_is_purged_too(
    keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_superlink(keyed.home):
        assert keyed.command("purge", "--json") == 0
    assert said(capsys)["superlink_rows"] == 0
    with closing(sqlite3.connect(keyed.home.superlink_database)) as link:
        link.execute("DROP TABLE message_res")
    assert keyed.command("purge") == 1
    assert "could not be purged now" in capsys.readouterr().err


def test_statements_of_deletion_are_written_and_checked(
    ended: KeyedCoordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    file, transcript = ended.folder / "deletions", ended.folder / "t"
    assert ended.command("deletions", "--out", str(file)) == 2
    assert "nothing was deleted yet" in capsys.readouterr().err
    assert ended.command("export", "transcript", "old", "--out", str(transcript)) == 0
    assert ended.command("purge") == 0
    assert ended.command("deletions", "--out", str(file)) == 0
    assert "1 statement of deletion" in capsys.readouterr().out
    roster = ("--roster", str(ended.home.roster))
    assert run(["audit", "deletions", str(file), *roster]) == 0
    assert "1 statement of coordinator, none missing before the last" in capsys.readouterr().out
    assert run(["audit", "deletions", str(file), *roster, "--json"]) == 0
    assert said(capsys)["statements"][0]["subject"] == "old"
    # A copy that was exported before refutes it.
    assert run(["audit", "deletions", str(file), *roster, "--transcript", str(transcript)]) == 1
    assert "REFUTED: 1 stated as deleted are in the transcript" in capsys.readouterr().out
    whose = ("--party", "coordinator")
    assert run(["audit", "deletions", str(file), "--key", "0" * 64, *whose]) == 1
    assert run(["audit", "deletions", str(file), *roster, "--party", "bank-a"]) == 1
    assert run(["audit", "deletions", str(file), "--key", "odd"]) == 2
    assert run(["audit", "deletions", str(file)]) == 2
