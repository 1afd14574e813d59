import io
import json

import pytest
from tests.support.federations.bench import Bench
from tests.support.runs.transcripts import Recorder

from fieldfare.shared.audit.audit import AuditReport, audit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import PICOMU2
from fieldfare.shared.run.replay import model_hash
from fieldfare.shared.transcript.leaves import (
    EndRecord,
    Leaf,
    LeafKind,
    MetricsRecord,
    ParametersRecord,
    SumRecord,
)

STEPS = 3


def fits(recorder: Recorder, trust: Trust | None = None) -> AuditReport:
    report = recorder.audit(trust=trust)
    assert report.misfit is None, report.misfit
    return report


def test_a_finished_run_fits(recorded: Recorder) -> None:
    report, bench = fits(recorded), recorded.bench
    assert recorded.state is not None
    assert report.header is not None
    assert (report.header.study, report.header.run) == (bench.study.id, "run-1")
    assert report.roster == bench.federation.identities.roster
    assert report.participants == ("bank-a", "bank-b", "bank-c", "bank-d")
    assert (report.state, report.reason) == ("finished", "")
    assert report.model == model_hash(recorded.state)
    assert (
        report.metrics
        == MetricsRecord.from_bytes(
            recorded.leaves[recorded.find(LeafKind.METRICS)].content
        ).metrics
    )
    assert report.measured
    assert (report.steps, report.sums, report.recomputed) == (STEPS, STEPS + 2, STEPS + 2)
    assert (report.requests, report.failed_attempts) == (STEPS + 3, 1)
    assert not report.purged
    assert report.leaves == len(recorded.leaves)
    assert set(report.cosigned.values()) == {len(recorded.leaves)}


def test_epsilon_is_added_up_from_what_institutions_signed(recorded: Recorder) -> None:
    report, plan = fits(recorded), recorded.bench.plan
    stayed = max((STEPS + 1) * plan.training.cost, plan.evaluation.cost)
    for name in ("bank-a", "bank-b", "bank-d"):
        found = report.institutions[name]
        assert found.spent.debits == recorded.spent[name]
        assert found.spent.debits == stayed
        assert found.epsilon == found.at_most == plan.epsilon(stayed / PICOMU2)
    lost = report.institutions["bank-c"]
    assert lost.spent.debits == plan.training.cost
    assert lost.spent.asked.total == 2 * plan.training.cost
    assert lost.epsilon < lost.at_most
    assert report.epsilon == report.institutions["bank-a"].epsilon
    assert report.epsilon < plan.epsilon()


def test_nothing_was_spent_before_the_first_reply(bench: Bench) -> None:
    recorder = Recorder(bench).open()
    recorder.sign_head()
    report = fits(recorder)
    assert report.state == "unfinished"
    assert report.epsilon == 0.0
    recorder.rehearse()
    recorder.sign_head()
    assert {found.epsilon for found in fits(recorder).institutions.values()} == {0.0}


# -- runs that stop, fail and go on -----------------------------------------------------


@pytest.mark.parametrize("kept", [0, 2, 4, 6, 8, 10, 11, 13, 15])
def test_a_run_that_failed_while_it_opened_fits(bench: Bench, kept: int) -> None:
    """Roster and study; some or all approvals, answers, and offers to the opening."""
    recorder = Recorder(bench).open()
    del recorder.leaves[kept:]
    recorder.end("failed", "too few institutions")
    recorder.sign_head()
    roster = bench.federation.identities.roster  # without one in the log, the reader gives it
    report = fits(recorder, None if kept else Trust(roster.roster_key, roster))
    assert (report.state, report.reason) == ("failed", "too few institutions")


def test_a_run_whose_opening_was_interrupted_goes_on(bench: Bench) -> None:
    recorder = Recorder(bench).open()
    opened = list(recorder.leaves)
    recorder.leaves = []
    recorder.end("failed", "nobody came")
    recorder.leaves += opened[:4]  # two approvals
    recorder.end("failed", "too few institutions")
    recorder.leaves += opened[2:12]  # all approvals and answers, the opening, one offer
    recorder.end("failed", "no answer in time")
    recorder.leaves += opened[11:]  # all offers
    recorder.finish()
    assert fits(recorder).state == "finished"


def test_a_run_that_stopped_between_two_steps_fits_and_goes_on(bench: Bench) -> None:
    recorder = Recorder(bench).open()
    recorder.rehearse()
    recorder.train(2)
    recorder.end("stopped", "asked for")
    recorder.cosign()
    report = fits(recorder)
    assert (report.state, report.steps, report.model) == ("stopped", 2, "")
    recorder.end("failed", "no node came back")
    recorder.train()
    recorder.evaluate()
    recorder.end()
    recorder.cosign()
    report = fits(recorder)
    assert (report.state, report.steps) == ("finished", STEPS)


def test_a_crash_after_the_request_fits(bench: Bench) -> None:
    """The request was written down, then everything died; its answers come after the END."""
    recorder = Recorder(bench).open()
    recorder.rehearse()
    request = recorder.request(ReleaseKind.TRAINING, 0, 0)
    answers = recorder.ask(request)
    at = recorder.find(LeafKind.REPLY, 4)
    recorder.end("failed", "killed")
    recorder.leaves.insert(at, recorder.leaves.pop())
    recorder.add_up(request, answers)
    recorder.train()
    recorder.sign_head()
    assert fits(recorder).failed_attempts == 0


def test_the_same_request_may_be_asked_again(bench: Bench) -> None:
    """It costs nothing: the same bytes come back, and nothing is debited."""
    recorder = Recorder(bench).open()
    recorder.rehearse()
    request = recorder.request(ReleaseKind.TRAINING, 0, 0)
    recorder.ask(request, silent=["bank-c"])
    recorder.end("failed", "killed")
    recorder.add_up(request, recorder.ask(request))
    recorder.train()
    recorder.evaluate()
    recorder.end()
    recorder.sign_head()
    report = fits(recorder)
    plan = bench.plan
    assert (report.requests, report.failed_attempts) == (STEPS + 2, 0)
    expected = max(STEPS * plan.training.cost, plan.evaluation.cost)
    assert {found.spent.debits for found in report.institutions.values()} == {expected}


@pytest.mark.parametrize("kind", [LeafKind.REQUEST, LeafKind.MODEL, LeafKind.ROSTER])
def test_nothing_but_ends_comes_after_the_model(recorded: Recorder, kind: LeafKind) -> None:
    def go_on(leaves: list[Leaf]) -> None:
        leaves.append(leaves[recorded.find(kind)])

    found = recorded.audit(recorded.lie(go_on)).misfit
    assert found is not None
    assert (found.leaf, found.kind) == (len(recorded.leaves), kind.value)
    assert "end" in found.reason


def test_a_finished_run_may_fail_to_hand_its_model_over(recorded: Recorder) -> None:
    def fail(leaves: list[Leaf]) -> None:
        leaves.append(EndRecord(state="failed", reason="disk full").leaf())

    report = recorded.audit(recorded.lie(fail))
    assert report.misfit is None
    assert (report.state, report.reason) == ("failed", "disk full")
    assert report.model


def test_a_run_without_a_model_has_not_finished(recorded: Recorder) -> None:
    def shorten(leaves: list[Leaf]) -> None:
        del leaves[recorded.find(LeafKind.METRICS) : -1]

    found = recorded.audit(recorded.lie(shorten)).misfit
    assert found is not None
    assert found.kind == "end"


def test_leaves_before_the_opening_are_named(recorded: Recorder) -> None:
    request = recorded.find(LeafKind.REQUEST)
    found = recorded.misfit_with(2, recorded.leaves[request])
    assert (found.leaf, found.kind, found.step) == (2, "request", None)
    assert "expected approval or end or hello, found request" in found.reason


# -- transcripts whose vectors are gone -------------------------------------------------


def test_a_purged_transcript_says_that_sums_were_not_recomputed(recorded: Recorder) -> None:
    report = recorded.audit(recorded.to_bytes(purged=True))
    assert report.misfit is None
    assert report.purged
    assert (report.sums, report.recomputed) == (STEPS + 2, 0)
    assert report.model == fits(recorded).model
    assert report.institutions == fits(recorded).institutions


@pytest.mark.parametrize("kind", [LeafKind.PARAMETERS, LeafKind.MODEL])
def test_a_purged_transcript_still_has_to_agree_with_itself(
    recorded: Recorder, kind: LeafKind
) -> None:
    at = recorded.find(kind)

    def lie(leaves: list[Leaf]) -> None:
        fields = json.loads(leaves[at].content)
        name = "parameters" if kind is LeafKind.PARAMETERS else "model"
        changed = json.dumps(fields | {name: "0" * 64}, separators=(",", ":"), sort_keys=True)
        leaves[at] = Leaf(kind, changed.encode())

    kept = recorded.blobs
    try:
        recorded.blobs = {}
        found = recorded.audit(recorded.lie(lie)).misfit
    finally:
        recorded.blobs = kept
    assert found is not None
    assert found.leaf == (at + 1 if kind is LeafKind.PARAMETERS else at)  # the next R binds them


def test_a_purged_transcript_cannot_show_a_lying_sum(recorded: Recorder) -> None:
    """What an audit without vectors does not prove; the report says so."""
    at = recorded.find(LeafKind.SUM, 1)  # a rehearsal's words are those of zeros

    def lie(leaves: list[Leaf]) -> None:
        record = SumRecord.from_bytes(leaves[at].content)
        leaves[at] = record.model_copy(update={"words": "0" * 64}).leaf()

    kept = recorded.blobs
    try:
        recorded.blobs = {}
        report = recorded.audit(recorded.lie(lie))
    finally:
        recorded.blobs = kept
    assert report.misfit is None
    assert report.purged


# -- files that are none ----------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"hello\n", b"{}\n", b"\x00" * 100])
def test_another_file_is_named_as_such(recorded: Recorder, content: bytes) -> None:
    report = audit(io.BytesIO(content), recorded.trust)
    assert report.misfit is not None
    assert report.misfit.line == 1
    assert report.header is None


def test_a_report_up_to_a_misfit_says_what_was_verified(recorded: Recorder) -> None:
    at = recorded.find(LeafKind.PARAMETERS, 1)
    record = ParametersRecord.from_bytes(recorded.leaves[at].content)

    def lie(leaves: list[Leaf]) -> None:
        leaves[at] = record.model_copy(update={"parameters": "0" * 64}).leaf()

    report = recorded.audit(recorded.lie(lie))
    assert report.misfit is not None
    assert (report.steps, report.recomputed, report.model) == (2, 3, "")
    assert report.institutions["bank-a"].epsilon > 0
