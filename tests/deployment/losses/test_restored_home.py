"""A home that is put back between two runs, ledger and log together, among real processes.

The coordinator holds back what it has: only the peers tell.
"""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from tests.support.federations.beds import NAMES, check_whole, running, small_bed

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import read
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.errors import RunError
from fieldfare.simulations.demo.testbed import Bed

pytestmark = pytest.mark.promises  # test_restored_homes and test_recall say it in one process

VICTIM: Final = NAMES[0]
STEPS: Final = 2


def put_back(bed: Bed, backup: Path) -> None:
    """Restore ledger, witness and log of a home whose processes have ended."""
    home = Home(bed.home(VICTIM))
    for folder in (home.ledger.parent, home.log_folder):
        shutil.rmtree(folder)
        shutil.copytree(backup / folder.name, folder)


def forget(path: Path, table: str) -> None:
    """Make somebody forget the replies that it has seen."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"DELETE FROM {table} WHERE institution = ?", (VICTIM,))


def spent(bed: Bed, study: str, names: Sequence[str] = NAMES) -> list[int]:
    found = []
    for name in names:
        with open_ledger(Home(bed.home(name))) as ledger:
            ledger.verify()
            found.append(ledger.spent(study))
    return found


def test_a_home_that_was_put_back_stops_or_pays_what_its_peers_tell(tmp_path: Path) -> None:
    bed = small_bed(tmp_path, steps=STEPS)
    text = bed.study.read_text().replace(
        "delta = 1e-5", f"delta = 1e-5\nspare_releases = {2 * STEPS}"
    )
    bed.study.write_text(text.replace("score_bins = 8", "score_bins = 8\nspare_releases = 2"))
    home, store = Home(bed.home(VICTIM)), CoordinatorHome(bed.coordinator_home).runs_database
    with running(bed):
        study = bed.agree()
        bed.stop_one(VICTIM)
        for folder in (home.ledger.parent, home.log_folder):
            shutil.copytree(folder, tmp_path / "backup" / folder.name)
        bed.start_institution(VICTIM)
        bed.until_connected()
        check_whole(bed, bed.until_ended(bed.run(study)))
        before = spent(bed, study)
        assert before == [before[0]] * len(NAMES)
        with open_ledger(Home(bed.home(NAMES[1]))) as ledger:
            debited = ledger.position().debited

        # Peers saw replies of the steps: the home stops, and says what to do.
        bed.stop()
        put_back(bed, tmp_path / "backup")
        forget(store, "last_replies")
        bed.start()
        row = bed.until_ended(bed.run(study))
        assert row.state is RunStatus.FAILED
        assert "the others remember of it (refused: ledger_unavailable)" in row.reason
        with pytest.raises(RunError, match="accept-restore"):
            bed.institution(VICTIM, "ledger")
        assert spent(bed, study, NAMES[1:]) == before[1:]

        # Peers that were shown no reply know what they opened: it is paid before the run begins.
        bed.stop()
        put_back(bed, tmp_path / "backup")
        forget(store, "last_replies")
        for name in NAMES[1:]:
            forget(Home(bed.home(name)).ledger, "peers")
        assert spent(bed, study) == [0, *before[1:]]
        bed.start()
        check_whole(bed, bed.until_ended(bed.run(study)))
        # What is told says nothing of sides: at the victim each debit counts as if it read all.
        assert spent(bed, study) == [debited + before[0], 2 * before[1], 2 * before[2]]
        told = [entry for entry in read(home.log_folder) if entry.event is Event.TOLD]
        assert len(told) == STEPS + 1
        with open_ledger(home) as ledger:
            asked = {entry.details["fingerprint"] for entry in told}
            assert asked == {one.request for one in ledger._store.told()}
