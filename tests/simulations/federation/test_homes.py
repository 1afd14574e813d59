"""Own best models and the shared one used at home, measured on own held-out units."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from tests.simulations.conftest import SimulationFolder

from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.simulations.demo.five_banks import help_study
from fieldfare.simulations.federation.homes import (
    Homes,
    JointTrainer,
    OwnFits,
    customers_of,
    homes_of,
    rows_of,
)
from fieldfare.simulations.federation.population import load_population


def population(work: SimulationFolder) -> dict[str, EncodedUnits]:
    task = work.task()
    records = load_population(task.study, task.choice, seed=0).records
    return {name: one.data for name, one in records.items()}


def made(work: SimulationFolder, training: dict[str, EncodedUnits]) -> Homes:
    study = work.task().study
    shared = model_for(study).initial(-2.0)
    return homes_of(OwnFits.begin(study, shared, training), shared)


def test_each_institution_has_both(work: SimulationFolder) -> None:
    training = population(work)
    found = made(work, training)
    assert list(found.alone) == list(found.at_home) == list(training)
    for name, data in training.items():
        alone = average_precision_score(data.labels, found.alone[name].scores(data))
        assert alone > 1.3 * data.labels.mean()  # the label follows the amount


def test_one_without_cases_has_the_shared_model_at_home(work: SimulationFolder) -> None:
    training = population(work)
    name, data = next(iter(training.items()))
    study, shared = work.task().study, model_for(work.task().study).initial(-2.0)
    for labels in (np.zeros_like(data.labels), np.ones_like(data.labels)):
        one = {name: EncodedUnits(data.positions, labels)}
        found = homes_of(OwnFits.begin(study, shared, one), shared)
        assert np.isfinite(found.alone[name].scores(data)).all()
        assert found.at_home[name].parameters.tolist() == shared.tolist()
        rows = rows_of(found, SumModel(model_for(study), shared), {name: 0}, one, (0.05, 0))
        assert rows == []


def test_each_institution_has_a_row(work: SimulationFolder) -> None:
    training = population(work)
    found, study = made(work, training), work.task().study
    shared = SumModel(model_for(study), model_for(study).initial(-2.0))
    learned = {name: int(data.labels.sum()) for name, data in training.items()}
    rows = rows_of(found, shared, learned, training, (0.05, 3))
    assert [row.institution for row in rows] == list(training)
    assert {row.auroc for row in rows} == {0.5}
    same = rows_of(Homes(found.alone, found.alone), shared, learned, training, (0.05, 3))
    assert {row.at_home == row.alone for row in same} == {True}


def test_customers_are_split_as_in_a_simulation_and_know_their_kinds(
    work: SimulationFolder,
) -> None:
    task = work.task()
    split = load_population(task.study, task.choice, seed=2)
    found = customers_of(task.study, task.choice, seed=2, columns={"rare": "persona"})
    for own in found:
        out = split.holdout[own.name]
        assert (len(own.training), len(own.held)) == (int((~out).sum()), int(out.sum()))
        learned, held = own.kinds["rare"]
        assert set(learned) | set(held) == {"student", "nurse"}
        assert (len(learned), len(held)) == (len(own.training), len(own.held))


def test_the_placebo_learns_from_labels_dealt_anew(
    work: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each institution keeps its units and its number of cases; who is one says nothing."""
    task, seen = work.task(), dict[str, EncodedUnits]()
    customers = customers_of(task.study, task.choice, seed=0)
    asks = task.study.model_copy(update={"queries": ()})
    monkeypatch.setattr(JointTrainer, "shared", lambda _, training: seen.update(training))
    JointTrainer.of(asks, 0).placebo(customers)
    for own in customers:
        dealt = seen[own.name]
        assert dealt.labels.sum() == own.training.labels.sum()
        assert dealt.labels.tolist() != own.training.labels.tolist()
        assert np.array_equal(dealt.positions, own.training.positions)


def test_a_study_without_sums_is_refused(work: SimulationFolder) -> None:
    asks = work.task().study.model_copy(update={"queries": ()})
    assert JointTrainer.of(asks, 0).seed == 0
    with pytest.raises(UsageError, match="expected a study of features"):
        JointTrainer.of(help_study(), 0)
