"""`[geometry]`: what it fills in, what it leaves out, and what it does not fit."""

import json
from typing import Any

import pytest
from pydantic import ValidationError
from tests.support.runs.asking import asking
from tests.support.runs.written_runs import base

from fieldfare.shared.study.study import Study

TEXTS: dict[str, Any] = {"model": {"kind": "text", "column": "words", "buckets": 64}}


def test_a_study_without_it_does_not_mention_it() -> None:
    assert base().geometry is None
    assert b"geometry" not in base().canonical()


@pytest.mark.parametrize(
    ("kind", "share", "norm", "rate"),
    [("whitened", 0.1, 1.0, 0.1), ("centred", 0.03, 0.0625, 0.15)],
)
def test_it_fills_in_what_its_coordinates_ask(
    kind: str, share: float, norm: float, rate: float
) -> None:
    study = base(geometry={"kind": kind})
    assert study.geometry is not None
    assert study.geometry.of_training == share
    assert (study.privacy.clipping_norm, study.training.learning_rate) == (norm, rate)
    again = Study.model_validate(json.loads(study.canonical()))
    assert (again, again.id) == (study, study.id)
    assert ("ridge" in json.loads(study.canonical())["geometry"]) == (kind == "whitened")


def test_what_the_study_says_stays() -> None:
    study = base(
        geometry={"kind": "whitened", "share": 0.2, "ridge": 4.0},
        privacy={"clipping_norm": 0.5},
        training={"learning_rate": 0.05},
    )
    assert study.geometry is not None
    assert (study.geometry.of_training, study.geometry.ridge) == (0.2, 4.0)
    assert (study.privacy.clipping_norm, study.training.learning_rate) == (0.5, 0.05)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"training": {"mode": "local", "steps": 2}}, "training.mode is 'local'"),
        ({"model": {"kind": "mlp"}}, "beside a network"),
        (
            {
                "features": [],
                "model": {"kind": "vector", "column": "v", "entries": 64, "hidden": 4},
            },
            "beside a network",
        ),
        ({"geometry": {"kind": "centred", "ridge": 2.0}}, "geometry.kind is 'whitened'"),
        ({"geometry": {"kind": "spherical"}}, "'whitened' or 'centred'"),
        ({"geometry": {"kind": "whitened", "share": 1.0}}, "less than 1"),
    ],
)
def test_what_it_does_not_fit_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        base(**{"geometry": {"kind": "whitened"}, **changes})


def test_questions_alone_have_no_coordinates() -> None:
    with pytest.raises(ValidationError, match="no model is trained"):
        asking(geometry={"kind": "whitened"})


def test_rows_may_have_them() -> None:
    study = base(features=[], geometry={"kind": "whitened"}, **TEXTS)
    assert study.geometry is not None
