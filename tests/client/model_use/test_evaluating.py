from dataclasses import replace

import numpy as np
import pytest
from tests.support.homes.institutions import NOW, Coordinator, OpenCustody, clock
from tests.support.homes.journals import logged
from tests.support.records.scored import Analyst, analyst_of, quick_grid

from fieldfare.client.home.keys import load_holdout_key
from fieldfare.client.journal.journal import Journal
from fieldfare.client.model_use.evaluate import (
    ALONE,
    HOME,
    SHARED,
    LocalLabels,
    evaluate,
    local_labels,
    tune_here,
)
from fieldfare.client.model_use.score import Sources
from fieldfare.client.model_use.usable import usable_model
from fieldfare.client.own_model.tuning import FittingKind
from fieldfare.client.records import holdout_mask
from fieldfare.shared.errors import UsageError


@pytest.fixture
def analyst(
    coordinator: Coordinator,
    custody_of: OpenCustody,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Analyst:
    monkeypatch.setattr("fieldfare.client.own_model.stack.own_grid", quick_grid)
    return analyst_of(coordinator, custody_of, capsys)


def labels(analyst: Analyst) -> LocalLabels:
    return local_labels(analyst.coordinator.institution(), analyst.study, Sources(), {}, ["group"])


def test_units_are_split_as_the_study_splits_them(analyst: Analyst) -> None:
    found = labels(analyst)
    key = load_holdout_key(analyst.home)
    names = [f"n{row:05d}" for row in range(2000)]
    held = holdout_mask(names, key=key, share=analyst.study.evaluation.holdout)
    assert (len(found.training), len(found.holdout)) == (int((~held).sum()), int(held.sum()))
    assert len(found.groups["group"]) == len(found.holdout)


def test_three_models_are_compared_on_the_same_units(analyst: Analyst) -> None:
    institution = analyst.coordinator.institution()
    model = usable_model(institution, "run-1")
    found = evaluate(institution, model, labels(analyst), budget=100, seed=0)
    assert list(found.qualities) == [SHARED, HOME, ALONE]
    assert found.budget == round(100 / 2000 * found.units)
    assert all(one.auroc.value > 0.7 for one in found.qualities.values())
    assert found == evaluate(institution, model, labels(analyst), budget=100, seed=0)
    assert [one.name for one in found.groups["group"]] == ["x", "y"]


@pytest.mark.promises
def test_a_kept_tuning_is_the_one_that_is_compared(analyst: Analyst) -> None:
    institution = analyst.coordinator.institution()
    model = usable_model(institution, "run-1")
    journal = Journal.open(analyst.home.log_folder, clock=clock)
    training = labels(analyst).training
    tune_here(institution, journal, model, training, FittingKind.SCALED, user="ana", now=NOW)
    found = evaluate(institution, model, labels(analyst), budget=None, seed=0)
    assert found.tuning == "scaled, kept since 2025-06-01"
    # Two numbers change no rank.
    assert found.qualities[HOME].auroc == found.qualities[SHARED].auroc
    last = logged(analyst.home.log_folder)[-1]
    assert (last["event"], set(last["details"])) == ("model tuned", {"study", "run"})


def test_too_few_held_out_labels_measure_nothing(analyst: Analyst) -> None:
    found = labels(analyst)
    none = found.holdout.select(found.holdout.labels == 0)
    institution = analyst.coordinator.institution()
    with pytest.raises(UsageError, match="0 positive"):
        evaluate(
            institution, usable_model(institution, "run-1"),
            replace(found, holdout=none), budget=None, seed=0,
        )  # fmt: skip
    assert np.all(none.labels == 0)
