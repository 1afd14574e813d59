"""A member lies in the rehearsal of a real deployment: everybody comes to its name."""

import json
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.federations.beds import NAMES, small_bed
from tests.support.federations.outages import picture

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.audit.verdict import AuditVerdict
from fieldfare.simulations.demo.testbed import COMMAND, Bed

pytestmark = pytest.mark.faults

LIAR: Final = NAMES[-1]
NAMED: Final = f"rehearsal failed: {LIAR}'s masked zeros do not follow from its keys"
# Runs `-I -m MODULE ...` as Python does, with a custodian that adds one to all that it masks.
PYTHON: Final = """\
#!{python} -I
import runpy, sys
import numpy as np
from fieldfare.client.custodian.release import Door
from fieldfare.shared.ring import add

honest = Door._masked
Door._masked = lambda door, vector, keys, request, terms: add(
    honest(door, vector, keys, request, terms), np.uint64(1), terms.word_bits
)
sys.argv = sys.argv[3:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
PROGRAM: Final = """\
#!{python} -I
import sys
from fieldfare.shared.cli.root import main

sys.executable = {lying!r}
main()
"""


def lying_program(folder: Path) -> Path:
    """The command, whose custodians lie."""
    paths = folder / "lying-python", folder / "lying-fieldfare"
    for path, text in zip(paths, (PYTHON, PROGRAM), strict=True):
        path.write_text(text.format(python=sys.executable, lying=str(paths[0])))
        path.chmod(0o755)
    return paths[1]


def verified(bed: Bed, name: str, transcript: Path) -> dict[str, Any]:
    """What a member's own check says; nobody co-signs a run that is over."""
    home = str(bed.home(name))
    command = ["institution", "verify", str(transcript), "--json", "--home", home]
    done = bed.command(command)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == AuditVerdict.NOT_COSIGNED.value
    return found


def test_a_lying_member_is_named_by_coordinator_auditor_and_members(tmp_path: Path) -> None:
    bed = small_bed(tmp_path, steps=2)
    bed.found()
    try:
        bed.start_coordinator()
        for name in NAMES:
            bed.program = lying_program(tmp_path) if name == LIAR else COMMAND
            bed.start_institution(name)
        bed.until_connected()
        run = bed.run(bed.agree())
        row = bed.until_ended(run)
        assert row.state is RunStatus.FAILED
        assert row.reason == f"{NAMED}; no budget was spent; start another run"
        bed.coordinator("run", "resume", run)
        assert bed.until_ended(run).reason == row.reason
        blame = {"named": {LIAR: "masks"}, "unchecked": []}
        transcript = bed.transcript(run)
        assert bed.audit(transcript)["blame"] == blame
        assert NAMED in str(picture(bed, run))
        for name in NAMES:
            assert verified(bed, name, transcript)["blame"] == blame
            with open_ledger(Home(bed.home(name))) as ledger:
                assert ledger.spent() == 0
    finally:
        bed.stop()
