import io
import json
from dataclasses import replace

import pytest
from rich.console import Console
from tests.support.runs.grouped import released_groups
from tests.support.runs.transcripts import Recorder
from tests.support.runs.written_runs import STUDIES, WrittenRun

from fieldfare.shared.audit.audit import AuditReport, InstitutionReport
from fieldfare.shared.audit.evidence import RunSpending
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.cli.audit import MOST_SHOWN, report_json, report_screen
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.protocol.roster import ROSTER_SIGNER
from fieldfare.shared.transcript.file import Misfit

TRUST = Trust("0" * 64)
MISFIT = Misfit(line=9, leaf=7, kind="reply", institution="bank-b", step=3, reason="why")


def screen(report: AuditReport, trust: Trust) -> str:
    out = io.StringIO()
    Console(file=out, width=100, highlight=False).print(report_screen(report, trust))
    return out.getvalue()


@pytest.fixture(scope="module")
def report(recorded: Recorder) -> AuditReport:
    return recorded.audit()


def test_one_screen_says_everything(recorded: Recorder, report: AuditReport) -> None:
    text = screen(report, recorded.trust)
    assert len(text.splitlines()) <= 30
    for expected in (
        recorded.bench.study.id,
        "run-1",
        fingerprint(bytes.fromhex(recorded.trust.roster_key)),
        "version 1, 4 institutions, as the coordinator signed it",
        "73 leaves; the run finished",
        "3 of 3, 6 requests, 1 of them without a sum",
        "5 of 5 added up again, bit for bit",
        report.model,
        "epsilon 4 planned, 2.694 spent",
        "bank-c",
        "0.9957 (at most 1.459)",
        "all of it",
        "FITS  every signature",
    ):
        assert expected in text
    assert "DOES NOT" not in text


@pytest.mark.parametrize("shape", ["whitened", "centred"])
def test_coordinates_are_said_to_be_made_again(shape: str) -> None:
    run = WrittenRun(STUDIES[shape]()).finish()
    text = screen(run.audit(), Trust(run.public(ROSTER_SIGNER)))
    assert f"the {shape} coordinates of training made again from them" in text
    assert "coordinates" not in screen(WrittenRun(STUDIES["training"]()).finish().audit(), TRUST)


def test_a_misfit_is_the_last_thing_said(recorded: Recorder, report: AuditReport) -> None:
    text = screen(replace(report, misfit=MISFIT), recorded.trust)
    assert text.rstrip().endswith("line 9: reply of bank-b (leaf 7, step 3)\nwhy")


def test_missing_vectors_are_no_clean_bill(recorded: Recorder, report: AuditReport) -> None:
    text = screen(replace(report, recomputed=0), recorded.trust)
    assert "none of 5 could be added up again" in text
    assert "FITS AS FAR AS KEPT" in text
    assert "bit for bit" not in text


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("unfinished", "", "the run had not ended"),
        ("stopped", "asked for", "the run was stopped: asked for"),
        ("failed", "", "the run failed"),
    ],
)
def test_the_end_is_said_in_words(
    recorded: Recorder, report: AuditReport, state: str, reason: str, words: str
) -> None:
    assert words in screen(replace(report, state=state, reason=reason, model=""), recorded.trust)


def test_what_is_missing_is_left_out(recorded: Recorder) -> None:
    text = screen(AuditReport(misfit=MISFIT), recorded.trust)
    assert "study" not in text
    assert "DOES NOT FIT" in text
    assert report_json(AuditReport(misfit=MISFIT), recorded.trust)["name"] is None


def test_a_pinned_roster_and_missing_cosignatures_are_said(
    recorded: Recorder, report: AuditReport
) -> None:
    trust = Trust(recorded.trust.roster_key, report.roster)
    text = screen(replace(report, cosigned={"bank-a": 12}), trust)
    assert "the one that you gave" in text
    assert "the first 12 leaves" in text
    assert " no" in text


def test_few_cosignatures_are_said_to_leave_room_for_another_log(
    recorded: Recorder, report: AuditReport
) -> None:
    names = report.participants[:3]
    few = replace(
        report, participants=names, cosigned=dict.fromkeys(names[:2], report.leaves), objections={}
    )
    for found, said in ((few, True), (report, False)):
        assert ("share no honest institution" in screen(found, recorded.trust)) == said
        open_left = report_json(found, recorded.trust)["cosigners_leave_open"]
        assert (open_left is not None) == said


def test_names_move_no_cursor(recorded: Recorder, report: AuditReport) -> None:
    one = InstitutionReport(spent=RunSpending(), epsilon=0.0, at_most=0.0)
    named = replace(report, institutions={"[red]a\x1b[31m\nb": one}, reason="\x1b[2J")
    text = screen(replace(named, state="failed"), recorded.trust)
    assert "\x1b" not in text
    assert "[red]a" in text


def test_debits_that_are_not_in_the_transcript_are_said(
    recorded: Recorder, report: AuditReport
) -> None:
    assert "elsewhere" not in screen(report, recorded.trust)
    one = InstitutionReport(spent=RunSpending(elsewhere=25 * 10**10), epsilon=0.0, at_most=0.0)
    told = screen(replace(report, institutions={"bank-a": one}), recorded.trust)
    assert "bank-a mu^2 0.25" in told


def test_many_institutions_are_counted(recorded: Recorder, report: AuditReport) -> None:
    one = InstitutionReport(spent=RunSpending(), epsilon=0.0, at_most=0.0)
    many = {f"bank-{i:03}": one for i in range(MOST_SHOWN + 5)}
    assert "and 5 more" in screen(replace(report, institutions=many), recorded.trust)


def test_programs_get_everything(recorded: Recorder, report: AuditReport) -> None:
    found = json.loads(json.dumps(report_json(report, recorded.trust)))
    assert found["verified"] is True
    assert found["misfit"] is None
    assert (found["run"], found["study"]) == ("run-1", recorded.bench.study.id)
    assert found["roster"]["pinned"] is False
    assert (found["steps"], found["planned_steps"], found["attempts"]) == (3, 3, 6)
    assert (found["sums"], found["recomputed_sums"], found["failed_attempts"]) == (5, 5, 1)
    assert found["metrics"] == json.loads(report.metrics or "null")
    assert found["spent_epsilon"] == report.epsilon
    bank = found["institutions"]["bank-c"]
    assert bank["picomu2"] == recorded.bench.plan.training.cost
    assert bank["epsilon"] < bank["epsilon_at_most"]
    assert bank["cosigned_leaves"] == 73


def test_programs_get_the_misfit(recorded: Recorder, report: AuditReport) -> None:
    found = report_json(replace(report, misfit=MISFIT), recorded.trust)
    assert found["verified"] is False
    assert found["misfit"] == MISFIT.as_dict()


def test_how_groups_fare_is_said_and_given_to_programs(
    recorded: Recorder, report: AuditReport
) -> None:
    found = released_groups()
    told = replace(report, groups=found)
    text = " ".join(screen(told, recorded.trust).split())
    assert "fairness age_band, of all unlabelled" in text
    assert "more than twice as often as others: 18-24" in text
    assert report_json(told, recorded.trust)["groups"] == found
    assert "fairness" not in screen(report, recorded.trust)
    assert report_json(report, recorded.trust)["groups"] is None
