"""Nodes that are killed at random moments: whatever is asked again gets the same bytes, once paid.

A real SuperLink, real nodes, real custodians behind real sockets; `kill -9`. Two things are
simulated in the many trials, so that none of them waits for a minute: the end of the dead
node's lease is written into the SuperLink's database, and the coordinator's clock jumps to the
moment at which it asks again once the node is back. One trial waits for both, with
`institution node` at work.
"""

import os
import signal
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

import numpy as np
import pytest
from flwr.serverapp import Grid
from tests.deployment.conftest import BANKS, Nodes, nodes_at
from tests.support.federations.bench import Bench, make_study, make_sums
from tests.support.federations.killed_node import HEARD, UNASKED, KillingGrid, NodeProcess, Recorded
from tests.support.network.superlink import Superlink
from tests.support.system.processes import children

from fieldfare.server.run.channel import SILENT_SHARE, GridChannel
from fieldfare.server.run.server_app import Outcome
from fieldfare.server.superlink.superlink import server_task
from fieldfare.shared.privacy.protection import Protection
from fieldfare.simulations.federation.federation import LocalFederation

pytestmark = pytest.mark.promises  # one of its kind stands in `make faults`: test_faults_kills

SEEDS: Final = range(int(os.environ.get("FIELDFARE_KILL_SEEDS", "1")))
STEPS: Final = 23
RELEASES: Final = 1 + STEPS + 1  # rehearsal, steps, evaluation
DEADLINE_SECONDS: Final = 120.0  # nobody waits for it: the clock jumps
VICTIM: Final = BANKS[0]
RESTART_SECONDS: Final = 20.0  # on a machine with other work
LEASE_SECONDS: Final = 120.0  # Flower's 60, a pause of 30, and this machine's own time


def bench_of(folder: Path, steps: int, deadline_seconds: float) -> Bench:
    study = make_study(
        training={"steps": steps}, aggregation={"deadline_seconds": deadline_seconds}
    )
    sums = {name: make_sums(study, 100, seed=i) for i, name in enumerate(BANKS)}
    return Bench(LocalFederation(study, sums, Protection.EXACT, seed=0, directory=folder), sums)


@contextmanager
def coordinator(superlink: Superlink) -> Iterator[Grid]:
    """A run, seen as the coordinator's own process sees it."""
    token = superlink.start_run()
    with server_task(superlink.address, superlink.authority.read_bytes(), token) as task:
        yield task.grid


def check_what_is_left(bench: Bench, recorded: Recorded, outcome: Outcome) -> None:
    """Nobody answered one request in two ways, and everything was paid for once."""
    steps = bench.study.training.steps
    assert outcome.attempts == 0
    assert len(recorded.answers) == len(recorded.openings) == 1 + steps + 1
    for answers in (*recorded.answers.values(), *recorded.openings.values()):
        assert len(set(answers)) == 1
    for name in bench.names:
        ledger = bench.ledger(name)
        ledger.verify()
        assert len(list(ledger.entries())) == steps + 1
        costs = (bench.plan.training.cost * steps, bench.plan.evaluation.cost)
        assert ledger.spent() == max(costs)
    debited = {entry.debit.request for entry in bench.ledger(VICTIM).entries()}
    stored = [bench.ledger(VICTIM).stored(request) for request in debited]
    left = {opened[0] for opened in recorded.openings.values()}
    assert {kept.reply for kept in stored if kept} <= left


@pytest.fixture
def nodes(superlink: Superlink) -> Iterator[Nodes]:
    superlink.expel_all()
    with nodes_at(superlink) as made:
        yield made


@pytest.mark.parametrize("seed", SEEDS)
def test_a_node_that_is_killed_loses_nothing(nodes: Nodes, seed: int, tmp_path: Path) -> None:
    bench = bench_of(tmp_path, STEPS, DEADLINE_SECONDS)
    recorded = Recorded(bench.custodian(VICTIM))
    silent = DEADLINE_SECONDS * SILENT_SHARE
    with bench.federation:
        nodes.serve(VICTIM, recorded)
        for name in BANKS[1:]:
            nodes.serve(name, bench.custodian(name))
            nodes.start(nodes.settings(name))
        node = NodeProcess(nodes.settings(VICTIM), nodes.superlink)
        try:
            nodes.superlink.wait_online(len(BANKS) - 1)
            node.start(len(BANKS))
            with coordinator(nodes.superlink) as grid:
                killing = KillingGrid(
                    grid, node, len(BANKS), recorded, np.random.default_rng(seed), silent
                )
                channel = GridChannel(cast(Grid, killing), killing.monotonic, killing.sleep)
                outcome = bench.federation.job(f"nodes-killed-{seed}").run(channel)
                killing.settle()
        except Exception as error:
            error.add_note(f"seed {seed}")
            error.add_note(nodes.log(node.settings).read_text()[-2000:])
            raise
        finally:
            node.kill()
            nodes.stop()
        check_what_is_left(bench, recorded, outcome)
    median = statistics.median(node.seconds)
    print(  # noqa: T201 -- what was measured; -rP shows it
        f"seed {seed}: {killing.ends.total()} exchanges and {killing.starts_killed} starts "
        f"killed, {dict(killing.ends)}; restart to online: {min(node.seconds):.2f} s at "
        f"least, {median:.2f} s median, {max(node.seconds):.2f} s at most"
    )
    assert killing.ends.total() == RELEASES
    assert {UNASKED, HEARD} <= set(killing.ends)
    assert median < RESTART_SECONDS


def test_a_run_goes_on_with_the_same_bytes_when_the_lease_of_a_killed_node_has_ended(
    nodes: Nodes, tmp_path: Path
) -> None:
    bench = bench_of(tmp_path, 3, LEASE_SECONDS)
    recorded = Recorded(bench.custodian(VICTIM))
    with bench.federation:
        nodes.serve(VICTIM, recorded)
        for name in BANKS[1:]:
            nodes.serve(name, bench.custodian(name))
            nodes.start(nodes.settings(name))
        settings = nodes.settings(VICTIM)
        supervisor = nodes.start(settings)
        nodes.superlink.wait_online(len(BANKS))
        (child,) = children(supervisor)

        def die_once() -> None:
            """The second request has been answered, and its vector goes nowhere."""
            if len(recorded.answers) == 2 and recorded.after is die_once:
                recorded.after = lambda: None
                os.kill(child, signal.SIGKILL)

        recorded.after = die_once
        with coordinator(nodes.superlink) as grid:
            outcome = bench.federation.job("lease").run(GridChannel(grid))
        written = nodes.log(settings).read_text()
        assert "ended with status -9" in written
        assert written.count("admitted as node") == 2
        interrupted = list(recorded.answers)[1]
        nodes.stop()
        assert len(recorded.answers[interrupted]) >= 2
        check_what_is_left(bench, recorded, outcome)
