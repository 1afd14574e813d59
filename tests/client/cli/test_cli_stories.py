"""Two heads of one run: found by `verify FILE` and `check`, proved to a third party."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.homes.institutions import NAMES, Coordinator, OpenCustody, home_study
from tests.support.homes.runs import finished_run
from tests.support.runs.finished import RUN
from tests.support.runs.transcripts import FORGED_METRICS, Recorder

from fieldfare.shared.audit.verdict import AuditVerdict
from fieldfare.shared.cli.root import run
from fieldfare.shared.transcript.heads import SeenHead
from fieldfare.shared.transcript.leaves import EndRecord, Leaf, LeafKind

NAME = NAMES[0]
FAILED = EndRecord(state="failed", reason="bank-c did not answer in time").leaf()
TOLD = AuditVerdict.TWO_STORIES.value
BAD_INPUT = 2


@pytest.fixture
def recorded(coordinator: Coordinator, custody_of: OpenCustody) -> Recorder:
    return finished_run(coordinator, [custody_of(name) for name in NAMES], home_study())


def forged(recorded: Recorder) -> Callable[[list[Leaf]], None]:
    at = recorded.find(LeafKind.METRICS)
    return lambda leaves: leaves.__setitem__(at, FORGED_METRICS.leaf())


def shorter(recorded: Recorder) -> Callable[[list[Leaf]], None]:
    at = recorded.find(LeafKind.REQUEST, 4)
    return lambda leaves: leaves.__setitem__(slice(at, None), [FAILED])


def longer(recorded: Recorder) -> Callable[[list[Leaf]], None]:
    return lambda leaves: leaves.__setitem__(slice(-1, None), [FAILED] * 9)


LIES = {"one size": forged, "a shorter log": shorter, "a longer log": longer}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_tells_another_story_ends_with_a_proof(
    coordinator: Coordinator,
    recorded: Recorder,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    lie: str,
) -> None:
    """Attack H2: `verify` said "you have not co-signed it", exit status 0."""
    path, home = tmp_path / "told", str(coordinator.homes[NAME].path)
    path.write_bytes(recorded.lie(LIES[lie](recorded)))
    assert run(["institution", "verify", str(path), "--home", home]) == TOLD
    assert "TWO STORIES" in capsys.readouterr().out
    asked = ["audit", "stories", f"{path}.two-stories"]
    given = ["--roster", str(coordinator.homes[NAME].roster)]
    assert run([*asked, *given, "--json"]) == TOLD
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == "two_stories"
    assert len({head["root"] for head in said["heads"]}) == 2
    stranger = Coordinator(tmp_path, homes=coordinator.homes)
    other = str(stranger.file("other", stranger.signed_roster()))
    assert run([*asked, "--roster", other]) == 1  # another coordinator did not sign these
    assert run([*asked, "--coordinator-key", coordinator.public]) == BAD_INPUT  # it signs no logs
    verify = ["institution", "verify", str(path), "--home", home, "--json"]
    capsys.readouterr()
    assert run(verify) == TOLD
    assert json.loads(capsys.readouterr().out)["exit_status"] == TOLD


def test_the_beginning_of_the_own_log_is_no_other_story(
    coordinator: Coordinator, recorded: Recorder, tmp_path: Path
) -> None:
    path, home = tmp_path / "part", str(coordinator.homes[NAME].path)
    at = recorded.find(LeafKind.REQUEST, 2)
    vectors, recorded.blobs = recorded.blobs, {}
    path.write_bytes(recorded.lie(lambda leaves: leaves.__delitem__(slice(at, None))))
    recorded.blobs = vectors
    asked = ["institution", "verify", str(path), "--home", home]
    assert run([*asked, "--require-cosigned", "none"]) == AuditVerdict.AS_FAR_AS_KEPT.value
    assert run(asked) == AuditVerdict.NOT_COSIGNED.value
    path.write_bytes(recorded.to_bytes())
    assert run(asked) == AuditVerdict.FITS.value


def test_heads_travel_as_files_and_check_holds_them_against_the_own_ones(
    coordinator: Coordinator,
    recorded: Recorder,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    first, second = (str(coordinator.homes[name].path) for name in NAMES[:2])
    file = tmp_path / "head"
    head = ["institution", "head", RUN, "--out", str(file), "--home", second]
    assert run(head) == 0
    capsys.readouterr()
    check = ["institution", "check", "--skip-records", "--home", first, "--json"]
    run([*check, "--head", str(file)])
    said = json.loads(capsys.readouterr().out)
    assert said["findings"][-1]["found"].startswith("1 of 1 heads")
    assert said["findings"][-1]["outcome"] == "pass"
    # Another member was shown another log, and co-signed that.
    kept = (recorded.leaves, recorded.head)
    recorded.leaves = [*recorded.leaves[:-1], FAILED]
    recorded.sign_head()
    other = SeenHead.of(recorded.head, [leaf.hash for leaf in recorded.leaves])
    recorded.leaves, recorded.head = kept
    file.write_bytes(other.to_bytes())
    assert run([*check, "--head", str(file)]) == TOLD
    assert "TWO STORIES" in capsys.readouterr().out
    given = ["--roster", str(coordinator.homes[NAME].roster)]
    assert run(["audit", "stories", f"{file}.two-stories", *given]) == TOLD


def test_a_head_that_was_not_compared_is_no_story(
    coordinator: Coordinator,
    recorded: Recorder,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """A longer log whose hashes were stripped, and a run that was not co-signed here."""
    file, home = tmp_path / "head", str(coordinator.homes[NAME].path)
    kept = (recorded.leaves, recorded.head, recorded.run)
    recorded.leaves = [FAILED, *recorded.leaves, FAILED]
    recorded.sign_head()
    stripped = SeenHead.of(recorded.head, [])
    recorded.run = "another-run"
    recorded.sign_head()
    unknown = SeenHead.of(recorded.head, [leaf.hash for leaf in recorded.leaves])
    recorded.leaves, recorded.head, recorded.run = kept
    check = ["institution", "check", "--skip-records", "--home", home, "--json"]
    for head, outcome, word in ((stripped, "fail", "hashes"), (unknown, "warn", "0 of 1 heads")):
        file.write_bytes(head.to_bytes())
        capsys.readouterr()
        run([*check, "--head", str(file)])
        found = json.loads(capsys.readouterr().out)["findings"][-1]
        assert found["outcome"] == outcome
        assert word in found["found"]
