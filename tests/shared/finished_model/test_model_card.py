"""The model card's form: one spelling, no field too many, nothing that is no number."""

import json
from typing import Any

import pytest
import rfc8785
from pydantic import ValidationError
from tests.support.homes.institutions import home_study
from tests.support.runs.finished import FINISHED, facts_of, parameters_of

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.finished_model.card_writing import write_card
from fieldfare.shared.protocol.delivery import LARGEST_CARD
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import MAX_PROHIBITED

STUDY = home_study()
CARD = write_card(plan_for(STUDY), parameters_of(STUDY), facts_of(STUDY), FINISHED)
CONTENT = CARD.to_bytes()


def test_a_card_comes_back() -> None:
    assert ModelCard.from_bytes(CONTENT) == CARD
    assert rfc8785.dumps(json.loads(CONTENT)) == CONTENT


def changed(**changes: Any) -> bytes:
    return rfc8785.dumps(json.loads(CONTENT) | changes)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 100_000,
        b"\xff",
        b"{}",
        CONTENT + b"\n",
        CONTENT.replace(b'"name":"small"', b'"name": "small"'),
        CONTENT.replace(b'"name":"small"', b'"name":"small","name":"small"'),
        changed(format=2),
        changed(type="fieldfare.delivery.v1"),
        changed(more=1),
        changed(participants=["bank-a"]),
        changed(run="../x"),
        changed(finished="yesterday"),
        changed(study="AB" * 32),
        CONTENT.replace(b'"auroc":{"high":0.89', b'"auroc":{"high":1e999'),
        b"x" * (LARGEST_CARD + 1),
    ],
)
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(ProtocolError, match="card"):
        ModelCard.from_bytes(content)


def test_metrics_may_be_hidden() -> None:
    hidden = write_card(
        plan_for(STUDY), parameters_of(STUDY), facts_of(STUDY, metrics=None), FINISHED
    )
    assert ModelCard.from_bytes(hidden.to_bytes()).metrics is None


def test_the_card_of_the_largest_studies_fits() -> None:
    """A run that spent its budget must not fail because its card is too large."""
    feature = {"kind": "numeric", "lower": -1.234567890123456e-300, "upper": 1.2345678901234567e300}
    with pytest.raises(ValidationError, match="should match pattern"):  # six bytes a sign
        home_study(features=[{"name": "\x01" * 125, **feature}])
    many = [{"name": f"{i:03}" + "\U00020000" * 125, **feature} for i in range(1000)]
    study = home_study(features=many, prohibited_uses=["\x01" * 500] * MAX_PROHIBITED)
    card = write_card(plan_for(study), parameters_of(study), facts_of(study), FINISHED).to_bytes()
    assert LARGEST_CARD / 4 < len(card) < LARGEST_CARD
