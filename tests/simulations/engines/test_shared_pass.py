"""A pass whose units others add up gives the words of one that adds them up itself."""

from pathlib import Path

import numpy as np
import pytest
from tests.simulations.engines.conftest import study_of

from fieldfare.client.sums.partitions import InOneProcess
from fieldfare.shared.models import trained_model
from fieldfare.shared.protocol.messages import ReleaseKind, parameters_to_bytes
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.simulations.engines.one_pass import AskedRelease, OnePass, joined, sums_join
from fieldfare.simulations.federation.population import (
    RecordsChoice,
    institutions_of,
    load_population,
)


@pytest.mark.parametrize("name", ["plain", "groups", "texts", "started", "knots"])
def test_shared_units_give_the_same_words(name: str, records_file: Path) -> None:
    study = study_of(name)
    plan, choice = plan_for(study), RecordsChoice((str(records_file),), institutions=3)
    population = load_population(study, choice, seed=7)
    everybody = [institutions_of(study, population, seed=7) for _ in range(2)]
    parts = InOneProcess(study, joined(study, everybody[1]).cut(study, 4))
    alone, shared = OnePass(plan, everybody[0]), OnePass(plan, everybody[1], parts)
    at = trained_model(study).initial(-1.0)
    kinds = [ReleaseKind.TRAINING]
    if study.public_start is None:  # else what is trained is not what is evaluated
        kinds.append(ReleaseKind.EVALUATION)
    if study.groups:
        kinds.append(ReleaseKind.FAIRNESS)
    for kind in kinds:
        given = np.append(at, 0.1) if kind is ReleaseKind.FAIRNESS else at
        asked = AskedRelease(kind, parameters_to_bytes(given), 3)
        one, other = alone.summed(asked), shared.summed(asked)
        assert one.exact.any()
        assert one.exact.tolist() == other.exact.tolist()
        assert one.words.tolist() == other.words.tolist()


def test_networks_and_questions_are_not_shared_so() -> None:
    joins = {name: sums_join(study_of(name)) for name in ("plain", "texts", "network", "questions")}
    assert joins == {"plain": True, "texts": True, "network": False, "questions": False}
