"""A refusal is no answer: the same to whoever asks, whatever records are behind it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.bench import STEPS, Bench, MakeBench, make_study, make_sums
from tests.security.hostile_closing import HOSTILE

from fieldfare.client.sums import StudySums
from fieldfare.shared.errors import PolicyRefusal, RefusalCode
from fieldfare.shared.messages import Assurance, Refusal, parameters_to_bytes
from fieldfare.shared.plan import ReleaseKind
from fieldfare.shared.study import Study
from fieldfare.simulations.federation import LocalFederation

# bank-a: like any other; bank-b: nobody; bank-c: one class; bank-d: one unit.
DATABASES: Final[Mapping[str, Callable[[Study], StudySums]]] = {
    "bank-a": lambda study: make_sums(study, 200),
    "bank-b": lambda study: make_sums(study, 0),
    "bank-c": lambda study: make_sums(study, 50, label=1),
    "bank-d": lambda study: make_sums(study, 1),
}


MODES: Final = ({"steps": STEPS}, {"mode": "local", "steps": STEPS, "local_steps": 3})


def databases(study: Study) -> dict[str, StudySums]:
    return {name: make(study) for name, make in DATABASES.items()}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One federation for all rows; each row gets runs of its own."""
    study = make_study(privacy={"spare_releases": 1000})
    sums = databases(study)
    folder = tmp_path_factory.mktemp("ledgers")
    with LocalFederation(study, sums, Assurance.EXACT, seed=0, directory=folder) as federation:
        yield Bench(federation, sums)


@pytest.mark.parametrize("row", HOSTILE)
def test_different_databases_refuse_with_the_same_bytes(
    row: str, shared: Bench, make_bench: MakeBench
) -> None:
    hostile, bench = HOSTILE[row], shared
    if hostile.study:
        study = make_study(**hostile.study)
        bench = make_bench(study, databases(study))
    run = bench.open_run()
    answers = [hostile.build(replace(run, tag=name), name)() for name in bench.names]
    found = {answer.to_bytes() for answer in answers if isinstance(answer, Refusal)}
    assert found == {Refusal(hostile.code).to_bytes()}
    assert all(isinstance(answer, Refusal) for answer in answers)


@pytest.mark.parametrize("training", MODES)
def test_good_requests_are_answered_with_equal_lengths(
    training: dict[str, Any], make_bench: MakeBench
) -> None:
    study = make_study(training=training)
    bench = make_bench(study, databases(study))
    run = bench.open_run()
    places = [
        (ReleaseKind.REHEARSAL, 0),
        *((ReleaseKind.TRAINING, step) for step in range(STEPS)),
        (ReleaseKind.EVALUATION, STEPS),
    ]
    for place in places:
        request = run.request(*place)
        answers = [run.answer(name, request) for name in bench.names]
        assert len({len(answer.vector) for answer in answers}) == 1
        assert len({len(answer.reply) for answer in answers}) == 1


@pytest.mark.parametrize("value", [1e4, -1e4, 0.0, 5e-324])
@pytest.mark.parametrize("training", MODES)
def test_the_largest_parameters_are_answered_whatever_the_records(
    value: float,
    training: dict[str, Any],
    make_bench: MakeBench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scores that overflow, all at once, are still nobody's reason to refuse.

    Where sums are too large to be sent again, parameters are of the coordinator's choice.
    """
    monkeypatch.setattr("fieldfare.shared.last_sum.MOST_WORDS", 0)
    study = make_study(training=training)
    bench = make_bench(study, databases(study))
    run = bench.open_run()
    content = parameters_to_bytes(np.full(bench.plan.training.parameter_entries, value))
    for name in bench.names:
        run.answer(name, run.request(parameters=content), content)
        request = run.request(ReleaseKind.EVALUATION, STEPS, parameters=content)
        run.answer(name, request, content)


def test_hello_openings_and_offers_have_equal_lengths(make_bench: MakeBench) -> None:
    study = make_study()
    bench = make_bench(study, databases(study))
    hellos = [bench.custodian(name).describe(study.id) for name in bench.names]
    assert len({len(hello) for hello in hellos if isinstance(hello, bytes)}) == 1
    assert not [hello for hello in hellos if isinstance(hello, Refusal)]


@pytest.mark.parametrize("assurance", Assurance)
@pytest.mark.parametrize("training", MODES)
def test_institutions_without_units_classes_or_company_take_part_in_a_whole_run(
    assurance: Assurance, training: dict[str, Any], tmp_path: Path
) -> None:
    study = make_study(training=training)
    sums = databases(study)
    with LocalFederation(study, sums, assurance, seed=3, directory=tmp_path) as federation:
        outcome = federation.run(federation.job())
    assert outcome.participants == tuple(DATABASES)
    assert np.isfinite(outcome.parameters).all()
    planned = STEPS * federation.plan.training.cost + federation.plan.evaluation.cost
    assert (outcome.spent, outcome.attempts) == (planned, 0)


def test_a_federation_of_nobody_runs_and_measures_nothing(tmp_path: Path) -> None:
    study = make_study(privacy={"epsilon": 50.0})
    sums = {name: make_sums(study, 0) for name in DATABASES}
    with LocalFederation(study, sums, Assurance.EXACT, seed=0, directory=tmp_path) as federation:
        outcome = federation.run(federation.job())
    assert np.isfinite(outcome.parameters).all()


class _Fussy:
    """Sums that refuse when there is nobody: what a custodian must never be."""

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        raise PolicyRefusal(RefusalCode.NOT_IN_PLAN, f"units expected for {len(parameters)}")

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError


def test_a_refusal_that_depends_on_records_would_be_seen(make_bench: MakeBench) -> None:
    study = make_study()
    sums = databases(study)
    sums["bank-b"] = replace(sums["bank-b"], training=_Fussy())
    bench = make_bench(study, sums)
    run = bench.open_run()
    answers = [run.ask(name, run.request()) for name in bench.names]
    assert [isinstance(answer, Refusal) for answer in answers] == [False, True, False, False]
