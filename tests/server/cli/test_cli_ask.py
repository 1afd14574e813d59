"""`query ask` over real custodians; the test plays the SuperLink, which starts a run's process."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.federations.conducted import RUN, Coordinator, MakeCoordinator
from tests.support.federations.conducted import with_allowance as allowing
from tests.support.federations.settings import BANKS

from fieldfare.server.cli import queries as cli_ask
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.open_coordinator import OpenCoordinator
from fieldfare.server.studies.run_life import FlowerStatus
from fieldfare.server.superlink.facts import FlowerRunStatus
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import RunError
from fieldfare.shared.study.study import Study

Read = pytest.CaptureFixture[str]
HOURS = '[[queries]]\nname = "{}"\nkind = "mean"\ncolumn = "hours"\nshare = {}\n'


class Playing:
    """Carries a run out at once, or says that nobody is there."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator = coordinator
        self.runs: list[str] = []
        self.down = False

    def nodes(self) -> tuple[object, ...]:
        return ()

    def start_run(self, bundle: bytes, configuration: Mapping[str, str]) -> int:
        del bundle
        if self.down:
            raise RunError("the SuperLink does not answer")
        self.runs.append(configuration["run"])
        self.coordinator.carry_out(run=configuration["run"])
        return 7

    def stop_run(self, run: int) -> None:
        raise NotImplementedError

    def run_status(self, run: int) -> FlowerStatus:
        del run
        return FlowerRunStatus("completed", "")


class Asked:
    """A coordinator whose questions a test asks by command."""

    def __init__(
        self, coordinator: Coordinator, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.coordinator, self.folder, self.control = coordinator, folder, Playing(coordinator)
        with coordinator.store() as store:
            store.set_state(RUN, RunStatus.FAILED, "never started", datetime.now(UTC))

        @contextmanager
        def opened(path: Path) -> Iterator[OpenCoordinator]:
            with coordinator.store() as store:
                yield OpenCoordinator(coordinator.home, store, self.control)

        monkeypatch.setattr(cli_ask, "open_coordinator", opened)
        monkeypatch.setattr(OpenCoordinator, "bundle", b"")

    def __call__(self, text: str, *arguments: str) -> int:
        file = self.folder / "questions.toml"
        file.write_text(text)
        return run(["query", "ask", "asking", str(file), *arguments])


@pytest.fixture
def ask(
    make_coordinator: MakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Asked:
    return Asked(make_coordinator(allowing(groups=2)), tmp_path, monkeypatch)


def debits(ask: Asked) -> set[int]:
    return set(ask.coordinator.setting.debits().values())


def test_a_later_question_is_priced_asked_once_and_read_for_nothing(
    ask: Asked, capsys: Read
) -> None:
    assert ask(HOURS.format("hours", 1), "--yes", "--format", "json") == 0
    out, err = capsys.readouterr()
    (found,) = json.loads(out)["answered"]
    (hours,) = found["answers"]
    assert (found["asked"], found["run"]) == ("allowance", ask.control.runs[0])
    assert hours["value"] == pytest.approx(12.5, abs=8 * hours["sigma"])
    assert hours["institutions"] == len(BANKS)
    assert "mu^2" in err
    assert "one of 2 groups that are still left of the allowance" in err
    assert debits(ask) == {1}
    # Another name and another share ask nothing new.
    assert ask(HOURS.format("usual hours", 2), "--format", "json") == 0
    out, err = capsys.readouterr()
    (again,) = json.loads(out)["answered"][0]["answers"]
    assert "answered before" in err
    assert again == hours | {"name": "usual hours"}
    assert debits(ask) == {1}
    # A new answer costs again, until the allowance ends.
    assert ask(HOURS.format("hours", 1), "--yes", "--again", "--format", "json") == 0
    (anew,) = json.loads(capsys.readouterr().out)["answered"][0]["answers"]
    assert anew["value"] != hours["value"]
    assert debits(ask) == {2}
    assert ask(HOURS.format("hours", 1), "--yes", "--again") == 3
    assert "is left of the allowance" in capsys.readouterr().err
    assert debits(ask) == {2}
    assert len(ask.control.runs) == 2


def test_declared_questions_are_asked_by_a_run_of_the_study(ask: Asked, capsys: Read) -> None:
    text = '[[queries]]\nname = "everybody"\nkind = "count"\n'
    assert ask(text, "--yes") == 0
    out, err = capsys.readouterr()
    assert "everybody" in out
    assert "asked later" not in out
    assert "answered together" in err
    with ask.coordinator.store() as store:
        assert store.row(ask.control.runs[0]).state is RunStatus.FINISHED


def test_nothing_is_asked_without_a_yes(
    ask: Asked, capsys: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert ask(HOURS.format("hours", 1)) == 1
    assert "nothing was asked, nothing was spent" in capsys.readouterr().err
    assert ask.control.runs == []
    assert debits(ask) == {0}


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ('kind = "mean"\ncolumn = "huors"', "expected columns of the allowance, found huors"),
        ('kind = "sum"\ncolumn = "hours"', "expected a kind of the allowance (mean, count)"),
        ('kind = "mean"\ncolumn = "channel"', "expected columns of the allowance, found channel"),
        (
            'kind = "count"\nwhere = [{column = "hours", lower = 2, upper = 2.1}]',
            "it could isolate one unit; widen it",
        ),
        (
            'kind = "count"\nwhere = [{column = "hours", lower = 9, upper = 2}]',
            "expected lower < upper within 1 to 24, found 9 and 2",
        ),
        ('kind = "histogram"\ncolumn = "hours"\nedges = [3, 1]', "rising edges"),
        ('kind = "count"\nepsilon = 1', "expected no such key"),
    ],
)
def test_bad_questions_are_refused_with_reason_and_fix_before_any_debit(
    ask: Asked, capsys: Read, question: str, said: str
) -> None:
    assert ask(f'[[queries]]\nname = "q"\n{question}\n', "--yes") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert ask.control.runs == []
    assert debits(ask) == {0}


def test_a_coordinator_that_is_down_keeps_what_was_asked_for_a_resume(
    ask: Asked, capsys: Read
) -> None:
    ask.control.down = True
    assert ask(HOURS.format("hours", 1), "--yes") == 1
    assert "the SuperLink does not answer" in capsys.readouterr().err
    with ask.coordinator.store() as store:
        (row,) = (row for row in store.rows() if row.run != RUN)
    assert row.state is RunStatus.FAILED
    assert ask.coordinator.home.questions(row.run).is_file()


def test_another_run_that_goes_on_is_waited_for_and_nothing_is_left_behind(
    ask: Asked, capsys: Read
) -> None:
    with ask.coordinator.store() as store:
        store.create("other", allowing(groups=2).id, datetime.now(UTC))
    assert ask(HOURS.format("hours", 1), "--yes") == 2
    assert "other" in capsys.readouterr().err
    assert list(ask.coordinator.home.state.glob("*.questions")) == []


def training() -> Study:
    return allowing(steps=2)


def test_declared_questions_of_a_study_that_trains_are_left_to_its_runs(
    make_coordinator: MakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Read
) -> None:
    ask = Asked(make_coordinator(training()), tmp_path, monkeypatch)
    assert ask('[[queries]]\nname = "units"\nkind = "count"\n', "--yes") == 2
    assert "fieldfare coordinator run start" in capsys.readouterr().err
    assert ask(HOURS.format("hours", 1), "--yes") == 0
    with ask.coordinator.store() as store:
        kinds = [leaf.kind.value for leaf in store.leaves(ask.control.runs[0])]
    assert "parameters" not in kinds
