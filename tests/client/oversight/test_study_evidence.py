"""A pack of a study, as an institution makes it from its own home after a finished run."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.homes.institutions import NAMES, Coordinator, clock, home_study
from tests.support.homes.runs import finished_run

from fieldfare.client.home.keys import public_identity
from fieldfare.client.institution.open import open_custody
from fieldfare.shared.cli.root import run
from fieldfare.shared.evidence.pack import check_pack, packed_files
from fieldfare.shared.evidence.writing import PROGRAMS
from fieldfare.shared.protocol.plan import PICOMU2, plan_for

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def transcript(coordinator: Coordinator) -> Path:
    """The transcript of a run that all three homes finished."""
    with ExitStack() as stack:
        custodies = [
            stack.enter_context(open_custody(coordinator.institution(name), None, clock))
            for name in NAMES
        ]
        recorder = finished_run(coordinator, custodies, home_study())
    return coordinator.file("run.transcript", recorder.to_bytes())


def packed(coordinator: Coordinator, subject: str, *more: str, out: str = "pack.zip") -> int:
    home = coordinator.homes["bank-a"].path
    path = coordinator.folder / out
    return run(["evidence", "pack", subject, "--home", str(home), "--out", str(path), *more])


def told(coordinator: Coordinator, out: str = "pack.zip") -> dict[str, Any]:
    content = (coordinator.folder / out).read_bytes()
    found: dict[str, Any] = json.loads(packed_files(content)[PROGRAMS])["facts"]
    return found


def test_an_institutions_pack_says_what_it_spent_and_who_decided(
    coordinator: Coordinator, transcript: Path, capsys: Capture
) -> None:
    study = home_study()
    assert packed(coordinator, study.name) == 0
    assert "no transcript was read" in capsys.readouterr().out
    facts = told(coordinator)
    plan = plan_for(study)
    spent = max(plan.training.cost * plan.training.steps, plan.evaluation.cost) / PICOMU2
    assert facts["loss"]["spent"]["mu2"] == pytest.approx(spent)
    assert facts["own"]["entries"] == plan.training.steps + 2  # and what it is bound to
    assert facts["run"]["known"] is False
    assert [one["what"] for one in facts["decisions"]] == ["sent the study", "approved"]
    check = check_pack((coordinator.folder / "pack.zip").read_bytes())
    assert (check.problems, check.signer) == ((), "bank-a")
    assert check.manifest is not None
    assert check.manifest.key == public_identity(coordinator.homes["bank-a"])
    assert check.manifest.policy
    # With the transcript, the same says what the run itself shows.
    assert packed(coordinator, study.id[:8], "--transcript", str(transcript), out="more.zip") == 0
    more = told(coordinator, "more.zip")
    assert more["run"]["recomputed"] == more["run"]["sums"] == plan.training.steps + 2
    assert more["run"]["institutions"] == list(NAMES)
    assert [one["name"] for one in more["loss"]["institutions"]] == list(NAMES)
    # The roster in the pack names the key; another roster does not.
    pack = str(coordinator.folder / "pack.zip")
    roster = coordinator.file("roster.signed", coordinator.signed_roster())
    assert run(["evidence", "verify", pack]) == 0
    assert run(["evidence", "verify", pack, "--roster", str(roster)]) == 0
    key = public_identity(coordinator.homes["bank-b"])
    assert run(["evidence", "verify", pack, "--key", key]) == 1
    assert "ANOTHER KEY" in capsys.readouterr().out


def test_a_pack_before_any_run_says_that_nothing_is_spent(coordinator: Coordinator) -> None:
    study = home_study()
    coordinator.receive(study)
    assert packed(coordinator, study.name) == 0
    facts = told(coordinator)
    assert facts["loss"]["spent"]["epsilon"] == 0
    assert facts["run"]["count"] == study.aggregation.minimum_institutions
    assert [one["what"] for one in facts["decisions"]] == ["sent the study"]


def test_another_subject_is_refused(coordinator: Coordinator, capsys: Capture) -> None:
    coordinator.receive(home_study())
    assert packed(coordinator, "nothing") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "expected one study's name" in said
    assert "small (" in said
