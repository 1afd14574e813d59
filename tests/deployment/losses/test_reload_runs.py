"""Custodians that are replaced in the middle of a run: nobody outside notices.

The coordinator's own rounds ask a reloader's data plane over its socket, and before every single
call the home is taken into force anew.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.homes.institutions import (
    NAMES,
    Coordinator,
    approve_all,
    clock,
    home_study,
    loaded,
)
from tests.support.network.calling import connected

from fieldfare.client.approvals.approval import approve
from fieldfare.client.custodian.answering import answer
from fieldfare.client.daemon.reload import CustodianInputs, CustodianReloader, custodian_reloader
from fieldfare.client.institution.open import Custody, open_custody
from fieldfare.client.journal.journal import verify
from fieldfare.client.node.client_app import client_app
from fieldfare.client.wire.service import data_plane, serving_calls
from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.hello import RunTerms
from fieldfare.server.run.server_app import Job
from fieldfare.shared.errors import RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.system.sockets import UnixSocket
from fieldfare.simulations.federation.grid import InProcessGrid

pytestmark = pytest.mark.faults  # slow: processes of several parts


NAME: Final = NAMES[0]
STUDY: Final = home_study()
FIRST_NODE: Final = 101

Before = Callable[[str], object]


class Meddled:
    """A custodian before each of whose calls something happens."""

    def __init__(self, custodian: Any, before: Before) -> None:
        self._custodian, self._before = custodian, before

    def __getattr__(self, call: str) -> Any:
        return partial(self._asked, call)

    def _asked(self, call: str, *arguments: Any, **named: Any) -> Any:
        self._before(call)
        return getattr(self._custodian, call)(*arguments, **named)


@pytest.fixture
def custodies(coordinator: Coordinator) -> Iterator[dict[str, Custody]]:
    with ExitStack() as stack:
        found = {
            name: stack.enter_context(open_custody(coordinator.institution(name), None, clock))
            for name in NAMES
        }
        approve_all(coordinator, list(found.values()), STUDY)
        yield found


@pytest.fixture
def reloader(
    coordinator: Coordinator, custodies: dict[str, Custody]
) -> Iterator[CustodianReloader]:
    home = coordinator.homes[NAME].path
    with custodian_reloader(
        CustodianInputs(home=home, passphrase=None, environment={}, clock=clock)
    ) as made:
        yield made


def run(
    coordinator: Coordinator,
    custodies: dict[str, Custody],
    reloader: CustodianReloader,
    path: Path,
    before: Before,
) -> Any:
    terms = RunTerms(
        plan=plan_for(STUDY),
        roster=coordinator.roster(),
        signer=coordinator.signer,
        protection=Protection.EXACT,
        run="meddled",
        last_replies={},
    )
    with serving_calls(data_plane(reloader.answer), UnixSocket(path)), connected(path) as remote:
        custodians: dict[str, Any] = {name: one.custodian for name, one in custodies.items()}
        custodians[NAME] = Meddled(remote, before)
        app = client_app(
            lambda context: partial(answer, custodians[str(context.node_config["institution"])])
        )
        nodes = {name: FIRST_NODE + index for index, name in enumerate(sorted(custodians))}
        return Job(terms).run(GridChannel(InProcessGrid(app, nodes)))


def test_a_run_goes_through_a_custodian_that_is_replaced_before_every_call(
    coordinator: Coordinator, custodies: dict[str, Custody], reloader: CustodianReloader, room: Path
) -> None:
    outcome = run(coordinator, custodies, reloader, room, lambda _: reloader.reload())
    assert (outcome.attempts, outcome.participants) == (0, NAMES)
    assert custodies[NAME].ledger.spent() == outcome.spent
    custodies[NAME].ledger.verify()
    verify(coordinator.homes[NAME].log_folder)
    status = reloader.status()
    assert status.last_release is not None
    assert (status.last_release.run, status.last_release.kind) == ("meddled", "evaluation")
    assert status.releases == 1 + STUDY.training.steps + 1
    assert status.refusals == {}
    assert status.studies[0].runs == ["meddled"]
    assert status.ledger is not None
    assert status.ledger.spent == outcome.spent


def test_another_study_is_approved_while_one_runs(
    coordinator: Coordinator, custodies: dict[str, Custody], reloader: CustodianReloader, room: Path
) -> None:
    other = home_study(name="other")
    calls: list[str] = []

    def approve_another(call: str) -> None:
        calls.append(call)
        if calls.count("release") == 2:
            custody = custodies[NAME]
            approve(
                custody, coordinator.receive(other, NAME), loaded(custody, other), "tester", clock()
            )
            reloader.reload()

    outcome = run(coordinator, custodies, reloader, room, approve_another)
    assert outcome.attempts == 0
    assert {one.id for one in reloader.status().studies if one.serving} == {STUDY.id, other.id}


def test_a_roster_that_is_broken_in_the_middle_of_a_run_ends_what_leaves(
    coordinator: Coordinator, custodies: dict[str, Custody], reloader: CustodianReloader, room: Path
) -> None:
    calls: list[str] = []

    def break_the_roster(call: str) -> None:
        calls.append(call)
        if calls.count("release") == 3:
            coordinator.homes[NAME].roster.write_bytes(b"{}")
            reloader.reload()

    with pytest.raises(RunError):
        run(coordinator, custodies, reloader, room, break_the_roster)
    status = reloader.status()
    assert status.trouble
    assert status.releases == 2  # the rehearsal and one step
    assert status.refusals["unknown_study"] >= 1
