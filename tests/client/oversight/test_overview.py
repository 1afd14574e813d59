"""What is gathered: from a home alone, with a custodian that runs, and where parts are broken."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.homes.institutions import (
    NAMES,
    NOW,
    Coordinator,
    OpenCustody,
    approve_all,
    clock,
    home_study,
)
from tests.support.homes.journals import rewrite_entries

from fieldfare.client.approvals.approval_status import ApprovalStatus
from fieldfare.client.daemon.process import admin_socket, administration
from fieldfare.client.daemon.reload import CustodianInputs, custodian_reloader
from fieldfare.client.home.layout import Home
from fieldfare.client.node.state import LinkState, NodeReport
from fieldfare.client.oversight.overview import Overview, UnreadPart, overview, overview_json
from fieldfare.client.oversight.overview_screen import overview_lines
from fieldfare.client.wire.admin_calls import CustodianStatus
from fieldfare.shared.desk.answering import serving_desk

NAME = NAMES[0]


def look(home: Home) -> Overview:
    return overview(home, home.path / "node.toml", NOW)


def test_a_home_in_which_nothing_runs(coordinator: Coordinator, custody_of: OpenCustody) -> None:
    approved, waiting = home_study(), home_study(name="other")
    approve_all(coordinator, [custody_of(NAME)], approved)
    coordinator.receive(waiting, NAME)
    found = look(coordinator.homes[NAME])
    assert (found.custodian, found.node) == (None, None)
    assert not isinstance(found.studies, UnreadPart)
    assert {one.id: one.status for one in found.studies} == {
        approved.id: ApprovalStatus.APPROVED,
        waiting.id: ApprovalStatus.RECEIVED,
    }
    assert not isinstance(found.budget, UnreadPart)
    assert found.budget.yearly.spent == 0
    assert not isinstance(found.log, UnreadPart)
    written = overview_json(found)
    assert json.loads(json.dumps(written)) == written
    assert written["custodian"] is None
    assert written["roster"] == {"version": 1, "members": sorted(NAMES)}
    assert sorted(one["standing"] for one in written["studies"]) == ["approved", "received"]


def test_a_custodian_that_runs_is_asked(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAME]
    inputs = CustodianInputs(home=home.path, passphrase=None, environment={}, clock=clock)
    with (
        custodian_reloader(inputs) as reloader,
        serving_desk(administration(reloader), admin_socket(reloader.institution)),
    ):
        found = look(home)
    assert isinstance(found.custodian, CustodianStatus)
    assert found.custodian.roster == 1
    assert overview_json(found)["custodian"]["institution"] == NAME


def test_a_node_is_read_where_its_settings_say(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAME]
    settings = home.path / "node.toml"
    settings.write_text(
        f'superlink = "hub:8000"\nbundles = ["{"ab" * 32}"]\nstate = "elsewhere.json"\n'
    )
    found = look(home).node
    assert not isinstance(found, UnreadPart)
    assert found is not None
    assert (found.superlink, found.state, found.alive) == ("hub:8000", None, False)
    report = NodeReport(home.path / "elsewhere.json", "hub:8000", clock)
    report.connected(7)
    found = look(home).node
    assert not isinstance(found, UnreadPart)
    assert found is not None
    assert found.state is not None
    assert (found.state.link, found.alive) == (LinkState.CONNECTED, True)
    settings.write_text("nonsense")
    assert isinstance(look(home).node, UnreadPart)


@pytest.mark.parametrize(
    ("part", "harm"),
    [
        ("roster", lambda home: home.roster.unlink()),
        ("budget", lambda home: home.policy.write_text("nonsense")),
        ("budget", lambda home: (home.ledger.write_bytes(b"x"), home.ledger.chmod(0o600))),
        ("log", lambda home: rewrite_entries(home.log_folder)),
    ],
)
def test_a_part_that_is_broken_hides_no_other(
    coordinator: Coordinator, custody_of: OpenCustody, part: str, harm: Callable[[Home], Any]
) -> None:
    custody = custody_of(NAME)
    approve_all(coordinator, [custody], home_study())
    custody.ledger.close()
    home = coordinator.homes[NAME]
    harm(home)
    found = look(home)
    assert isinstance(getattr(found, part), UnreadPart)
    assert "error" in overview_json(found)[part]
    assert list(overview_lines(found))
