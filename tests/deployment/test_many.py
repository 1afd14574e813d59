"""Many institutions at one coordinator, all of them processes on this machine.

Twelve in make nightly PART=promises, twenty in PART=operate.
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.benchmarks.deployed import new_bed, trained
from tests.support.federations.beds import check_whole

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.superlink.gate import FLEET, RUNTIME
from fieldfare.simulations.demo.testbed import Bed

INSTITUTIONS: Final = 20 if os.environ.get("FIELDFARE_OPERATE_LONG") else 12
STEPS: Final = 10
# Of one institution for one exchange, however many others there are; 3 of them need as many.
CARRIED: Final = 16  # calls that carry a message: both ways, in objects, each confirmed
LOOKS: Final = 60  # by which its node finds out that there is one
RUN_CALLS: Final = 10  # of the run's own process
BY_TIME: Final = ("send-node-heartbeat", "send-task-heartbeat", "acquire-task")

pytestmark = pytest.mark.promises  # minutes, on few cores; smaller deployments are in the gate


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: sockets lie below it."""
    made = Path(tempfile.mkdtemp(prefix="ff-"))
    yield made
    shutil.rmtree(made)


def calls(bed: Bed) -> Counter[str]:
    """How often the coordinator was called, by path, by its audit log; not what time alone asks."""
    found: Counter[str] = Counter()
    for line in CoordinatorHome(bed.coordinator_home).audit_log.read_text("utf-8").splitlines():
        said = json.loads(line)
        if not said["path"].endswith(BY_TIME):
            found[said["path"]] += said.get("calls", 1)
    return found


def test_many_institutions_finish_ten_steps(folder: Path) -> None:
    """The whole of it for each: custodian, node, ledger, TLS; an audited model in the end.

    The coordinator's work is counted, not timed: it grows with institutions, not with their square.
    """
    bed = new_bed(folder / "many", INSTITUTIONS, STEPS)
    bed.found()
    seen = trained(bed)
    report = check_whole(bed, bed.row(seen.run))
    assert report["steps"] == STEPS
    assert len(report["institutions"]) == INSTITUTIONS
    assert report["failed_attempts"] == 0
    assert len(seen.seconds) == STEPS - 1

    made = calls(bed)
    answers = made[FLEET + "push-messages"]  # institutions times exchanges
    assert answers >= INSTITUTIONS * (STEPS + 2)  # steps, a rehearsal, an evaluation
    looks = made.pop(FLEET + "pull-messages")
    assert looks <= LOOKS * answers
    assert sum(made[path] for path in made if path.startswith(FLEET)) <= CARRIED * answers
    assert sum(made[path] for path in made if path.startswith(RUNTIME)) <= RUN_CALLS * answers
