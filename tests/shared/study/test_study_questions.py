"""What a study may ask, and at what share of its promise."""

from typing import Any

import pytest
from pydantic import ValidationError
from tests.support.runs.asking import asking

from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study

COUNT = {"name": "n", "kind": "count"}
ALLOWANCE = {"kinds": ["count"], "columns": ["hours"]}


def refusal(*queries: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        asking(*queries, **changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, 1.0),
        ({"steps": 5}, 0.2),
        ({"steps": 5, "privacy": {"query_share": 0.4}}, 0.4),
        ({"allowance": ALLOWANCE}, 1.0),
        ({"steps": 5, "queries": [], "allowance": ALLOWANCE}, 0.2),
        ({"steps": 5, "queries": []}, 0.0),
    ],
)
def test_questions_cost_their_share_and_never_more_than_all_of_it(
    changes: dict[str, Any], share: float
) -> None:
    study = asking(COUNT, **changes)
    plan = plan_for(study)
    assert study.query_share == share
    asked = sum(terms.mu2 * (terms.steps + terms.spare) for terms in (plan.query, plan.allowance))
    trained = plan.mu2 - asked
    assert asked == pytest.approx(share * plan.mu2, rel=1e-6)
    assert trained == pytest.approx((1 - share) * plan.mu2, rel=1e-6, abs=1e-9)
    assert plan.epsilon() <= study.privacy.epsilon


def test_an_allowance_takes_half_of_what_declared_questions_leave_it_or_all_there_is() -> None:
    beside = plan_for(asking(COUNT, allowance=ALLOWANCE))
    alone = plan_for(asking(COUNT, allowance=ALLOWANCE, queries=[]))
    assert beside.query.steps == 1
    assert alone.query.steps == 0
    whole = alone.allowance.mu2 * (alone.allowance.steps + alone.allowance.spare)
    part = beside.allowance.mu2 * (beside.allowance.steps + beside.allowance.spare)
    assert part == pytest.approx(whole / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"privacy": {"query_share": 0}}, "expected more than 0 where questions are asked"),
        ({"privacy": {"query_share": 0.5}}, "1 where nothing is trained"),
        ({"steps": 3, "privacy": {"query_share": 1}}, "expected less than 1 where a model"),
        ({"steps": 3, "queries": [], "privacy": {"query_share": 0.3}}, "0 where no"),
        ({"queries": []}, "training.steps: expected greater than or equal to 1, found 0"),
        ({"allowance": {**ALLOWANCE, "share": 1}}, "expected less than 1 where queries"),
        ({"allowance": {**ALLOWANCE, "columns": ["huors"]}}, "expected a declared column"),
        ({"allowance": {**ALLOWANCE, "kinds": ["exec"]}}, "kinds"),
        ({"queries": [COUNT, COUNT]}, "a name of its own"),
        ({"queries": [{"name": "m", "kind": "mean", "column": "huors"}]}, "found 'huors'"),
        ({"columns": [{"name": "hours", "kind": "open"}]}, "expected a new name, found 'hours'"),
        ({"columns": [{"name": "ethnicity", "kind": "open"}]}, "harm rule 4"),
        (
            {
                "columns": [
                    {"name": name, "kind": "institution", "groups": {"all": list("abc")}}
                    for name in ("size", "region")
                ]
            },
            "expected one column of kind institution",
        ),
    ],
)
def test_what_cannot_be_asked_is_said_when_the_study_is_read(
    changes: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(COUNT, **changes)


def test_no_share_for_no_questions_is_as_if_unsaid() -> None:
    data = asking(steps=2).model_dump(mode="json")
    data |= {"queries": [], "columns": []}
    data["privacy"]["query_share"] = 0
    said = Study.model_validate(data)
    del data["privacy"]["query_share"]
    assert said == Study.model_validate(data)
    assert said == Study.model_validate_json(said.canonical())
