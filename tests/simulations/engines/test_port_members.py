"""Whoever adds institutions up as `Members` gives the same words: one pass, or groups on Ray."""

from importlib.util import find_spec

import pytest
from tests.simulations.engines.conftest import Experiments, bytes_of, study_of

from fieldfare.simulations.engines.conducting import Members
from fieldfare.simulations.engines.engine import Engine
from fieldfare.simulations.engines.one_pass import OnePass
from fieldfare.simulations.engines.ray_actors import RayGroups
from fieldfare.simulations.federation.in_memory import simulated

EVERY: tuple[type[Members], ...] = (OnePass, RayGroups)


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")  # nor loaded yet
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("plain", marks=pytest.mark.faults),
        pytest.param("centred on knots", marks=pytest.mark.promises),
        pytest.param("local", marks=pytest.mark.promises),
    ],
)
def test_groups_in_two_processes_give_the_same_bytes(name: str, experiment: Experiments) -> None:
    assert len(EVERY) == 2
    study = study_of(name)
    alone = simulated(experiment(study, 5, engine=Engine.SUMS))
    found = simulated(experiment(study, 5, engine=Engine.RAY, workers=2))
    assert bytes_of(found) == bytes_of(alone)
