"""`institution verify FILE` as it is typed."""

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.support.homes.institutions import NAMES, NOW, Coordinator, OpenCustody, home_study
from tests.support.homes.runs import finished_run
from tests.support.runs.finished import RUN
from tests.support.runs.transcripts import Recorder

from fieldfare.client.cli.ledger import lines
from fieldfare.client.custodian.ports import ModelEvidence
from fieldfare.client.institution.open import Custody
from fieldfare.client.oversight.transcript_check import OwnReplies, check_transcript
from fieldfare.server.run.closing import compose
from fieldfare.shared.audit.verdict import AuditVerdict
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.messages import Reply
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

NAME = NAMES[0]
STUDY = home_study()


@dataclass
class Typed:
    """The command of `bank-a`, and what it says."""

    coordinator: Coordinator
    custody: Custody
    recorder: Recorder
    capsys: pytest.CaptureFixture[str]

    def __call__(self, content: bytes, *more: str) -> tuple[int, str, str]:
        path = self.coordinator.file("transcript", content)
        home = str(self.coordinator.homes[NAME].path)
        status = run(["institution", "verify", str(path), "--home", home, *more])
        out, err = self.capsys.readouterr()
        return status, out, err

    def deliver(self) -> None:
        assert self.recorder.state is not None
        model = self.recorder.state.model
        made = compose(plan_for(STUDY), model, self.recorder.facts(), self.coordinator.signer, NOW)
        self.custody.inbox.delivered(
            made.delivery, made.envelope, made.model, made.card, ModelEvidence.UNVERIFIED
        )


@pytest.fixture
def typed(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Typed:
    custodies = [custody_of(name) for name in NAMES]
    return Typed(coordinator, custodies[0], finished_run(coordinator, custodies, STUDY), capsys)


def test_an_honest_transcript_is_explained(typed: Typed) -> None:
    typed.deliver()
    status, out, err = typed(typed.recorder.to_bytes())
    assert (status, err) == (0, "")
    leaves = len(typed.recorder.leaves)
    for text in (
        f"study {STUDY.id[:12]}, run {RUN}: {leaves} leaves, finished",
        "5 sums and 3 steps follow from the replies, bit for bit",
        "4 of your ledger are in it as they left, and 1 of a rehearsal",
        f"you co-signed {leaves} of {leaves} leaves",
        "your model of this run is the transcript's",
    ):
        assert text in out
    status, out, _ = typed(typed.recorder.to_bytes(), "--json")
    found = json.loads(out)
    assert status == 0
    assert found["own"] == {
        "recorded": 4,
        "rehearsals": 1,
        "lost": 0,
        "unseen": [],
        "cosigned": leaves,
    }
    assert (found["state"], found["recomputed"]) == ("finished", found["sums"])
    home = str(typed.coordinator.homes[NAME].path)
    assert run(["institution", "models", "--home", home]) == 0
    assert "recomputed from its transcript" in typed.capsys.readouterr().out


def test_deleted_vectors_and_a_model_that_did_not_come_are_said(typed: Typed) -> None:
    status, out, _ = typed(typed.recorder.to_bytes(purged=True))
    assert status == AuditVerdict.AS_FAR_AS_KEPT.value
    assert "0 of 5 sums were added up again" in out
    assert "has not arrived here" in out


def test_a_head_without_a_co_signature_is_said(typed: Typed) -> None:
    assert "share no honest institution" not in typed(typed.recorder.to_bytes())[1]
    del typed.recorder.cosignatures[NAME]
    said = typed(typed.recorder.to_bytes())[1]
    assert "you have not co-signed it" in said
    assert "share no honest institution" in said  # two of three, t = 1


def test_lost_and_unseen_replies_are_explained(typed: Typed) -> None:
    content = io.BytesIO(typed.recorder.to_bytes())
    found = check_transcript(
        typed.coordinator.institution(NAME), typed.custody.ledger, content, NOW
    )
    unseen = tuple(typed.custody.ledger.entries())[:2]
    own = OwnReplies(recorded=2, rehearsals=1, lost=3, unseen=unseen)
    text = "\n".join(lines(replace(found, own=own), NAME))
    assert "3 more bear your signature and are not in your ledger" in text
    assert "2 in your ledger are not there (step 0 attempt 0, step 1 attempt 0)" in text
    stopped = replace(found, report=replace(found.report, state="stopped", reason="full disk"))
    assert "leaves, stopped (full disk)" in lines(stopped, NAME)[0]


def test_what_does_not_fit_is_named_by_its_line(typed: Typed) -> None:
    content = typed.recorder.to_bytes()
    status, out, err = typed(content[:-20])
    assert (status, out) == (1, "")
    assert "line" in err
    recorder = typed.recorder
    at = recorder.find(LeafKind.REPLY, 3)

    def forge(leaves: list[Leaf]) -> None:
        leaves[at] = recorder.forged(at, Reply, vector="00" * 32)

    status, out, _ = typed(recorder.lie(forge))  # the coordinator signed another log here
    assert (status, "TWO STORIES" in out) == (AuditVerdict.TWO_STORIES.value, True)
    whole = typed.recorder.to_bytes().splitlines(keepends=True)
    status, out, _ = typed(b"".join([*whole[: at + 1], *whole[at + 2 :]]), "--json")
    assert (status, json.loads(out)["verdict"]) == (1, "does_not_fit")


def test_a_missing_file_is_said_to_be_missing(typed: Typed, tmp_path: Path) -> None:
    home = str(typed.coordinator.homes[NAME].path)
    missing = str(tmp_path / "nowhere")
    assert run(["institution", "verify", missing, "--home", home]) == 2
    assert "or a readable file" in typed.capsys.readouterr().err


def test_who_took_no_part_is_told_so(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> None:
    coordinator.found("bank-d")
    coordinator.pin()
    coordinator.compare()
    custodies = [custody_of(name) for name in ("bank-b", "bank-c", "bank-d")]
    recorder = finished_run(coordinator, custodies, STUDY)
    status, out, _ = Typed(coordinator, custody_of(NAME), recorder, capsys)(recorder.to_bytes())
    assert (status, "you took no part in this run" in out) == (0, True)
