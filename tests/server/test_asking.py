"""Questions over real custodians: one exchange, one debit, a transcript that fits."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from tests.asking import asking, made_up, sums_of
from tests.server.conftest import Clock, Setting
from tests.server.test_coordination import Hub
from tests.server.test_coordination_audit import Killed, audited, resume

from fieldfare.server.analytics import read_answers
from fieldfare.server.opening import open_federation
from fieldfare.server.rounds import SecureSums
from fieldfare.server.store import RunState
from fieldfare.shared.audit import AuditReport
from fieldfare.shared.errors import RunError, StudyError
from fieldfare.shared.grid import decode
from fieldfare.shared.messages import Assurance
from fieldfare.shared.plan import Plan, ReleaseKind, plan_for
from fieldfare.shared.replay import decoded_sum, initial_state
from fieldfare.shared.study import Study
from fieldfare.simulations.federation import LocalFederation

BANKS = ("bank-a", "bank-b", "bank-c", "bank-d")
UNITS = 200
QUESTIONS = (
    {"name": "units", "kind": "count"},
    {"name": "channels", "kind": "group_by", "by": ["channel", "band"]},
)
MakeHub = Callable[..., Hub]


@pytest.fixture
def make_hub(tmp_path: Path) -> Iterator[MakeHub]:
    opened: list[LocalFederation] = []

    def make(study: Study) -> Hub:
        sums = {
            name: sums_of(study, made_up(UNITS, institution=name, seed=seed))
            for seed, name in enumerate(BANKS)
        }
        folder = tmp_path / "ledgers"
        folder.mkdir()
        federation = LocalFederation(study, sums, Assurance.EXACT, seed=0, directory=folder)
        opened.append(federation)
        return Hub(tmp_path, Setting(federation, sums, Clock()))

    yield make
    for federation in opened:
        federation.__exit__()


def questions_only(**changes: Any) -> Study:
    return asking(*QUESTIONS, names=BANKS, privacy={"epsilon": 4.0}, **changes)


def released(plan: Plan, report: AuditReport) -> np.ndarray:
    """The answers' sum, from the transcript alone."""
    assert report.answers is not None
    words = decode(report.answers.content, plan.query.word_bits, plan.query.vectors.entries)
    return decoded_sum(words, plan.query)


def test_a_study_of_questions_is_one_exchange_and_its_transcript_fits(
    make_hub: MakeHub, tmp_path: Path
) -> None:
    study = questions_only()
    hub, plan, asked = make_hub(study), plan_for(study), []

    def count(message: Message) -> bool:
        asked.append(message.metadata.message_type == "query.release")
        return False

    hub.carry_out(drop=count)
    assert hub.row().state is RunState.FINISHED
    assert hub.kinds()[-4:] == ["reply", "sum", "answers", "end"]
    assert sum(asked) == 2 * len(BANKS)  # a rehearsal and the answers
    assert hub.setting.debits() == dict.fromkeys(BANKS, 1)
    report = audited(hub, tmp_path)
    assert (report.state, report.sums, report.recomputed) == ("finished", 2, 2)
    assert {found.spent.debits for found in report.institutions.values()} == {plan.query.cost}
    assert study.questions is not None
    units, channels = read_answers(plan, study.questions, released(plan, report), institutions=4)
    assert units.cells[0].value == pytest.approx(len(BANKS) * UNITS, abs=6 * units.sigma)
    assert channels.cells[1].key == ("branch", "other")  # a bank in no group


def test_a_study_may_train_and_ask(make_hub: MakeHub, tmp_path: Path) -> None:
    study = asking(*QUESTIONS, steps=2, names=BANKS)
    hub = make_hub(study)
    hub.carry_out()
    assert hub.kinds()[-5:] == ["reply", "sum", "answers", "model", "end"]
    report = audited(hub, tmp_path)
    assert (report.state, report.steps, report.sums) == ("finished", 2, 5)
    assert report.metrics is not None
    assert report.answers is not None


@pytest.mark.parametrize("steps", [0, 2])
def test_a_coordinator_that_dies_before_the_answers_asks_again_for_nothing(
    make_hub: MakeHub, tmp_path: Path, steps: int
) -> None:
    study = asking(*QUESTIONS[:1], steps=steps, names=BANKS)
    hub, releases = make_hub(study), steps + 1 + int(steps > 0)
    asked = 0

    def die(message: Message) -> bool:
        nonlocal asked
        if message.metadata.message_type == "query.release":
            asked += 1
            if asked == (releases + 1) * len(BANKS):  # the last institution's answer
                raise Killed
        return False

    with pytest.raises(Killed):
        hub.carry_out(drop=die)
    resume(hub)
    assert hub.row().state is RunState.FINISHED
    assert hub.setting.debits() == dict.fromkeys(BANKS, releases)  # nothing was paid twice
    assert audited(hub, tmp_path).state == "finished"


def test_questions_that_are_not_the_studys_are_not_even_sent(make_hub: MakeHub) -> None:
    hub = make_hub(questions_only())
    setting = hub.setting
    channel = setting.channel()
    job = setting.federation.job()
    sums = SecureSums(channel, open_federation(channel, job.terms))
    other = asking({"name": "more", "kind": "count"}).questions
    assert other is not None
    with pytest.raises(StudyError, match="the questions that the study declares"):
        sums.ask(other, 0)
    assert setting.debits() == dict.fromkeys(BANKS, 0)


def test_an_institution_that_would_be_singled_out_is_not_asked(make_hub: MakeHub) -> None:
    """Three in a group and one outside it: the group's answer tells that one's from the whole."""
    study = questions_only(
        columns=[{"name": "band", "kind": "institution", "groups": {"all": list(BANKS[:3])}}]
    )
    hub = make_hub(study)
    with pytest.raises(StudyError, match="at least 3 participants in each group"):
        hub.carry_out()
    assert hub.setting.debits() == dict.fromkeys(BANKS, 0)


def test_the_same_questions_again_return_the_stored_answer_and_never_cost_less(
    make_hub: MakeHub,
) -> None:
    study = questions_only(evaluation={"spare_releases": 1})
    setting = make_hub(study).setting
    channel = setting.channel()
    assert study.questions is not None
    first = SecureSums(channel, open_federation(channel, setting.federation.job("one").terms))
    first.rehearse(initial_state(study).parameters)
    told = first.ask(study.questions, 0)
    again = first.ask(study.questions, 0)
    assert again.words == told.words
    assert again.replies == told.replies
    assert setting.debits() == dict.fromkeys(BANKS, 1)
    for run in ("two", "three"):  # another run is another answer, paid for while there is budget
        later = SecureSums(channel, open_federation(channel, setting.federation.job(run).terms))
        later.rehearse(initial_state(study).parameters)
        if run == "two":
            assert later.ask(study.questions, 0).words != told.words
        else:
            with pytest.raises(RunError, match="budget"):
                later.ask(study.questions, 0)
    assert setting.debits() == dict.fromkeys(BANKS, 2)
    cost = setting.federation.plan.terms(ReleaseKind.QUERY).cost
    spent = {ledger.position().cumulative for ledger in setting.federation.ledgers.values()}
    assert spent == {2 * cost}
    assert 2 * cost == setting.federation.plan.study_limit
