"""A torch module that a study names, over real processes: refused, trained, audited, scored."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.federations.beds import NAMES
from tests.support.federations.network_beds import check_learned, network_bed
from tests.support.system.environments import environment
from tests.support.system.packages import LISTED, PACKAGE, install

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.errors import RunError
from fieldfare.simulations.demo.testbed import COORDINATOR, Bed, edit

IN_POLICY = f'packages = ["{LISTED}"]'

pytestmark = pytest.mark.promises  # one of its kind stands in `make faults`: test_network_model


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    """All have the package; the coordinator did not allow it, the last bank did not list it."""
    installed = tmp_path / "installed"
    installed.mkdir()
    install(installed, monkeypatch)
    python = environment(tmp_path / "python", sys.executable, installed)
    model = f'module = "acme_nets:Small"\npackage = "{PACKAGE}"\nparameters = 145'
    made = network_bed(tmp_path, model, python.with_name("fieldfare"))
    made.found()
    edit(made.home(NAMES[2]) / "policy.toml", IN_POLICY, "packages = []")
    try:
        made._spawn(COORDINATOR, "coordinator", "start", "--home", str(made.coordinator_home))
        made.until(made._coordinator_answers, "the coordinator")
        for name in made.names:
            made.start_institution(name)
        made.until_connected()
        yield made
    finally:
        made.stop()


def check_refused(bed: Bed) -> None:
    """The last institution's policy refuses, the study waits there, and nothing was spent."""
    name, refused = NAMES[2], "models.packages: expected no package"
    with pytest.raises(RunError, match=refused):
        bed.agree()
    (kept,) = json.loads(bed.institution(name, "studies", "--json"))
    assert kept["standing"] == "waits for a decision"
    assert refused in " ".join(bed.institution(name, "review", kept["id"]).split())
    with open_ledger(Home(bed.home(name))) as ledger:
        assert not list(ledger.entries())


def check_forgotten(bed: Bed) -> None:
    """A coordinator started without the package says what to start it with; nothing is spent."""
    row = bed.until_ended(bed.run(bed.loaded_study.id))
    assert row.state is RunStatus.FAILED
    assert f"fieldfare --package {PACKAGE} (a coordinator with `coordinator start`" in row.reason
    for name in bed.names:
        with open_ledger(Home(bed.home(name))) as ledger:
            assert not list(ledger.entries())
    bed.stop_one(COORDINATOR)
    bed.start_coordinator()


def check_auditor_without(bed: Bed, run: str) -> None:
    """An auditor who did not allow the package is told so, and accuses nobody."""
    roster, transcript = bed.coordinator_home / "roster.signed", bed.folder / f"{run}.transcript"
    done = bed.command(["audit", "transcript", str(transcript), "--roster", str(roster)])
    assert (done.returncode, done.stdout) == (2, "")
    assert f"fieldfare --package {PACKAGE}" in done.stderr


def test_a_named_module_is_learned_audited_and_scored(bed: Bed) -> None:
    check_refused(bed)
    edit(bed.home(NAMES[2]) / "policy.toml", "packages = []", IN_POLICY)
    study = bed.agree()
    check_forgotten(bed)
    bed.until_connected()
    run = bed.run(study)
    check_learned(bed, run)
    check_auditor_without(bed, run)
    for name in (COORDINATOR, *bed.names):
        assert "Warning" not in bed.log(name).read_text()
