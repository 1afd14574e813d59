import stat

import numpy as np
import pytest
from tests.support.homes.institutions import NOW, Coordinator, OpenCustody
from tests.support.records.scored import Analyst, analyst_of

from fieldfare.client.model_use.usable import (
    TunedModel,
    UsableModel,
    as_tuned,
    keep_tuned,
    tuned_model,
    usable_model,
)
from fieldfare.client.scoring.tuning import FittingKind, Tuned
from fieldfare.shared.errors import UsageError


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return analyst_of(coordinator, custody_of, capsys, units=150)


def kept(analyst: Analyst) -> tuple[UsableModel, TunedModel]:
    model = usable_model(analyst.coordinator.institution(), "run-1")
    tuned = Tuned(FittingKind.SCALED, 0.1 + 0.2, 0.5, model.parameters * 0.5, 100, 30)
    made = TunedModel.of(model.kept, model.parameters, tuned, NOW)
    path = keep_tuned(analyst.home, made)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return model, made


def test_a_tuning_comes_back_bit_for_bit(analyst: Analyst) -> None:
    model, made = kept(analyst)
    found = tuned_model(analyst.home, model.kept, model.study, model.parameters)
    assert found == made
    used = as_tuned(analyst.coordinator.institution(), model)
    assert used.tuned
    assert np.array_equal(used.parameters, model.parameters * 0.5)


def test_where_nothing_was_tuned_it_says_how(analyst: Analyst) -> None:
    model = usable_model(analyst.coordinator.institution(), "run-1")
    assert tuned_model(analyst.home, model.kept, model.study, model.parameters) is None
    with pytest.raises(UsageError, match="institution tune"):
        as_tuned(analyst.coordinator.institution(), model)


def test_a_tuning_of_another_model_is_not_used(analyst: Analyst) -> None:
    model, made = kept(analyst)
    with pytest.raises(UsageError, match="tune it again"):
        tuned_model(analyst.home, model.kept, model.study, model.parameters + 1)
    for wrong in (made.model_copy(update={"run": "other"}), made.model_copy(
            update={"parameters": made.parameters[1:]})):  # fmt: skip
        (path,) = analyst.home.scoring.glob("tuned-*.json")
        path.write_text(wrong.model_dump_json())
        with pytest.raises(UsageError, match="tune it again"):
            tuned_model(analyst.home, model.kept, model.study, model.parameters)
    path.write_text("{}")
    with pytest.raises(UsageError, match="tune it again"):
        tuned_model(analyst.home, model.kept, model.study, model.parameters)
