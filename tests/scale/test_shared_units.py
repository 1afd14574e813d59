"""Ray shares the units of few institutions among more cores, and the simulation's bytes stay."""

import pytest
from tests.simulations.engines.conftest import (
    Experiments,
    bytes_of,
    experiment,
    records_file,
    study_of,
)

from fieldfare.simulations.engines import ray_actors
from fieldfare.simulations.engines.engine import Engine
from fieldfare.simulations.federation.in_memory import simulated

__all__ = ["experiment", "records_file"]

pytestmark = pytest.mark.promises


@pytest.mark.parametrize("name", ["plain", "groups", "whitened", "started"])
def test_a_simulation_of_few_institutions_shares_its_units_among_cores(
    name: str, experiment: Experiments, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    class Counted(ray_actors.RayPartitions):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)  # type: ignore[arg-type]
            counts.append(len(self._actors))

    monkeypatch.setattr(ray_actors, "RayPartitions", Counted)
    study = study_of(name)
    alone = simulated(experiment(study, 3, engine=Engine.SUMS))
    found = simulated(experiment(study, 3, engine=Engine.RAY, workers=4))
    assert bytes_of(found) == bytes_of(alone)
    assert counts == [4]
