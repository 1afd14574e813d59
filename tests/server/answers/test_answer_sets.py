"""Answers read again: off a run's transcript, and off a simulation's file."""

import json
from pathlib import Path

import pytest
from tests.support.federations.conducted import LATER, QUESTIONS, RUN, MakeCoordinator, ask_later
from tests.support.federations.conducted import with_allowance as allowing
from tests.support.federations.settings import BANKS
from tests.support.runs.answered import answers, results_file

from fieldfare.server.answers.sets import kept_answers, simulated_answers
from fieldfare.shared.errors import UsageError


def test_a_runs_answers_are_read_off_its_transcript_again_and_again(
    make_coordinator: MakeCoordinator,
) -> None:
    coordinator = make_coordinator(allowing())
    with coordinator.store() as store:
        assert kept_answers(store, coordinator.home, store.row(RUN)) == ()
    ask_later(coordinator, *LATER)
    debits = coordinator.setting.debits()
    with coordinator.store() as store:
        found = kept_answers(store, coordinator.home, store.row(RUN))
        assert kept_answers(store, coordinator.home, store.row(RUN)) == found
    assert [one.questions for one in found] == list(LATER)
    assert all(one.later and one.run == RUN and not one.truths for one in found)
    (hours,) = found[0].answers
    assert hours.institutions == len(BANKS)
    assert hours.cells[0].value == pytest.approx(12.5, abs=8 * hours.sigma)
    assert coordinator.setting.debits() == debits


def test_declared_questions_are_told_from_later_ones(make_coordinator: MakeCoordinator) -> None:
    coordinator = make_coordinator(allowing())
    coordinator.carry_out()
    with coordinator.store() as store:
        (found,) = kept_answers(store, coordinator.home, store.row(RUN))
    assert not found.later
    assert [answer.name for answer in found.answers] == [QUESTIONS[0]["name"]]


def test_a_simulations_answers_come_back_with_the_truth(tmp_path: Path) -> None:
    found = simulated_answers(results_file(tmp_path))
    assert found.answers == answers()
    assert [len(truth) for truth in found.truths] == [len(a.cells) for a in found.answers]
    assert found.truths[0] == (1200,)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "expected a results.json of `fieldfare simulate`"),
        ("[" * 100_000, "expected a results.json of `fieldfare simulate`"),
        ('{"format": 1}', "expected a results.json of `fieldfare simulate`"),
        ('{"format": 1, "study": {"id": "a", "name": "b"}}', "expected answers, found none"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=said):
        simulated_answers(path)


@pytest.mark.parametrize("key", ["value", "interval", "measures", "true"])
def test_a_file_with_too_few_values_is_refused(tmp_path: Path, key: str) -> None:
    path = results_file(tmp_path)
    data = json.loads(path.read_text())
    (table,) = (one for one in data["answers"] if one["name"] == "by channel")
    table[key] = table[key][1:]
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match="'by channel': expected one value for each cell"):
        simulated_answers(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a readable file"):
        simulated_answers(tmp_path / "none.json")
