"""One pass over all institutions gives the bytes that real custodians give, or refuses."""

import pytest
from tests.simulations.engines.conftest import STUDIES, Experiments, bytes_of, study_of

from fieldfare.shared.errors import RunError, StudyError, UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.simulations.engines.engine import Engine
from fieldfare.simulations.federation.in_memory import simulated

QUICK = {"groups", "whitened", "centred on knots", "started", "local"}


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.promises) for n in STUDIES]
)
def test_every_kind_of_release_gives_the_same_bytes(name: str, experiment: Experiments) -> None:
    study = study_of(name)
    deployed = simulated(experiment(study))
    summed = simulated(experiment(study, engine=Engine.SUMS))
    assert bytes_of(summed) == bytes_of(deployed)


@pytest.mark.parametrize("institutions", [5, pytest.param(20, marks=pytest.mark.promises)])
def test_any_number_of_institutions_gives_the_same_bytes(
    institutions: int, experiment: Experiments
) -> None:
    study = study_of("plain", aggregation={"minimum_institutions": 4})
    deployed = simulated(experiment(study, institutions))
    summed = simulated(experiment(study, institutions, engine=Engine.SUMS))
    assert bytes_of(summed) == bytes_of(deployed)
    assert len(summed.outcome.participants) == institutions
    other = simulated(experiment(study_of("questions"), institutions, engine=Engine.SUMS))
    assert bytes_of(other) != bytes_of(summed)


def test_exact_noise_is_refused(experiment: Experiments) -> None:
    asked = experiment(study_of("plain"), engine=Engine.SUMS, protection=Protection.EXACT)
    with pytest.raises(UsageError, match="expected simulated noise with the engine sums"):
        simulated(asked)


def test_a_home_is_refused() -> None:
    with pytest.raises(UsageError, match="expected institutions without homes"):
        Engine.SUMS.check(Protection.SIMULATED, has_home=True)
    Engine.CUSTODIANS.check(Protection.EXACT, has_home=True)


@pytest.mark.parametrize(
    ("engine", "address", "workers", "message"),
    [
        ("custodians", "10.0.0.1:6379", None, "the engine ray with an address.*, found custodians"),
        ("sums", None, 2, "the engine ray with a number of workers, found sums"),
        ("ray", "10.0.0.1:6379", 2, "found both: a cluster that runs already has its cores"),
        ("ray", None, 0, "workers: expected a number from 1 on, found 0"),
    ],
)
def test_a_cluster_that_nobody_uses_is_refused(
    engine: str, address: str | None, workers: int | None, message: str, experiment: Experiments
) -> None:
    given = {"engine": Engine(engine), "ray_address": address, "workers": workers}
    with pytest.raises(UsageError, match=message):
        simulated(experiment(study_of("plain"), **given))
    Engine.RAY.check_cluster("10.0.0.1:6379")
    Engine.RAY.check_cluster(None, 2)


def test_a_sum_out_of_range_stops_the_run(experiment: Experiments) -> None:
    """The study says 2 units where 240 come: both engines stop at the same sum."""
    study = study_of("plain", records={"units": 2, "prevalence": 0.9}, privacy={"epsilon": 100.0})
    said = []
    for engine in (Engine.CUSTODIANS, Engine.SUMS):
        with pytest.raises(RunError, match="out of range") as caught:
            simulated(experiment(study, engine=engine))
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_groups_of_institutions_that_are_too_few_are_refused(experiment: Experiments) -> None:
    banks = [
        {
            "name": "kind",
            "kind": "institution",
            "groups": {"a": ["institution-1", "bank-x", "bank-y"]},
        }
    ]
    query = {"name": "by kind", "kind": "group_by", "by": ["kind"], "column": "amount"}
    study = study_of("plain", columns=banks, queries=[query], privacy={"query_share": 0.3})
    for engine in (Engine.CUSTODIANS, Engine.SUMS):
        with pytest.raises(StudyError, match="expected at least"):
            simulated(experiment(study, engine=engine))
