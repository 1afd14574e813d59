"""A pack of a run, as its coordinator makes it from its own store."""

import json
from pathlib import Path

import pytest
from tests.support.federations.conducted import RUN, MakeCoordinator
from tests.support.federations.settings import BANKS, make_study

from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.shared.cli.root import run
from fieldfare.shared.evidence.pack import check_pack, packed_files
from fieldfare.shared.evidence.writing import PROGRAMS
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.system.private_files import os_user

Capture = pytest.CaptureFixture[str]


def packed(home: Path, out: Path, subject: str = RUN, *more: str) -> int:
    return run(["evidence", "pack", subject, "--home", str(home), "--out", str(out), *more])


@pytest.mark.faults
def test_a_coordinators_pack_is_of_the_run_as_its_store_holds_it(
    make_coordinator: MakeCoordinator, tmp_path: Path, capsys: Capture
) -> None:
    study = make_study(training={"steps": 2})
    coordinator = make_coordinator(study)
    out = tmp_path / "pack.zip"
    assert packed(coordinator.home.path, out) == 2  # nothing is in its log yet
    assert packed(coordinator.home.path, out, "another") == 2
    coordinator.carry_out()
    assert packed(coordinator.home.path, out, RUN, "--transcript", str(out)) == 2
    assert "its store has the run's own" in " ".join(capsys.readouterr().err.split())
    of_study = {"study": study.id, "run": RUN}
    for person, facts in (
        ("mona", {"act": "run started", **of_study}),
        ("nils", {"act": "run started", "study": "c" * 64, "run": "elsewhere"}),
        ("olga", {"act": "transcript verified", "run": "elsewhere"}),
        ("pia", {"act": "account made"}),
    ):
        write_down(coordinator.home, DecisionKind.CONSOLE, {"person": person, **facts})
    assert packed(coordinator.home.path, out, RUN, "--names") == 0
    check = check_pack(out.read_bytes())
    assert (check.problems, check.signer) == ((), COORDINATOR)
    assert check.manifest is not None
    assert (check.manifest.run, check.manifest.role) == (RUN, "coordinator")
    facts = json.loads(packed_files(out.read_bytes())[PROGRAMS])["facts"]
    assert facts["run"]["state"] == "finished"
    assert facts["run"]["institutions"] == list(BANKS)
    assert facts["run"]["recomputed"] == facts["run"]["sums"]
    assert facts["model"]["limits"]
    decided = [(one["who"], one["what"]) for one in facts["decisions"]]
    own = [("mona", "console run started"), ("pia", "console account made")]
    assert decided == [(os_user(), "founding"), *own]  # no other study's
    logs = [one["name"] for one in facts["logs"]]
    assert logs == ["transcript of the run", "decisions", "deletions", "calls"]
    roster = coordinator.home.roster
    assert run(["evidence", "verify", str(out), "--roster", str(roster)]) == 0
