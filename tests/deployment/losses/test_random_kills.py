"""Custodians that are killed at random moments: no release without a debit, no second noise.

Real processes, homes and sockets, `kill -9`; the coordinator's own rounds drive them. Every
trial kills the process around one call, from before it is sent to after it was answered, and
every fourth one kills the next process while it starts.
"""

import os
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from tests.support.federations.beds import vouch_elsewhere
from tests.support.federations.killed_custodian import SENT, UNDONE, Victim
from tests.support.homes.institutions import NAMES, Coordinator, approve_all, clock, home_study

from fieldfare.client.custodian.answering import answer
from fieldfare.client.institution.open import Custody, open_custody
from fieldfare.client.journal.journal import verify
from fieldfare.client.node.client_app import client_app
from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.hello import RunTerms
from fieldfare.server.run.server_app import Job
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.clock import utc_now
from fieldfare.simulations.federation.grid import InProcessGrid

pytestmark = pytest.mark.promises  # one of its kind stands in `make faults`: test_faults_kills

# Each is 34 kills. `make faults` takes two, `make nightly PART=attacks` six: 204 kills.
SEEDS: Final = range(int(os.environ.get("FIELDFARE_KILL_SEEDS", "1")))
STEPS: Final = 15
CALLS: Final = 2 * (1 + STEPS + 1)  # rehearsal, steps, evaluation, each in two messages
RESTART_SECONDS: Final = 20.0  # on a machine with other work
FIRST_NODE: Final = 101


def job_of(coordinator: Coordinator, study: Study) -> Job:
    """A run as the coordinator carries it out."""
    return Job(
        RunTerms(
            plan=plan_for(study),
            roster=coordinator.roster(),
            signer=coordinator.signer,
            protection=Protection.EXACT,
            run="killed",
            last_replies={},
        )
    )


@pytest.fixture
def study() -> Study:
    return home_study(
        training__steps=STEPS, aggregation__opening="on", aggregation__participants="fixed"
    )


@pytest.fixture
def others(coordinator: Coordinator, study: Study) -> Iterator[dict[str, Custody]]:
    """The custodians that nobody kills, in this process; the victim has approved too."""
    vouch_elsewhere(coordinator.homes[NAMES[0]].path)  # else a start closes what waited
    with ExitStack() as stack:
        custodies = {
            name: stack.enter_context(open_custody(coordinator.institution(name), None, clock))
            for name in NAMES
        }
        approve_all(coordinator, list(custodies.values()), study)
        custodies.pop(NAMES[0]).ledger.close()
        yield custodies


@pytest.mark.parametrize("seed", SEEDS)
def test_a_custodian_that_is_killed_loses_nothing(
    coordinator: Coordinator,
    others: dict[str, Custody],
    study: Study,
    seed: int,
    tmp_path: Path,
) -> None:
    victim = Victim(coordinator, NAMES[0], study.id, np.random.default_rng(seed), tmp_path)
    custodians: dict[str, Any] = {victim.name: victim}
    custodians |= {name: custody.custodian for name, custody in others.items()}
    app = client_app(
        lambda context: partial(answer, custodians[str(context.node_config["institution"])])
    )
    nodes = {name: FIRST_NODE + index for index, name in enumerate(sorted(custodians))}
    try:
        victim.start()
        outcome = job_of(coordinator, study).run(GridChannel(InProcessGrid(app, nodes)))
    except Exception as error:
        error.add_note(f"seed {seed}, {victim.last}")
        raise
    finally:
        victim.kill()

    # Nobody but the victim's restarts took part in what the run came to.
    assert outcome.participants == NAMES
    # A death takes the keys of an opening along: an attempt is over, and another opening comes.
    assert 0 < outcome.attempts <= STEPS + 2
    assert len(victim.committed(whole=True)) == STEPS + 1
    assert victim.ends.total() >= CALLS
    verify(coordinator.homes[victim.name].log_folder)
    with open_custody(coordinator.institution(victim.name), None, utc_now) as custody:
        assert custody.ledger.spent() == outcome.spent
    median = statistics.median(victim.seconds)
    print(  # noqa: T201 -- what was measured; -rP shows it
        f"seed {seed}: {victim.ends.total()} calls and {victim.starts_killed} starts killed, "
        f"{dict(victim.ends)}; restart to answer: {min(victim.seconds):.2f} s at least, "
        f"{median:.2f} s median, {max(victim.seconds):.2f} s at most"
    )
    assert median < RESTART_SECONDS
    # Deaths between the two are in tests/security/losses/test_crash_points.py.
    assert {UNDONE, SENT} <= set(victim.ends)
