"""A job in, an outcome out: through Flower's ServerApp, and accounted for."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from tests.support.federations.settings import (
    BANKS,
    STEPS,
    Book,
    MakeSetting,
    Setting,
    make_study,
    to_bank,
)

from fieldfare.server.run.record import DecodedSum
from fieldfare.server.run.server_app import Job, server_app
from fieldfare.shared.errors import RunError
from fieldfare.shared.evaluation.metrics import evaluate
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.plan import PICOMU2
from fieldfare.shared.run.optimizer import TrainingState


def context() -> Context:
    return Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})


@pytest.mark.parametrize("protection", Protection)
def test_flower_runs_a_job_to_its_outcome(
    make_setting: MakeSetting, protection: Protection
) -> None:
    setting = make_setting(protection=protection)
    job = setting.federation.job()
    server_app(job)(setting.federation.grid(), context())
    outcome = job.outcome
    assert outcome is not None
    plan = setting.federation.plan
    assert outcome.participants == BANKS
    assert outcome.parameters.shape == (plan.training.vectors.entries,)
    assert np.isfinite(outcome.parameters).all()
    assert outcome.spent == plan.run_costs.total
    assert outcome.attempts == 0
    assert setting.debits() == dict.fromkeys(BANKS, STEPS + 1)
    spent = {name: ledger.spent() for name, ledger in setting.federation.ledgers.items()}
    assert spent == dict.fromkeys(BANKS, outcome.spent)
    assert outcome.spent / PICOMU2 <= plan.mu2


def test_the_model_learns(make_setting: MakeSetting) -> None:
    """More noise than signal would pass every other test here."""
    study = make_study(
        privacy={"epsilon": 100.0}, training={"steps": 30}, records={"prevalence": 0.5}
    )
    setting = make_setting(study)
    outcome = setting.run(setting.federation.job())
    model = model_for(study)
    parts = [sums.holdout for sums in setting.sums.values()]
    scores = np.concatenate([model.scores(outcome.parameters, part) for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    above = scores[labels == 1][:, None] > scores[labels == 0][None, :]
    assert above.mean() > 0.75
    assert outcome.released_metrics is not None
    assert outcome.released_metrics["auroc"]["value"] == pytest.approx(above.mean(), abs=0.12)


def test_callbacks_see_the_opening_and_every_step(setting: Setting) -> None:
    job = setting.federation.job()
    opened: list[tuple[str, ...]] = []
    steps: list[int] = []

    def stepped(state: TrainingState, total: DecodedSum) -> None:
        assert total.participants == BANKS
        steps.append(state.step)

    job.on_open, job.on_step = lambda found: opened.append(tuple(found.nodes)), stepped
    setting.run(job)
    assert opened == [BANKS]
    assert steps == list(range(1, STEPS + 1))


def test_attempts_that_failed_are_counted_and_paid(make_setting: MakeSetting) -> None:
    setting = make_setting(make_study(training={"steps": 6}))
    outcome = setting.run(setting.federation.job(), to_bank("bank-c", after=3, call="reveal"))
    plan = setting.federation.plan
    assert outcome.attempts == 1
    assert outcome.participants == ("bank-a", "bank-b", "bank-d")
    # By the institution that answered most: seven training sums and one evaluation.
    assert outcome.spent == max(7 * plan.training.cost, plan.evaluation.cost)
    ledgers = setting.federation.ledgers
    assert max(ledger.spent() for ledger in ledgers.values()) == outcome.spent
    assert ledgers["bank-c"].spent() == 2 * plan.training.cost  # the first call was a rehearsal


def test_released_metrics_are_those_of_the_released_table(setting: Setting) -> None:
    """Anybody who holds the transcript computes the same figures."""
    first = setting.run(setting.federation.job("one"))
    assert first.released_metrics is not None
    assert json.loads(json.dumps(first.released_metrics)) == first.released_metrics
    # Four shares are in the sum, of which three make the plan's sigma.
    terms = setting.federation.plan.evaluation
    assert first.released_metrics["sigma"] == pytest.approx(terms.sigma * math.sqrt(4 / 3))


def test_the_same_table_gives_the_same_replicates(
    make_setting: MakeSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[Any] = []

    def watched(study: Any, values: Any, sigma: float, generator: np.random.Generator) -> Any:
        states.append((values.tobytes(), generator.bit_generator.state["state"]))
        return evaluate(study, values, sigma, generator)

    monkeypatch.setattr("fieldfare.shared.run.kinds.evaluation.evaluate", watched)
    for seed in (0, 0, 1):
        setting = make_setting(seed=seed)
        setting.run(setting.federation.job("run"))
    first, again, other = states[::2]  # what is written down is read once more
    assert states[1::2] == [first, again, other]
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_noise_that_hides_a_class_leaves_no_metrics(make_setting: MakeSetting) -> None:
    study = make_study(privacy={"epsilon": 0.01}, evaluation={"score_bins": 64})
    found = [
        setting.run(setting.federation.job()).released_metrics
        for setting in (make_setting(study, seed=seed) for seed in range(4))
    ]
    assert None in found


Lose = Callable[[Any], bool]


def test_a_run_that_fails_has_no_outcome(make_setting: MakeSetting) -> None:
    setting = make_setting()
    job: Job = setting.federation.job()
    one, two = to_bank("bank-a", after=2), to_bank("bank-b", after=2)
    lose: Lose = lambda m: one(m) or two(m)  # noqa: E731 -- one line says it
    with pytest.raises(RunError, match="expected at least 3 institutions, found 2 left"):
        setting.run(job, lose)
    assert job.outcome is None


# -- going on ------------------------------------------------------------------------------------


def test_what_was_paid_before_a_run_was_cut_counts(
    make_setting: MakeSetting, tmp_path: Path
) -> None:
    setting = make_setting()
    book = Book.begin(setting, tmp_path / "runs")
    with book.record() as record:
        job = book.job(record)

        def cut(state: TrainingState, total: DecodedSum) -> None:
            del total
            if state.step == 2:
                raise ConnectionError

        job.on_step = cut
        with pytest.raises(ConnectionError):
            setting.run(job)
        assert job.outcome is None
    outcome = book.carry_on()
    plan = setting.federation.plan
    assert outcome.spent == plan.run_costs.total
    assert outcome.spent == max(ledger.spent() for ledger in setting.federation.ledgers.values())


def test_an_evaluated_run_is_not_evaluated_again(make_setting: MakeSetting, tmp_path: Path) -> None:
    setting = make_setting(protection=Protection.EXACT)
    book = Book.begin(setting, tmp_path / "runs")
    first, paid = book.carry_on(), setting.debits()
    asked: set[str] = set()
    grid = setting.federation.grid(tap=lambda m: asked.add(m.metadata.message_type))
    with book.record() as record:
        second = book.job(record).run(setting.over(grid))
    assert asked == {"query.hello"}
    assert second.parameters.tobytes() == first.parameters.tobytes()
    assert second.released_metrics == first.released_metrics
    assert (second.spent, second.attempts) == (first.spent, first.attempts)
    assert setting.debits() == paid


def test_metrics_that_noise_hid_stay_hidden_when_a_run_goes_on(
    make_setting: MakeSetting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = make_setting()
    book = Book.begin(setting, tmp_path / "runs")
    with monkeypatch.context() as patch:
        patch.setattr("fieldfare.shared.run.kinds.evaluation.evaluate", lambda *_: None)
        assert book.carry_on().released_metrics is None
    assert book.carry_on().released_metrics is None
