"""Models of one pool, by names; what each maker sees; what rows of results say."""

import math
import sys

import pytest
from tests.simulations.strategies.conftest import MakeGiven

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.federation.others import MakerSight, beside
from fieldfare.simulations.federation.population import MeasuredUnits
from fieldfare.simulations.strategies.chosen import POOLED, STRATEGIES, WRAPPERS, other_named
from fieldfare.simulations.strategies.pooled import PooledModel


@pytest.mark.parametrize("name", POOLED)
def test_a_pooled_model_ranks_and_says_that_its_maker_sees_every_record(
    name: str, given: MakeGiven, test_units: MeasuredUnits
) -> None:
    if name == "dp-ebm":
        pytest.importorskip("interpret", reason="interpret-core is not installed")
    other, made = other_named(name), given()
    row = beside(other, made, test_units, 0.1)
    assert row == beside(other, made, test_units, 0.1)
    assert row["sees"] == MakerSight.RECORDS.value == "every record"
    assert row["auroc"] > (0.6 if name == "dp-ebm" else 0.7)
    assert row["epsilon"] == (4.0 if name == "dp-ebm" else None)
    assert row["promised"] == ("unit" if name == "dp-ebm" else None)
    assert set(row["per_institution"]) == set(made.training)


@pytest.mark.parametrize("name", [*STRATEGIES, *(f"fedavg+{one}" for one in WRAPPERS)])
def test_a_strategy_is_marked_by_what_its_maker_sees(
    name: str, given: MakeGiven, test_units: MeasuredUnits
) -> None:
    row = beside(other_named(name), given(), test_units, 0.1)
    assert row["name"] == name
    assert row["sees"] == "every update"
    assert row["promised"] == ("institution" if "+" in name else None)
    assert row["auroc"] is not None


@pytest.mark.parametrize("name", ["", "FedAvg", "fedavg+", "fedavg+local", "boosting+client-fixed"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="expected one of logistic, boosting, dp-ebm, fedavg"):
        other_named(name)


def test_without_its_library_a_model_says_what_to_install(
    given: MakeGiven, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "interpret.privacy", None)
    with pytest.raises(UsageError, match="expected interpret-core, found none here"):
        PooledModel.DP_EBM.fit(given())


def test_what_promises_nothing_has_no_epsilon(given: MakeGiven) -> None:
    assert PooledModel.BOOSTING.epsilon(given()) == math.inf
