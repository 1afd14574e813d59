"""Baselines: the same features, steps and budget, and exactly the noise that each stands for."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest
from tests.simulations.conftest import BANKS, SimulationFolder, make_table
from tests.support.runs.grouped import grouped_study, grouped_sums

from fieldfare.client.records import read_records
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.models import UnitSums, model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.simulations.federation.baselines import Baseline, Trainer
from fieldfare.simulations.federation.federation import LocalFederation, noise_source

Vector = NDArray[np.float64]


class Nothing:
    """No units at all, but as long a vector as a test needs to see noise."""

    def __init__(self, entries: int) -> None:
        self._entries = entries

    def gradient_sum(self, _: Vector) -> NDArray[np.int64]:
        return np.zeros(self._entries, dtype=np.int64)

    def plain_gradient(self, _: Vector) -> Vector:
        return np.zeros(self._entries)


def parts_of(work: SimulationFolder) -> dict[str, StudySums]:
    records = read_records([work.records_file], work.write_study(), institution_column="bank")
    assert records.institutions is not None
    held = np.arange(len(records)) % 5 == 0
    return {
        name: StudySums.prepare(
            work.write_study(),
            records.data.select(records.institutions == name),
            held[records.institutions == name],
        )
        for name in BANKS
    }


def trainer_of(work: SimulationFolder, *, seed: int = 0, only: tuple[str, ...] = BANKS) -> Trainer:
    parts = {name: part for name, part in parts_of(work).items() if name in only}
    sums: dict[str, UnitSums] = {name: part.training for name, part in parts.items()}
    units = {name: part.training_count for name, part in parts.items()}
    return Trainer(plan_for(work.write_study()), sums, units, seed)


@pytest.fixture
def noise_only(work: SimulationFolder) -> Trainer:
    sums: dict[str, UnitSums] = {name: Nothing(6000) for name in BANKS}
    return Trainer(plan_for(work.write_study()), sums, dict.fromkeys(BANKS, 80), 0)


def test_names_on_the_command_line_and_in_results() -> None:
    assert [baseline.value for baseline in Baseline] == [
        "alone",
        "alone_dp",
        "local_dp",
        "central",
        "central_dp",
    ]


@pytest.mark.parametrize("baseline", Baseline)
def test_there_is_one_model_for_each_or_one_for_all(
    work: SimulationFolder, baseline: Baseline
) -> None:
    trained = trainer_of(work).train(baseline)
    assert sorted(trained) == (sorted(BANKS) if baseline.by_institution else [""])
    entries = model_for(work.write_study()).vectors.entries
    for parameters in trained.values():
        assert parameters.shape == (entries,)
        assert np.isfinite(parameters).all()


@pytest.mark.parametrize("baseline", Baseline)
def test_only_private_baselines_depend_on_the_seed(
    work: SimulationFolder, baseline: Baseline
) -> None:
    one, same, other = (
        np.concatenate(list(trainer_of(work, seed=seed).train(baseline).values()))
        for seed in (1, 1, 2)
    )
    assert one.tobytes() == same.tobytes()
    private = baseline.value.endswith("_dp")
    assert (one.tobytes() != other.tobytes()) is private


def test_central_is_all_records_in_one_place(work: SimulationFolder) -> None:
    """The same as one institution that holds everything, trained alone with the public count."""
    whole = make_table(banks=("all",))
    central = trainer_of(work).train(Baseline.CENTRAL)[""]
    records = read_records([work.write_records(whole)], work.write_study())
    held = np.arange(len(records)) % 5 == 0
    everything = StudySums.prepare(work.write_study(), records.data, held)
    sums: dict[str, UnitSums] = {"all": everything.training}
    study = work.write_study()
    alone = Trainer(plan_for(study), sums, {"all": int(study.training_units)}, 0)
    np.testing.assert_allclose(alone.train(Baseline.ALONE)["all"], central, atol=1e-9)


def test_alone_sees_its_own_records_only(work: SimulationFolder) -> None:
    together = trainer_of(work).train(Baseline.ALONE)
    for name in BANKS:
        assert trainer_of(work, only=(name,)).train(Baseline.ALONE)[name].tobytes() == (
            together[name].tobytes()
        )
    assert len({parameters.tobytes() for parameters in together.values()}) == len(BANKS)


@pytest.mark.parametrize(
    ("baseline", "factor"), [(Baseline.CENTRAL_DP, 1.0), (Baseline.LOCAL_DP, math.sqrt(3))]
)
def test_the_noise_of_one_sum_is_what_the_baseline_stands_for(
    noise_only: Trainer, baseline: Baseline, factor: float
) -> None:
    """One curator's noise, or everybody's own: accepted at sigma, not at 2/3 or 3/2 of it."""
    noise = noise_only._together(baseline)(np.zeros(6000))
    sigma = noise_only.plan.training.sigma * factor
    assert kstest(noise / sigma, "norm").pvalue > 1e-3
    for wrong in (2 / 3, 3 / 2):
        assert kstest(noise / (sigma * wrong), "norm").pvalue < 1e-12


def test_alone_with_privacy_has_the_whole_noise_by_itself(
    noise_only: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Vector] = []

    def first_gradient(self: Trainer, gradient: object) -> Vector:
        assert callable(gradient)
        seen.append(gradient(np.zeros(6000)))
        return np.zeros(6000)

    monkeypatch.setattr(Trainer, "_descend", first_gradient)
    noise_only.train(Baseline.ALONE_DP)
    study = noise_only.plan.study
    sigma = noise_only.plan.training.sigma * study.training_units / 80  # divided by its own 80
    assert len(seen) == len(BANKS)
    for noise in seen:
        assert kstest(noise / sigma, "norm").pvalue > 1e-3
        for wrong in (2 / 3, 3 / 2):
            assert kstest(noise / (sigma * wrong), "norm").pvalue < 1e-12
    correlations = np.corrcoef(seen) - np.eye(len(BANKS))
    assert np.abs(correlations).max() < 0.06  # nobody's noise is another's


def test_noise_is_fresh_in_every_step(noise_only: Trainer) -> None:
    gradient = noise_only._together(Baseline.CENTRAL_DP)
    first, second = gradient(np.zeros(6000)), gradient(np.zeros(6000))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


def test_one_curator_is_compared_under_the_federations_own_draws(work: SimulationFolder) -> None:
    """Paired noise: what differs is how much each adds, not the luck of the draw."""
    study = work.write_study()
    parts = parts_of(work)
    plan = plan_for(study)
    entries = plan.training.vectors.entries
    noise = sum(
        noise_source(Protection.SIMULATED, seed=4, stream=index).sample(
            entries, plan.training.share(len(parts), 1)
        )
        for index in range(len(parts))
    )
    sums: dict[str, UnitSums] = {name: Nothing(entries) for name in parts}
    trainer = Trainer(plan, sums, dict.fromkeys(parts, 1), 4)
    curator = trainer._together(Baseline.CENTRAL_DP)(np.zeros(entries))
    federated = np.ldexp(np.asarray(noise, dtype=np.float64), -plan.training.vectors.gamma_bits)
    np.testing.assert_allclose(federated, curator * math.sqrt(3 / 2), atol=1e-6)


@pytest.mark.parametrize(("participants", "tolerance"), [(3, 1), (5, 1), (5, 3)])
def test_learning_as_the_federation_does_meets_all_shares_of_the_noise(
    participants: int, tolerance: int, work: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every share that a deployment draws, to the last draw, and not what one curator adds."""
    names = [f"bank-{index}" for index in range(participants)]
    privacy = {"collusion_tolerance": str(tolerance)}
    plan = plan_for(
        work.write_study(privacy=privacy, aggregation={"minimum_institutions": str(participants)})
    )
    drawn = sum(
        noise_source(Protection.SIMULATED, seed=4, stream=index).sample(
            6000, plan.training.share(participants, tolerance)
        )
        for index in range(participants)
    )
    seen: list[Vector] = []

    def first_gradient(self: Trainer, gradient: Callable[[Vector], Vector]) -> TrainingState:
        seen.append(gradient(np.zeros(6000)))
        return self.start

    monkeypatch.setattr(Trainer, "_trained", first_gradient)
    sums: dict[str, UnitSums] = {name: Nothing(6000) for name in names}
    Trainer(plan, sums, dict.fromkeys(names, 80), 4).federated()
    expected = np.ldexp(np.asarray(drawn, dtype=np.float64), -plan.training.vectors.gamma_bits)
    np.testing.assert_allclose(seen[0], expected, atol=1e-6)


def test_an_institution_without_units_learns_nothing_and_stays_finite(
    work: SimulationFolder,
) -> None:
    work.write_records(make_table(2))  # the third bank has none, and who has one holds it out
    trainer = trainer_of(work)
    for baseline in Baseline:
        for parameters in trainer.train(baseline).values():
            assert np.isfinite(parameters).all()
    start = model_for(work.write_study()).initial(math.log(0.3 / 0.7))
    assert trainer.train(Baseline.ALONE)["bank-c"].tolist() == start.tolist()


def test_more_noise_scatters_models_more(work: SimulationFolder) -> None:
    """Over seeds: one curator's noise, everybody's full noise.

    Bias and the knots of the amount only: in a slot where nobody is, Adam walks at the same
    pace whatever the size of the noise.
    """
    generous = plan_for(work.write_study(privacy={"epsilon": "50.0"}))
    scatter = {}
    for baseline in (Baseline.CENTRAL_DP, Baseline.LOCAL_DP):
        models = [
            replace(trainer_of(work, seed=seed), plan=generous).train(baseline)[""][:5]
            for seed in range(8)
        ]
        scatter[baseline] = float(np.std(models, axis=0).mean())
    assert 1.2 < scatter[Baseline.LOCAL_DP] / scatter[Baseline.CENTRAL_DP] < 3.0


def test_the_federation_is_near_the_curator(work: SimulationFolder) -> None:
    study, parts = work.write_study(), parts_of(work)
    with LocalFederation(study, parts, Protection.SIMULATED, seed=0) as federation:
        federated = federation.run(federation.job()).parameters
    curator = trainer_of(work).train(Baseline.CENTRAL_DP)[""]
    alone = trainer_of(work).train(Baseline.ALONE_DP)["bank-a"]
    assert np.abs(federated - curator).max() < np.abs(alone - curator).max()


@pytest.mark.parametrize("kind", ["whitened", "centred"])
def test_learning_in_other_coordinates_is_what_the_federation_does(kind: str) -> None:
    """Moments first, on the same draws; then steps in what follows from them."""
    study = grouped_study(
        geometry={"kind": kind}, evaluation={"groups": []}, training={"steps": 20}
    )
    sums = {name: grouped_sums(study, 800, seed=seed) for seed, name in enumerate(BANKS)}
    with LocalFederation(study, sums, Protection.SIMULATED, seed=4) as federation:
        outcome = federation.run(federation.job())
    turned = {name: one.turned for name, one in sums.items() if one.turned is not None}
    trainer = Trainer(
        plan_for(study),
        {name: one.training for name, one in sums.items()},
        {name: one.training_count for name, one in sums.items()},
        4,
        turned=turned,
    )
    np.testing.assert_allclose(trainer.federated(), outcome.parameters, atol=0.01)
    known = replace(trainer, geometry=outcome.geometry)
    np.testing.assert_allclose(known.federated(), outcome.parameters, atol=1e-6)
    central = known.train(Baseline.CENTRAL)[""]
    assert np.abs(central - outcome.parameters).max() > 0.01  # no noise, and as plain as the rest
    scores = [
        sums[BANKS[0]].model.scores(one, sums[BANKS[0]].holdout) for one in (central, -central)
    ]
    labels = sums[BANKS[0]].holdout.labels == 1
    assert scores[0][labels].mean() > scores[0][~labels].mean()
    assert scores[1][labels].mean() < scores[1][~labels].mean()
