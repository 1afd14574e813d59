"""Training units of three small banks as models of others get them."""

from collections.abc import Callable

import numpy as np
import pytest
from tests.simulations.conftest import BANKS, SimulationFolder

from fieldfare.client.records import read_records
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.features.basis import concatenate
from fieldfare.shared.models import UnitSums
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.simulations.federation.baselines import Trainer
from fieldfare.simulations.federation.others import TrainingInputs
from fieldfare.simulations.federation.population import MeasuredUnits

MakeGiven = Callable[..., TrainingInputs]


@pytest.fixture
def given(work: SimulationFolder) -> MakeGiven:
    """What models of others learn from: `others` hold no records at all."""

    def made(*, seed: int = 0, others: tuple[str, ...] = ()) -> TrainingInputs:
        study = work.write_study()
        records = read_records([work.records_file], study, institution_column="bank")
        owners = np.asarray(records.institutions)
        data = {name: records.data.select(owners == name) for name in BANKS}
        nobody = np.zeros(len(records), dtype=np.bool_)
        data |= dict.fromkeys(others, records.data.select(nobody))
        sums: dict[str, UnitSums] = {
            name: StudySums.prepare(study, part, np.zeros(len(part), dtype=np.bool_)).training
            for name, part in data.items()
        }
        units = {name: len(part) for name, part in data.items()}
        return TrainingInputs(Trainer(plan_for(study), sums, units, seed), data)

    return made


@pytest.fixture
def test_units(given: MakeGiven) -> MeasuredUnits:
    training = given().training
    owners = np.concatenate([np.full(len(part), name) for name, part in training.items()])
    return MeasuredUnits(concatenate(list(training.values())), owners, None)
