"""Backups by the command while real processes run, then SIGKILL for all of them, then restored.

Custodian, node, SuperLink and the run's own process die at one moment, a while after the backup of
a running study; the home is gone, and its witness is what is left. Only at night.
"""

import os
import shutil
import time
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from tests.support.federations.beds import NAMES, running, small_bed
from tests.support.federations.outages import begin, kill_everything, until_step

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.ledger.budget import LedgerEntry, Position
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.errors import RunError
from fieldfare.simulations.demo.testbed import Bed

TURNS: Final = 3
VICTIM: Final = NAMES[0]
STEPS: Final = 12
LONGEST: Final = 2.0  # seconds between the backup and the kill, and before the backup

pytestmark = [
    pytest.mark.promises,
    pytest.mark.skipif(
        not os.environ.get("FIELDFARE_OPERATE_LONG"), reason="a part of make nightly PART=operate"
    ),
]


def entries(home: Home) -> tuple[Position, dict[str, LedgerEntry]]:
    with open_ledger(home) as ledger:
        ledger.verify()
        return ledger.position(), {one.debit.request: one for one in ledger.entries()}


def with_recovery_keys(bed: Bed, folder: Path) -> Path:
    """Give both homes a recovery key; returns its private half."""
    key = folder / "recovery.key"
    bed.fieldfare("recovery", "key", str(key))
    for home in (bed.home(VICTIM), bed.coordinator_home):
        bed.fieldfare("recovery", "take", f"{key}.pub", "--home", str(home))
    return key


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(TURNS))
def test_a_killed_federation_is_restored_from_backups_of_a_running_study(
    tmp_path: Path, seed: int
) -> None:
    bed = small_bed(tmp_path, steps=STEPS)
    random = np.random.default_rng(seed)
    home, files = Home(bed.home(VICTIM)), [tmp_path / "a.backup", tmp_path / "c.backup"]
    with running(bed):
        key = with_recovery_keys(bed, tmp_path)
        run = begin(bed, "killed", steps=STEPS)
        until_step(bed, run, 1)
        time.sleep(float(random.uniform(0, LONGEST)))
        bed.fieldfare("backup", str(files[0]), "--home", str(home.path))
        bed.fieldfare("backup", str(files[1]), "--home", str(bed.coordinator_home))
        time.sleep(float(random.uniform(0, LONGEST)))
        kill_everything(bed)
        lost, before = entries(home)
        witness = tmp_path / "witness"
        shutil.copy(home.ledger.with_name("ledger.sqlite.witness"), witness)
        home.path.rename(tmp_path / "lost")
        terms = ["--recovery-key", str(key), "--reason", "the disk failed"]
        words = ["restore", str(files[0]), *terms, "--home", str(home.path)]
        bed.fieldfare(*words, "--witness", str(witness))
        position, after = entries(home)
        assert position.epoch == lost.epoch + 1
        assert position.debited == lost.debited, "what was spent since the backup counts, once"
        assert set(after) <= set(before), "nothing that was not there"
        assert all(after[name].vector == before[name].vector for name in after)
        assert "ledger verified" in bed.institution(VICTIM, "verify", "ledger")

        store = bed.coordinator_home
        store.rename(tmp_path / "lost-coordinator")
        bed.fieldfare("restore", str(files[1]), *terms, "--home", str(store))
        assert not bed.row(run).state.ended or bed.row(run).state is not RunStatus.FINISHED
        with pytest.raises(RunError, match="restored"):
            bed.coordinator("run", "resume", run)
        assert entries(home)[0] == position, "and the new home answered nothing"
