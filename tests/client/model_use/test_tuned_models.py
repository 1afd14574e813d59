import stat
from dataclasses import replace

import numpy as np
import pytest
from tests.support.homes.institutions import NOW, Coordinator, OpenCustody
from tests.support.records.scored import Analyst, analyst_of

from fieldfare.client.home.models import ModelProvenance, model_provenance
from fieldfare.client.model_use import usable
from fieldfare.client.model_use.usable import (
    TunedModel,
    UsableModel,
    as_tuned,
    keep_tuned,
    tuned_model,
    usable_model,
)
from fieldfare.client.own_model.forest import Forest, Tree
from fieldfare.client.own_model.tuning import FittingKind, TuningOutcome
from fieldfare.shared.errors import UsageError


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return analyst_of(coordinator, custody_of, capsys, units=150)


def kept(analyst: Analyst) -> tuple[UsableModel, TunedModel]:
    model = usable_model(analyst.coordinator.institution(), "run-1")
    tuned = TuningOutcome(FittingKind.SCALED, 0.1 + 0.2, 0.5, model.parameters * 0.5, 100, 30)
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
    assert used.released is None
    assert np.array_equal(used.parameters, model.parameters * 0.5)


STACK = {"own boosting": 0.4, "shared": 0.6}
TREE = Tree(
    np.array([0, -1, -1]), np.array([5, 0, 0]), np.array([1, 0, 0]), np.array([2, 0, 0]),
    np.array([0.1 + 0.2, -1.0, 1.0]),
)  # fmt: skip


def kept_stack(analyst: Analyst) -> tuple[UsableModel, TunedModel]:
    model = usable_model(analyst.coordinator.institution(), "run-1")
    tuned = TuningOutcome(
        FittingKind.STACK, 0.0, 1.0, model.parameters * 0.5, 100, 30, Forest(0.1, (TREE,)), STACK
    )
    made = TunedModel.of(model.kept, model.parameters, tuned, NOW)
    keep_tuned(analyst.home, made)
    return model, made


def test_a_stack_comes_back_bit_for_bit(analyst: Analyst) -> None:
    model, made = kept_stack(analyst)
    assert tuned_model(analyst.home, model.kept, model.study, model.parameters) == made
    forest = as_tuned(analyst.coordinator.institution(), model).forest
    assert forest is not None
    assert forest.trees[0].values.tobytes() == TREE.values.tobytes()
    assert made.weights == STACK


def test_a_stack_whose_trees_were_changed_is_not_used(analyst: Analyst) -> None:
    model, made = kept_stack(analyst)
    (path,) = analyst.home.scoring.glob("tuned-*.json")
    loop = made.model_dump_json().replace('"left":[1,0,0]', '"left":[0,0,0]')
    far = made.model_dump_json().replace('"features":[0,', '"features":[99,')
    for text, said in ((loop, "one parent"), (far, "one parent"), (text_of_huge(made), "again")):
        path.write_text(text)
        with pytest.raises(UsageError, match=said):
            as_tuned(analyst.coordinator.institution(), model)


def text_of_huge(made: TunedModel) -> str:
    return made.model_dump_json().replace("-1.0,1.0]", "-1.0,1e9]")


def test_a_stack_over_an_unverified_model_is_unverified(
    analyst: Analyst, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is made of the coordinator's word alone is no better than that word."""
    kept_stack(analyst)
    institution = analyst.coordinator.institution()
    found = model_provenance(usable_model(institution, "run-1").kept, institution.roster)
    lower = replace(found, provenance=ModelProvenance.UNVERIFIED, words="the coordinator's word")
    monkeypatch.setattr(usable, "model_provenance", lambda *_: lower)
    with pytest.raises(UsageError, match="--unverified"):
        usable_model(institution, "run-1")
    used = as_tuned(institution, usable_model(institution, "run-1", unverified=True))
    assert (used.tuned, used.verified) == (True, "the coordinator's word")


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
