"""Questions over real custodians: one exchange, one debit, a transcript that fits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from scipy.stats import chi2
from tests.support.federations.conducted import (
    LATER,
    QUESTIONS,
    UNITS,
    Killed,
    MakeCoordinator,
    ask_later,
    assert_lies_are_found,
    audited,
    kill_at_release,
    leaves_of,
    released,
    resume,
    with_allowance,
)
from tests.support.federations.settings import BANKS, ask, rehearse
from tests.support.runs.asking import asking
from tests.support.runs.steps import open_federation

from fieldfare.server.answers.analytics import noise_on_sum, read_answers
from fieldfare.server.run.later_questions import check_later
from fieldfare.server.run.rounds import SecureSums
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.errors import RunError, StudyError
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.study.question_layout import WEIGHT_BITS, layout_for
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import Study
from fieldfare.shared.transcript.leaves import (
    AnswersRecord,
    Leaf,
    LeafKind,
    QuestionsRecord,
)


def questions_only(**changes: Any) -> Study:
    return asking(*QUESTIONS, names=BANKS, privacy={"epsilon": 4.0}, **changes)


def test_a_study_of_questions_is_one_exchange_and_its_transcript_fits(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    study = questions_only()
    coordinator, plan, asked = make_coordinator(study), plan_for(study), []

    def count(message: Message) -> bool:
        asked.append(message.metadata.message_type == "query.release")
        return False

    coordinator.carry_out(drop=count)
    assert coordinator.row().state is RunStatus.FINISHED
    assert coordinator.kinds()[-4:] == ["reply", "sum", "answers", "end"]
    assert sum(asked) == 2 * len(BANKS)  # a rehearsal and the answers
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 1)
    report = audited(coordinator, tmp_path)
    assert (report.state, report.sums, report.recomputed) == ("finished", 2, 2)
    assert {found.spent.debits for found in report.institutions.values()} == {plan.query.cost}
    assert study.questions is not None
    units, channels = read_answers(plan, study.questions, released(plan, report), institutions=4)
    assert units.cells[0].value == pytest.approx(len(BANKS) * UNITS, abs=6 * units.sigma)
    assert channels.cells[1].key == ("branch", "other")  # a bank in no group


def test_a_study_may_train_and_ask(make_coordinator: MakeCoordinator, tmp_path: Path) -> None:
    study = asking(*QUESTIONS, steps=2, names=BANKS)
    coordinator = make_coordinator(study)
    coordinator.carry_out()
    assert coordinator.kinds()[-5:] == ["reply", "sum", "answers", "model", "end"]
    report = audited(coordinator, tmp_path)
    assert (report.state, report.steps, report.sums) == ("finished", 2, 5)
    assert report.metrics is not None
    assert [record.group for record in report.answers] == [study.questions]


@pytest.mark.promises
@pytest.mark.parametrize("steps", [0, 2])
def test_a_coordinator_that_dies_before_the_answers_asks_again_for_nothing(
    make_coordinator: MakeCoordinator, tmp_path: Path, steps: int
) -> None:
    study = asking(*QUESTIONS[:1], steps=steps, names=BANKS)
    coordinator, releases = make_coordinator(study), steps + 1 + int(steps > 0)
    kill_at_release(coordinator, releases + 1)  # at the last institution's answer
    resume(coordinator)
    assert coordinator.row().state is RunStatus.FINISHED
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, releases)  # nothing was paid twice
    assert audited(coordinator, tmp_path).state == "finished"


def test_questions_that_are_not_the_studys_are_not_even_sent(
    make_coordinator: MakeCoordinator,
) -> None:
    coordinator = make_coordinator(questions_only())
    setting = coordinator.setting
    channel = setting.channel()
    job = setting.federation.job()
    sums = SecureSums(channel, open_federation(channel, job.terms))
    other = asking({"name": "more", "kind": "count"}).questions
    assert other is not None
    with pytest.raises(StudyError, match="the questions that the study declares"):
        ask(sums, other, 0)
    assert setting.debits() == dict.fromkeys(BANKS, 0)


def test_an_institution_that_would_be_singled_out_is_not_asked(
    make_coordinator: MakeCoordinator,
) -> None:
    """Three in a group and one outside it: the group's answer tells that one's from the whole."""
    study = questions_only(
        columns=[{"name": "band", "kind": "institution", "groups": {"all": list(BANKS[:3])}}]
    )
    coordinator = make_coordinator(study)
    with pytest.raises(StudyError, match="at least 3 participants in each group"):
        coordinator.carry_out()
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 0)


def test_the_same_questions_again_return_the_stored_answer_and_never_cost_less(
    make_coordinator: MakeCoordinator,
) -> None:
    study = questions_only(evaluation={"spare_releases": 1})
    setting = make_coordinator(study).setting
    channel = setting.channel()
    assert study.questions is not None
    first = SecureSums(channel, open_federation(channel, setting.federation.job("one").terms))
    last = rehearse(first, initial_state(study).parameters).as_last
    told = ask(first, study.questions, 0, last)
    again = ask(first, study.questions, 0, last)
    assert again.words == told.words
    assert again.replies == told.replies
    assert setting.debits() == dict.fromkeys(BANKS, 1)
    for run in ("two", "three"):  # another run is another answer, paid for while there is budget
        later = SecureSums(channel, open_federation(channel, setting.federation.job(run).terms))
        last = rehearse(later, initial_state(study).parameters).as_last
        if run == "two":
            assert ask(later, study.questions, 0, last).words != told.words
        else:
            with pytest.raises(RunError, match="budget"):
                ask(later, study.questions, 0, last)
    assert setting.debits() == dict.fromkeys(BANKS, 2)
    cost = setting.federation.plan.terms(ReleaseKind.QUERY).cost
    spent = {ledger.position().cumulative for ledger in setting.federation.ledgers.values()}
    assert spent == {2 * cost}
    assert 2 * cost == setting.federation.plan.study_limit


# -- later questions, within an allowance ---------------------------------------------------


@pytest.mark.parametrize(("steps", "declared"), [(0, True), (0, False), (2, True)])
def test_later_questions_are_a_run_of_their_own_and_its_transcript_fits(
    make_coordinator: MakeCoordinator, tmp_path: Path, steps: int, declared: bool
) -> None:
    study = with_allowance(steps=steps, declared=declared)
    coordinator, plan = make_coordinator(study), plan_for(study)
    ask_later(coordinator, *LATER)
    assert coordinator.row().state is RunStatus.FINISHED
    both = [*["commitment"] * len(BANKS), *["reply"] * len(BANKS)]
    after = ["questions", "request", *both, "sum", "answers"]
    assert coordinator.kinds()[-2 * len(after) - 1 :] == [*after, *after, "end"]
    report = audited(coordinator, tmp_path)
    assert (report.state, report.sums, report.steps) == ("finished", 3, 0)
    assert [record.group for record in report.answers] == list(LATER)
    spent = {found.spent.debits for found in report.institutions.values()}
    assert spent == {2 * plan.allowance.cost}
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 2)


def test_a_run_of_later_questions_goes_on_where_it_was_killed(
    make_coordinator: MakeCoordinator, tmp_path: Path
) -> None:
    coordinator, asked = make_coordinator(with_allowance()), 0

    def die(message: Message) -> bool:
        nonlocal asked
        if message.metadata.message_type == "query.release":
            asked += 1
            if asked == 3 * len(BANKS):  # of the second group
                raise Killed
        return False

    with pytest.raises(Killed):
        ask_later(coordinator, *LATER, drop=die)
    resume(coordinator)
    assert coordinator.row().state is RunStatus.FINISHED
    assert coordinator.setting.debits() == dict.fromkeys(BANKS, 2)
    assert coordinator.kinds().count("questions") == 2
    assert audited(coordinator, tmp_path).state == "finished"


def test_the_allowance_ends_whatever_run_asks(make_coordinator: MakeCoordinator) -> None:
    study = with_allowance(groups=2)
    federation = make_coordinator(study).setting.federation
    for run in ("one", "two"):
        outcome = federation.run(federation.job(run, LATER[:1]))
        (found,) = outcome.answers
        (answer,) = read_answers(
            federation.plan, found.questions, found.values, institutions=4, step=found.step
        )
        assert answer.cells[0].value == pytest.approx(12.5, abs=8 * answer.sigma)
    federation.run(federation.job("three"))  # what the study declares is still paid for
    with pytest.raises(RunError, match="budget"):
        federation.run(federation.job("four", LATER[:1]))


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({"name": "q", "kind": "sum", "column": "hours"}, "a kind of the allowance"),
        ({"name": "q", "kind": "mean", "column": "amount"}, "columns of the allowance"),
        ({"name": "q", "kind": "count", "where": [{"column": "hours", "lower": 1.0, "upper": 1.1}]},
         "could isolate one unit"),
        ({"name": "q", "kind": "count", "where": [{"column": "channel", "levels": ["post"]}]},
         "columns of the allowance"),
    ],
)  # fmt: skip
def test_what_the_allowance_does_not_cover_is_refused_before_anybody_is_asked(
    make_coordinator: MakeCoordinator, question: dict[str, Any], reason: str
) -> None:
    federation = make_coordinator(with_allowance()).setting.federation
    group = QuestionGroup.model_validate({"questions": [question]})
    with pytest.raises(StudyError, match=reason):
        federation.run(federation.job("one", (group,)))
    with pytest.raises(StudyError, match=reason):
        check_later(federation.plan, [group])
    with pytest.raises(StudyError, match="a position of the study's allowance"):
        federation.run(federation.job("one", LATER[:1] * 4))
    assert {ledger.position().sequence for ledger in federation.ledgers.values()} == {0}


# -- a coordinator that lies, and an auditor who looks --------------------------------------


def test_an_auditor_sees_what_was_asked_without_being_written_down(
    make_coordinator: MakeCoordinator,
) -> None:
    coordinator = make_coordinator(with_allowance())
    ask_later(coordinator, *LATER)
    leaves = leaves_of(coordinator)
    kinds = [leaf.kind for leaf in leaves]
    first = kinds.index(LeafKind.QUESTIONS)
    answers = [leaf for leaf in leaves if leaf.kind is LeafKind.ANSWERS]
    second = AnswersRecord.from_bytes(answers[1].content)

    def written(kind: str) -> list[Leaf]:
        asked = {"name": "another", "kind": kind, "column": "hours"}
        group = QuestionGroup.model_validate({"questions": [asked]})
        return [*leaves[:first], QuestionsRecord.of(group).leaf(), *leaves[first + 1 :]]

    def answered(leaf: Leaf) -> list[Leaf]:
        return [leaf if one is answers[0] else one for one in leaves]

    lies = {
        "the parameters that follow": written("mean"),
        "a kind of the allowance": written("sum"),
        "a request for the next step": [*leaves[:first], *leaves[first + 1 :]],  # not written down
        "the questions of the request": answered(second.leaf()),
        "the words of the sum": answered(AnswersRecord.of(LATER[0], second.content).leaf()),
    }
    assert_lies_are_found(coordinator, leaves, lies)


def test_noise_on_every_kind_of_question_is_what_the_plan_says(
    make_coordinator: MakeCoordinator,
) -> None:
    """Through the real door: what the sum holds beyond the records is noise of the plan's size."""
    study = asking(names=BANKS)
    setting = make_coordinator(study).setting
    outcome = setting.federation.run(setting.federation.job())
    (found,) = outcome.answers
    total = sum(part.answers(found.questions) for part in setting.sums.values())
    noise = found.values - np.ldexp(np.asarray(total, dtype=np.float64), -WEIGHT_BITS)
    plan, layout = setting.federation.plan, layout_for(found.questions, study.asked_columns)
    sigma = noise_on_sum(plan.query, institutions=4, collusion_tolerance=1)
    drawn: dict[str, list[np.ndarray]] = {}
    for question, reads in zip(study.queries, layout.reads, strict=True):
        drawn.setdefault(question.kind, []).extend(noise[layout.blocks[i].part] for i in reads)
    for kind, parts in drawn.items():
        squares = np.concatenate(parts) ** 2 / sigma**2
        low, high = chi2.ppf([1e-9, 1 - 1e-9], len(squares)) / len(squares)
        assert low <= squares.mean() <= high, kind
    spread = float(noise.std())
    assert spread == pytest.approx(sigma, rel=0.05)
    for wrong in (2 / 3, 3 / 2):
        assert spread != pytest.approx(sigma * wrong, rel=0.05)
