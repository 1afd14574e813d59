"""A home that was put back to an earlier day releases nothing: its own memories tell.

Attack C3 (`ledgeronly`) and its neighbours: what an owner of a backup can put back, alone or with
something else, and who notices.
"""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.institutions import (
    NAMES,
    NOW,
    Coordinator,
    OpenCustody,
    home_study,
)
from tests.support.homes.runs import finished_run

from fieldfare.client.home.keys import load_identity, public_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.institution.open import open_custody
from fieldfare.client.institution.restoring import accept_restore
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import (
    Journal,
    compare_heads,
    read,
    read_heads,
    sign_head,
    verify,
)
from fieldfare.client.ledger.restore import Acceptance
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.protocol.messages import IdentitySigner

NAME: Final = NAMES[0]


LEDGER: Final = ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm")
WITNESS: Final = "ledger.sqlite.witness"


def put_back(home: Home, backup: Path, *names: str) -> None:
    """Put files of a backup of `ledger/` in the place of the present ones."""
    for name in names:
        (home.ledger.parent / name).unlink(missing_ok=True)
        if (backup / name).exists():
            shutil.copy2(backup / name, home.ledger.parent / name)


@pytest.fixture
def backup(coordinator: Coordinator, custody_of: OpenCustody, tmp_path: Path) -> Path:
    """A copy of a home's `ledger/` from before a run that has finished since."""
    custodies = [custody_of(name) for name in NAMES]
    shutil.copytree(coordinator.homes[NAME].ledger.parent, tmp_path / "backup")
    finished_run(coordinator, custodies, home_study())
    for custody in custodies:
        custody.ledger.close()
        custody.journal.close()
    return tmp_path / "backup"


def start(coordinator: Coordinator, now: datetime = NOW) -> None:
    with open_custody(coordinator.institution(NAME), None, lambda: now):
        pass


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (LEDGER, "expected a history with entry .* head"),
        ((*LEDGER, WITNESS), "own log says was released"),
    ],
    ids=["the ledger alone", "the ledger and its witness, with a newer log"],
)
def test_an_older_ledger_does_not_start(
    coordinator: Coordinator, backup: Path, names: tuple[str, ...], said: str
) -> None:
    home = coordinator.homes[NAME]
    with open_ledger(home) as ledger:
        before = ledger.position()
    put_back(home, backup, *names)
    with pytest.raises(LedgerError, match=said) as caught:
        start(coordinator)
    assert "ledger accept-restore" in str(caught.value)

    # A person accepts it: what the log knows of is spent, and the custodian starts again.
    terms = Acceptance(user="ines", reason="the disk failed", kept=0)
    position = accept_restore(home, terms).position
    # Nobody knows any more who read which side: all debits count, as if each read all units.
    assert (position.epoch, position.cumulative) == (2, before.debited)
    assert position.cumulative > before.cumulative
    start(coordinator)


def test_a_witness_elsewhere_stops_a_home_that_was_put_back_whole(
    coordinator: Coordinator, backup: Path, tmp_path: Path
) -> None:
    """Ledger and log are of one day: only what lies on another disk knows better."""
    home = coordinator.homes[NAME]
    elsewhere = tmp_path / "another disk"
    elsewhere.mkdir()
    (home.ledger.parent / WITNESS).rename(elsewhere / "bank-a.witness")
    with pytest.raises(LedgerError, match="found none: mount its disk"):
        start(coordinator)
    coordinator.edit(home.settings, 'witness = ""', f'witness = "{elsewhere}/bank-a.witness"')
    start(coordinator)
    put_back(home, backup, *LEDGER)
    shutil.rmtree(home.log_folder)
    home.log_folder.mkdir(mode=0o700)
    with pytest.raises(LedgerError, match="restored from an older copy"):
        start(coordinator)


def test_a_log_that_was_rewritten_to_fit_an_older_ledger_is_found_by_an_exported_head(
    coordinator: Coordinator, backup: Path
) -> None:
    """Whoever has the account hides a run everywhere; the collector's line still names it."""
    home = coordinator.homes[NAME]
    signer = IdentitySigner(load_identity(home, None))
    exported = sign_head(verify(home.log_folder), NAME, signer, NOW)
    heads = read_heads(exported, NAME, [public_identity(home)])
    assert compare_heads(home.log_folder, heads) == verify(home.log_folder)

    kept = [entry for entry in read(home.log_folder) if entry.event is not Event.RELEASE]
    home.log.unlink()
    with Journal.open(home.log_folder, clock=lambda: NOW) as journal:
        for entry in kept:
            journal.append(entry.event, entry.actor, **entry.details)
    put_back(home, backup, *LEDGER, WITNESS)
    start(coordinator)  # everything on this machine agrees
    with pytest.raises(LedgerError, match="the log was cut, or restored from an older copy"):
        compare_heads(home.log_folder, heads)
    with Journal.open(home.log_folder, clock=lambda: NOW) as journal:
        while journal.append(Event.START, "ines").sequence < heads[0].entries:
            pass
    with pytest.raises(LedgerError, match="the log was rewritten"):
        compare_heads(home.log_folder, heads)


@pytest.mark.usefixtures("backup")
def test_a_clock_that_jumped_waits_for_a_person(coordinator: Coordinator) -> None:
    """Attack M6: a year ahead would be a year's budget anew."""
    start(coordinator)
    for days in (101, 366, -2):
        then = NOW + timedelta(days=days)
        with pytest.raises(LedgerError, match="institution ledger clock"):
            start(coordinator, then)
    home = coordinator.homes[NAME]
    with Journal.open(home.log_folder, clock=lambda: then) as journal:
        journal.append(Event.CLOCK, "ines", user="ines")  # as `ledger clock` does
    start(coordinator, then)
