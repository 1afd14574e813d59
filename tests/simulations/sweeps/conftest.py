"""A small sweep on disk: three hundred records, two features, six steps."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.simulations.conftest import SimulationFolder
from tests.support.records.scored import quick_grid

from fieldfare.simulations.metrics import METRICS
from fieldfare.simulations.sweeps.plan import AXES, SweepPlan, sweep_of

MakePlan = Callable[..., SweepPlan]


@pytest.fixture
def make_plan(work: SimulationFolder, monkeypatch: pytest.MonkeyPatch) -> MakePlan:
    monkeypatch.setattr("fieldfare.client.own_model.stack.own_grid", quick_grid)

    def make(**given: object) -> SweepPlan:
        asked: dict[str, object] = {"institutions": (3,), "seeds": (0,), **given}
        return sweep_of(str(work.study_file), [str(work.records_file)], **asked)

    return make


Pair = tuple[list[float], list[float]]


def rows_of(values: Mapping[tuple[float, int], Pair]) -> list[dict[str, Any]]:
    """Rows of points by epsilon and institutions: alone and at home, a value for each seed."""
    rows = []
    for point, ((epsilon, count), pair) in enumerate(values.items()):
        axes: dict[str, Any] = {**dict.fromkeys(AXES), "epsilon": epsilon, "institutions": count}
        for learner, found in zip(("alone", "at_home"), pair, strict=True):
            for seed, value in enumerate(found):
                run = {"point": 10 * point + seed, "seed": seed, "finished": True, "failure": ""}
                sent = {"rounds": 7, "bytes_down": 3e6, "bytes_up": 1e6}
                for name, held in (("", "mean"), ("bank-1", "own")):
                    own = {"learner": learner, "institution": name, "held": held}
                    rows.append({**axes, **own, **run, **sent, **dict.fromkeys(METRICS, value)})
    return rows
