"""Backups at random moments of runs, restored: nothing is released twice, nothing forgotten.

Three of them in `make faults`, thirty in `make nightly PART=operate`. Homes, ledgers, custodians
and backups are the real ones; the coordinator is the test.
"""

import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from tests.support.homes.institutions import (
    NAMES,
    Coordinator,
    OpenCustody,
    clock,
    heard,
    home_study,
)
from tests.support.homes.runs import finished_run

from fieldfare.client.home.comparisons import keep_compared
from fieldfare.client.home.layout import Home
from fieldfare.client.institution.backing_up import back_up, take_recovery_key
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.institution.restored_home import RestoreTerms, restore
from fieldfare.client.ledger.budget import LedgerEntry, Position
from fieldfare.shared.party.home_copies import BackupSource, WrittenBackup
from fieldfare.shared.party.recovery_key import RecoveryPrivate

TURNS: Final = 30 if os.environ.get("FIELDFARE_OPERATE_LONG") else 3
NAME: Final = NAMES[0]
KEY: Final = RecoveryPrivate.generate()
LONGEST: Final = 3.0  # seconds; some backups come after the run, which is a moment too

pytestmark = pytest.mark.faults


def entries(home: Home) -> tuple[Position, dict[str, LedgerEntry]]:
    with open_ledger(home) as ledger:
        ledger.verify()
        return ledger.position(), {one.debit.request: one for one in ledger.entries()}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(TURNS))
def test_a_backup_of_any_moment_releases_nothing_twice_and_forgets_nothing(
    coordinator: Coordinator, custody_of: OpenCustody, tmp_path: Path, seed: int
) -> None:
    home, file = coordinator.homes[NAME], tmp_path / "a.backup"
    take_recovery_key(home, KEY.public.content, "recovery.pub", "ines", clock)
    custodies = [custody_of(name) for name in NAMES]
    made: list[WrittenBackup] = []

    def back_up_later() -> None:
        time.sleep(float(np.random.default_rng(seed).uniform(0, LONGEST)))
        made.append(back_up(home, file, "ines", clock))

    thread = threading.Thread(target=back_up_later)
    thread.start()
    first = finished_run(coordinator, custodies, home_study())  # no request was refused meanwhile
    thread.join()
    for custody in custodies:
        custody.ledger.close()
        custody.journal.close()
    lost, before = entries(home)
    facts = made[0].header.facts
    kept = {name for name, one in before.items() if one.position.sequence <= int(facts["sequence"])}

    # The newest witness is all that is left of the home.
    witness = home.ledger.with_name("ledger.sqlite.witness")
    terms = RestoreTerms(
        user="ines", reason="the disk failed", study=home_study().id, witness=witness
    )
    done = restore(BackupSource(file, KEY), tmp_path / "new", terms, clock)
    position, after = entries(done.home)
    assert position.epoch == lost.epoch + 1
    assert position.debited == lost.debited, "what was spent since the backup counts, once"
    assert set(after) == kept, "all that was before the backup is here, and nothing else"
    assert all(after[name].vector == before[name].vector for name in kept)

    # Members accept the new key, and a study runs with everybody; audit and peers agree.
    coordinator.homes[NAME] = done.home
    (done.home.path / "records.csv").write_bytes((home.path / "records.csv").read_bytes())
    coordinator.roster = partial(coordinator.roster, version=2)  # type: ignore[method-assign]
    coordinator.pin()
    for name, each in coordinator.homes.items():
        members = coordinator.roster().members
        keep_compared(each, [heard(one) for one in members if one.id != name])
    again = [custody_of(name) for name in NAMES]
    second = finished_run(coordinator, again, home_study(name="second", privacy__epsilon=1.0))
    for run in (first, second):
        report = run.audit()
        assert report.misfit is None
        assert set(report.cosigned) == set(NAMES)
    end, released = entries(done.home)
    fresh = set(released) - kept
    assert fresh
    assert not fresh & set(before), "a request was answered by the lost home and by the new one"
    assert end.epoch == position.epoch
    assert end.debited > position.debited
