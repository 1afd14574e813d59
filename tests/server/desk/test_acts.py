"""The coordinator's desk: everything is checked there anew, written down, and done once."""

from threading import Thread
from typing import Any

import pytest
from tests.support.homes.coordinator_desks import DeskBench
from tests.support.homes.keyed_coordinators import STUDY, progress
from tests.support.network.scripted import Status

from fieldfare.server.desk import acts
from fieldfare.server.desk.acts import CoordinatorDesk
from fieldfare.server.desk.calls import (
    ActNote,
    ActReceipt,
    AskForm,
    GreetForm,
    ProposeForm,
    ResumeForm,
    StartForm,
    StopForm,
)
from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies import run_control
from fieldfare.server.studies.proposing import propose
from fieldfare.server.studies.study_text import shipped_studies
from fieldfare.shared.errors import PolicyRefusal, RunError, StudyError, UsageError
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.system.clock import utc_now

ASKS = shipped_studies()["helplines"]
QUESTION = (
    '[[queries]]\nname = "cases and calls by region"\nkind = "group_by"\nby = ["region", "month"]'
)


def proposal_of(text: str = STUDY, study: str = "") -> ProposeForm:
    return ProposeForm(text=text, study=study or parse_study(text).id, person="otto")


def start_of(desk_bench: DeskBench, **changes: Any) -> StartForm:
    fields = {"study": desk_bench.keyed.study.id, "run": desk_bench.run_id(), "person": "otto"}
    return StartForm(**(fields | changes))


# -- propose --------------------------------------------------------------------------------------


def test_a_study_is_signed_sent_and_written_down_once(desk_bench: DeskBench) -> None:
    desk, study = desk_bench.desk, desk_bench.keyed.study
    done = desk.propose(proposal_of())
    assert done == ActReceipt(of=study.id, new=True, note=ActNote.OUT)
    before = desk_bench.keyed.home.study(study.id).read_bytes()
    assert desk.propose(proposal_of()) == ActReceipt(of=study.id, new=False, note=ActNote.SENT)
    assert desk_bench.keyed.home.study(study.id).read_bytes() == before
    assert [(one["act"], one["person"], one["study"]) for one in desk_bench.written] == [
        ("study proposed", "otto", study.id)
    ]
    assert len(desk_bench.link.started) == 1  # pressed twice, sent out once
    desk_bench.seconds = acts.GREET_SECONDS + 1
    desk.propose(proposal_of())
    assert len(desk_bench.link.started) == 2


def test_many_at_once_propose_once(desk_bench: DeskBench) -> None:
    desk, found = desk_bench.desk, []
    threads = [Thread(target=lambda: found.append(desk.propose(proposal_of()))) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(one.new for one in found) == [False] * 7 + [True]
    assert len(desk_bench.written) == 1


def test_the_pages_hash_is_not_trusted(desk_bench: DeskBench) -> None:
    other = parse_study(STUDY.replace("epsilon = 0.5", "epsilon = 0.4")).id
    with pytest.raises(UsageError, match="another text: nothing was signed"):
        desk_bench.desk.propose(proposal_of(study=other))
    assert list(desk_bench.keyed.home.studies.iterdir()) == []
    assert desk_bench.written == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[privacy]", "[privacy]\nmultiplicity = 2"), "privacy.multiplicity: expected the roster"),
        (('unit = "customer"\n', ""), "unit"),
        (("epsilon = 0.5", "epsilon = 1e9"), "privacy.epsilon"),
        (("steps = 4", f"steps = {'9' * 5000}"), "a number too long"),
        (("steps = 4", f"{'.'.join('a' * 40)} = 1"), "keys of at most"),
    ],
)
def test_what_the_command_refuses_the_desk_refuses(
    desk_bench: DeskBench, change: tuple[str, str], said: str
) -> None:
    with pytest.raises(StudyError, match=said):
        desk_bench.desk.propose(
            ProposeForm(text=STUDY.replace(*change), study=_id(change), person="otto")
        )
    assert list(desk_bench.keyed.home.studies.iterdir()) == []
    assert desk_bench.written == []


def _id(change: tuple[str, str]) -> str:
    try:
        return parse_study(STUDY.replace(*change)).id
    except StudyError:
        return "0" * 64


def test_without_a_roster_or_a_superlink_it_is_kept_all_the_same(desk_bench: DeskBench) -> None:
    desk_bench.link.reachable = False
    assert desk_bench.desk.propose(proposal_of()).note == ActNote.LATER
    desk_bench.keyed.home.roster.unlink()
    text = STUDY.replace("epsilon = 0.5", "epsilon = 0.4")
    assert desk_bench.desk.propose(proposal_of(text)) == ActReceipt(
        of=parse_study(text).id, new=True, note=ActNote.NO_ROSTER
    )


def test_what_cannot_be_written_down_does_not_happen(
    desk_bench: DeskBench, approved_bench: DeskBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(acts, "write_down", full)
    text = STUDY.replace("epsilon = 0.5", "epsilon = 0.4")
    with pytest.raises(RunError, match="nothing was done"):
        desk_bench.desk.propose(proposal_of(text))
    with pytest.raises(RunError, match="nothing was done"):
        desk_bench.desk.start(start_of(desk_bench))
    assert not desk_bench.keyed.home.study(parse_study(text).id).exists()
    with desk_bench.keyed.store() as store:
        assert store.rows() == ()
    assert desk_bench.link.started == []


@pytest.mark.parametrize("at", ["propose", "_greet"])
def test_a_kill_between_two_steps_leaves_a_wish_that_is_done_once(
    desk_bench: DeskBench, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Before the signature or after it: whoever presses again has one study, sent out."""

    class KilledDeskError(Exception):
        pass

    def killed(*_: object) -> None:
        raise KilledDeskError

    with monkeypatch.context() as patched:
        patched.setattr(acts if at == "propose" else CoordinatorDesk, at, killed)
        with pytest.raises(KilledDeskError):
            desk_bench.desk.propose(proposal_of())
    done = desk_bench.desk.propose(proposal_of())
    assert (done.of, done.new) == (desk_bench.keyed.study.id, at == "propose")
    assert len(list(desk_bench.keyed.home.studies.iterdir())) == 1
    assert len(desk_bench.link.started) == 1
    assert len(desk_bench.written) == 1  # the wish stood there already


def test_a_wish_of_before_another_key_is_no_wish_of_its_signature(
    desk_bench: DeskBench,
) -> None:
    desk, study = desk_bench.desk, desk_bench.keyed.study
    desk.propose(proposal_of())
    desk_bench.keyed.home.study(study.id).unlink()
    desk.propose(proposal_of())
    assert len(desk_bench.written) == 1  # the same signature
    write_down(desk_bench.keyed.home, DecisionKind.ONLINE_KEY, {"coordinator": "00"})
    desk_bench.keyed.home.study(study.id).unlink()
    desk.propose(proposal_of())
    assert len([one for one in desk_bench.written if "act" in one]) == 2


def test_institutions_are_asked_again(approved_bench: DeskBench) -> None:
    asked = GreetForm(study=approved_bench.keyed.study.id, person="otto")
    assert approved_bench.desk.greet(asked).note == ActNote.OUT
    with pytest.raises(UsageError, match="a study that was proposed here"):
        approved_bench.desk.greet(GreetForm(study="0" * 64, person="otto"))


# -- runs -----------------------------------------------------------------------------------------


def test_a_run_is_started_once_under_the_persons_name(approved_bench: DeskBench) -> None:
    desk, asked = approved_bench.desk, start_of(approved_bench)
    assert desk.start(asked) == ActReceipt(of=asked.run, new=True)
    assert desk.start(asked) == ActReceipt(of=asked.run, new=False, note=ActNote.BEFORE)
    assert len(approved_bench.link.started) == 1
    (line,) = approved_bench.written
    assert (line["act"], line["person"]) == ("run started", "otto")
    assert (line["run"], line["study"]) == (asked.run, approved_bench.keyed.study.id)
    with pytest.raises(UsageError, match="expected no other run of this study"):
        desk.start(start_of(approved_bench, run=approved_bench.run_id(digits="bbbbbb")))


def test_a_start_that_was_killed_stands_in_the_log_once(
    approved_bench: DeskBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, asked = approved_bench.desk, start_of(approved_bench)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run_control, "start", killed)
        with pytest.raises(KeyboardInterrupt):
            desk.start(asked)
    assert desk.start(asked) == ActReceipt(of=asked.run, new=True)
    assert [one["act"] for one in approved_bench.written] == ["run started"]


def test_a_run_that_cannot_finish_is_not_started(desk_bench: DeskBench) -> None:
    propose(desk_bench.keyed.home, desk_bench.keyed.study, desk_bench.keyed.signer)
    desk_bench.keyed.approve("bank-a")
    with pytest.raises(PolicyRefusal, match="approvals: expected 3 or more that count, found 1"):
        desk_bench.desk.start(start_of(desk_bench))
    desk_bench.keyed.home.roster.unlink()
    with pytest.raises(UsageError, match="expected a published roster"):
        desk_bench.desk.start(start_of(desk_bench))
    assert desk_bench.written == []


@pytest.mark.parametrize(
    "run",
    ["anything", "2020-11-28-payments-00aa11", "{day}-other-00aa11", "{day}-payments-"],
)
def test_only_ids_that_a_page_of_today_chose_begin(approved_bench: DeskBench, run: str) -> None:
    with pytest.raises(UsageError, match="a run that a page of today chose"):
        approved_bench.desk.start(
            start_of(approved_bench, run=run.format(day=f"{utc_now():%Y-%m-%d}"))
        )


def test_a_run_is_carried_on_once_from_where_the_page_saw_it(approved_bench: DeskBench) -> None:
    desk, run = approved_bench.desk, approved_bench.run_id()
    desk.start(start_of(approved_bench))
    approved_bench.put(run, RunStatus.FAILED)
    seen = approved_bench.row(run).flower_run
    asked = ResumeForm(run=run, seen=seen, person="otto")
    assert desk.resume(asked).new
    approved_bench.put(run, RunStatus.FAILED)  # it failed again before the second press arrived
    assert not desk.resume(asked).new
    assert len(approved_bench.link.started) == 2
    assert [one["act"] for one in approved_bench.written] == ["run started", "run carried on"]


def test_a_run_stops_after_its_step_or_at_once(approved_bench: DeskBench) -> None:
    desk, run = approved_bench.desk, approved_bench.run_id()
    desk.start(start_of(approved_bench))
    approved_bench.put(run, RunStatus.RUNNING)
    asked = StopForm(run=run, force=False, person="otto")
    assert desk.stop(asked).note is ActNote.STOPPING
    assert approved_bench.link.stopped == []
    assert desk.stop(asked.model_copy(update={"force": True})).note is ActNote.STOPPED
    assert approved_bench.link.stopped == [1]
    assert not desk.stop(asked).new
    assert [one["act"] for one in approved_bench.written] == [
        "run started",
        "run stopped",
        "run ended",
    ]


def test_a_run_without_a_process_stops_at_once(approved_bench: DeskBench) -> None:
    desk, run = approved_bench.desk, approved_bench.run_id()
    desk.start(start_of(approved_bench))
    approved_bench.link.statuses[1] = Status("failed", "gone")
    assert desk.stop(StopForm(run=run, force=False, person="otto")).note is ActNote.STOPPED


# -- questions ------------------------------------------------------------------------------------


@pytest.fixture
def asking_bench(desk_bench: DeskBench) -> DeskBench:
    propose(desk_bench.keyed.home, parse_study(ASKS), desk_bench.keyed.signer)
    return desk_bench


def asked_of(desk_bench: DeskBench, **changes: Any) -> AskForm:
    study = parse_study(ASKS)
    fields: dict[str, Any] = {
        "study": study.id,
        "questions": QUESTION,
        "cost": plan_for(study).query.cost,
        "run": desk_bench.run_id("helplines"),
        "person": "otto",
    }
    return AskForm(**(fields | changes))


def test_questions_are_asked_once_at_the_price_that_was_shown(asking_bench: DeskBench) -> None:
    desk, asked = asking_bench.desk, asked_of(asking_bench)
    with pytest.raises(UsageError, match="nothing was asked; look at the price again"):
        desk.ask(asked.model_copy(update={"cost": asked.cost - 1}))
    assert asking_bench.written == []
    assert desk.ask(asked) == ActReceipt(of=asked.run, new=True)
    assert desk.ask(asked) == ActReceipt(of=asked.run, new=False, note=ActNote.BEFORE)
    (line,) = asking_bench.written
    assert (line["act"], line["cost"], line["person"]) == ("questions asked", asked.cost, "otto")
    assert len(asking_bench.link.started) == 1


def test_questions_that_the_study_does_not_allow_are_not_asked(asking_bench: DeskBench) -> None:
    desk = asking_bench.desk
    for text in (
        "",
        "[[queries]]",
        QUESTION.replace("group_by", "drop"),
        QUESTION + "\n" + QUESTION,
    ):
        with pytest.raises(StudyError, match="questions: "):
            desk.ask(asked_of(asking_bench, questions=text))
    with pytest.raises(StudyError, match="allowance"):
        desk.ask(asked_of(asking_bench, questions='[[queries]]\nname = "n"\nkind = "count"'))
    assert asking_bench.written == []


def test_what_earlier_runs_spent_counts(asking_bench: DeskBench) -> None:
    study, first = parse_study(ASKS), asking_bench.run_id("helplines", "111111")
    with asking_bench.keyed.store() as store:
        store.create(first, study.id, utc_now())
        spent = progress(1).spent.plus(plan_for(study).query.side, plan_for(study).query.cost)
        store.append(first, (), progress=progress(1, spent=spent))
        store.set_state(first, RunStatus.FINISHED, "", utc_now())
    with pytest.raises(PolicyRefusal, match="is left of the study"):
        asking_bench.desk.ask(asked_of(asking_bench))
