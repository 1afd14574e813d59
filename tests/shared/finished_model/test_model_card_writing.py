"""What a card says follows from study and model, and what does not follow is found."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from tests.support.homes.institutions import home_study
from tests.support.runs.finished import FINISHED, METRICS, facts_of, parameters_of

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.evaluation.groups import read_fairness
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.finished_model.card_page import card_page
from fieldfare.shared.finished_model.card_writing import (
    FORMER,
    check_card,
    check_card_facts,
    finished_at,
    write_card,
)
from fieldfare.shared.harm_rules import HARM_RULES
from fieldfare.shared.protocol.messages import parameters_hash, parameters_to_bytes
from fieldfare.shared.protocol.plan import PICOMU2, plan_for

STUDY = home_study()
PLAN = plan_for(STUDY)
PARAMETERS = parameters_of(STUDY)
CARD = write_card(PLAN, PARAMETERS, facts_of(STUDY), FINISHED)


def test_it_says_what_the_study_promised_and_what_was_spent() -> None:
    privacy = CARD.privacy
    assert (privacy.epsilon, privacy.delta, privacy.unit) == (0.5, 1e-5, "customer")
    assert privacy.relation == "add_or_remove_one_unit"
    assert (privacy.planned, privacy.spent) == (PLAN.study_limit, PLAN.study_limit // 2)
    assert privacy.epsilon_spent == PLAN.epsilon(privacy.spent / PICOMU2) < 0.5
    assert privacy.epsilon_if_masks_fail == PLAN.epsilon_if_masks_fail(3)
    assert (privacy.training_sigma, privacy.evaluation_sigma) == (
        PLAN.training.sigma,
        PLAN.evaluation.sigma,
    )


def test_it_says_what_the_promise_covers_and_what_more_institutions_would_cost() -> None:
    assert any("statements of others" in limit for limit in CARD.limits)
    person = home_study(records__left_out_banks=["A", "B"])
    limits = write_card(plan_for(person), PARAMETERS, facts_of(person), FINISHED).limits
    assert any("covers the person" in one and "customers of A, B" in one for one in limits)
    assert not any("statements of others" in one for one in limits)
    twice = CARD.privacy.epsilon_beyond()
    assert twice == pytest.approx(PLAN.epsilon(4 * PLAN.study_limit / PICOMU2), rel=1e-6)
    at_two = CARD.privacy.model_copy(update={"multiplicity": 2})  # of 2, a third is half more
    assert CARD.privacy.epsilon < at_two.epsilon_beyond() < twice
    assert CARD.privacy.model_copy(update={"planned": 0}).epsilon_beyond() == 0.0


def test_in_local_mode_the_noise_is_said_to_be_everybodys_own() -> None:
    study = home_study(training={"mode": "local", "steps": 5, "local_steps": 7})
    plan = plan_for(study)
    card = write_card(plan, PARAMETERS, facts_of(study), FINISHED)
    assert "7 steps of training inside each institution" in card.privacy.noise
    assert "all of sigma" in card.privacy.noise
    assert "in shares by the institutions" in CARD.privacy.noise
    assert card.privacy.training_sigma == plan.training.sigma
    check_card(card, plan, PARAMETERS)


def test_it_repeats_uses_and_carries_the_harm_rules() -> None:
    assert (CARD.purpose, CARD.prohibited_uses) == (STUDY.purpose, STUDY.prohibited_uses)
    assert CARD.conditions == HARM_RULES[:3]
    assert CARD.fairness == HARM_RULES[3:5]
    assert HARM_RULES[6] in CARD.limits
    assert any("look-alikes" in limit for limit in CARD.limits)


def test_it_describes_the_model_by_numbers_that_can_be_checked() -> None:
    assert CARD.model.parameters == parameters_hash(parameters_to_bytes(PARAMETERS))
    assert CARD.model.bias == PARAMETERS[0]
    amount, channel = CARD.features
    slots = PARAMETERS[1 : 1 + STUDY.features[0].slots]
    assert (amount.lowest, amount.highest) == (slots.min(), slots.max())
    assert (amount.lower, amount.upper, amount.shapes) == (0, 10, 8)
    assert (channel.kind, channel.shapes, channel.lower) == ("categorical", 2, None)


def test_it_says_how_a_feature_is_computed() -> None:
    formula = {"formula": "ratio", "of": "amount", "to": "turnover"}
    computed = {"name": "share", "kind": "numeric", "lower": 0, "upper": 1, "derived": formula}
    study = home_study(features=[*STUDY.model_dump(mode="json")["features"], computed])
    plan, found = plan_for(study), parameters_of(study)
    card = write_card(plan, found, facts_of(study), FINISHED)
    words = "amount divided by turnover"
    assert [one.computed for one in card.features] == ["", "", words]
    assert ModelCard.from_bytes(card.to_bytes()) == card
    check_card(card, plan, found)
    assert words in card_page(card, study, found)
    assert b"computed" not in CARD.to_bytes()
    lie = card.model_dump() | {
        "features": [one.model_dump() | {"computed": ""} for one in card.features]
    }
    with pytest.raises(ProtocolError, match="features"):
        check_card(ModelCard.model_validate(lie), plan, found)


def test_it_names_nobody() -> None:
    """Who took part is a number; ids and counts of single institutions stay out."""
    assert CARD.participation.model_dump() == {
        "institutions": 3,
        "minimum": 3,
        "roster": "ab" * 32,
    }
    assert b"bank" not in CARD.to_bytes()


def test_metrics_are_as_released() -> None:
    assert CARD.metrics is not None
    found = CARD.metrics.model_dump(mode="json")
    assert found == METRICS


def test_the_time_is_given_and_shown_in_utc() -> None:
    elsewhere = FINISHED.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert write_card(PLAN, PARAMETERS, facts_of(STUDY), elsewhere) == CARD
    assert CARD.finished == "2025-06-02T09:30:00+00:00"
    assert finished_at(CARD) == FINISHED


def test_an_honest_card_passes() -> None:
    check_card(CARD, PLAN, PARAMETERS)
    check_card(ModelCard.from_bytes(CARD.to_bytes()), PLAN, PARAMETERS)


@pytest.mark.parametrize(("before", "now"), FORMER.items())
def test_a_card_in_an_earlier_versions_words_passes(before: str, now: str) -> None:
    """It once said that signatures name who sent false sums, and named another command."""
    said = (*CARD.limits, *CARD.verification.how)
    assert (now in said, before in said) == (True, False)

    def then(sentences: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(before if one == now else one for one in sentences)

    how = CARD.verification.model_copy(update={"how": then(CARD.verification.how)})
    earlier = {"limits": then(CARD.limits), "verification": how}
    check_card(CARD.model_copy(update=earlier), PLAN, PARAMETERS)


def test_another_machines_last_bits_pass() -> None:
    privacy = CARD.privacy
    close = privacy.model_copy(update={"epsilon_spent": np.nextafter(privacy.epsilon_spent, 1)})
    check_card(CARD.model_copy(update={"privacy": close}), PLAN, PARAMETERS)


def within(part: str, **changes: Any) -> Callable[[ModelCard], dict[str, Any]]:
    return lambda card: {part: getattr(card, part).model_copy(update=changes)}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda _: {"study": "00" * 32}, "study"),
        (lambda _: {"purpose": "anything"}, "purpose"),
        (lambda card: {"prohibited_uses": card.prohibited_uses[1:]}, "prohibited_uses"),
        (lambda card: {"features": card.features[:1]}, "features"),
        (lambda card: {"features": card.features[::-1]}, "features"),
        (within("data", units=1), "data"),
        (within("model", bias=0.0), "model"),
        (within("model", parameters="00" * 32), "model"),
        (within("model", layout="00" * 32), "model"),
        (within("privacy", epsilon=0.1), "privacy"),
        (within("privacy", epsilon_spent=0.01), "privacy"),
        (within("privacy", epsilon_if_masks_fail=None), "privacy"),
        (within("privacy", training_sigma=1e9), "privacy"),
        (within("privacy", collusion_tolerance=2), "privacy"),
        (within("privacy", spent=PLAN.study_limit + 1), "no more than the study"),
        (within("participation", institutions=0), "3 or more institutions"),
        (within("participation", institutions=2**50), "3 or more institutions"),
        (within("participation", minimum=0), "participation"),
        (lambda _: {"run": "no run id!"}, "recomputed"),
        (lambda _: {"conditions": ("Approved for automatic closure.",)}, "conditions"),
        (lambda _: {"features_from": "anything"}, "features_from"),
        (lambda _: {"limits": ("None known.",)}, "limits"),
        (lambda _: {"fairness": ("Independent audit found no bias.",)}, "fairness"),
        (within("verification", how=("Believe it.",)), "verification"),
        (within("privacy", noise="none"), "privacy"),
        (within("privacy", masks="none"), "privacy"),
        (lambda _: {"finished": "2025-13-02T09:30:00+00:00"}, "time that exists"),
    ],
)
def test_a_card_that_does_not_follow_is_refused_and_the_part_named(
    change: Callable[[ModelCard], dict[str, Any]], named: str
) -> None:
    with pytest.raises(ProtocolError, match=named):
        check_card(CARD.model_copy(update=change(CARD)), PLAN, PARAMETERS)


def test_the_facts_of_the_run_are_the_coordinators_word() -> None:
    facts = facts_of(STUDY, run="other", steps=1, metrics=None, transcript_size=1)
    check_card(write_card(PLAN, PARAMETERS, facts, datetime.now().astimezone()), PLAN, PARAMETERS)


@pytest.mark.parametrize(
    "change",
    [
        {"institutions": 4},
        {"roster": "ef" * 32},
        {"steps": 1},
        {"spent": 1},
        {"failed_attempts": 0},
        {"metrics": None},
        {"metrics": METRICS | {"auroc": {"value": 0.9991, "low": 0.86, "high": 1.0}}},
        {"groups": {}},
        {"transcript_size": 41},
        {"transcript_root": "ef" * 32},
    ],
)
def test_a_fact_that_does_not_follow_from_the_transcript_is_named(change: dict[str, Any]) -> None:
    check_card_facts(CARD, facts_of(STUDY))
    with pytest.raises(ProtocolError, match=next(iter(change))):
        check_card_facts(CARD, facts_of(STUDY, **change))


def test_a_model_of_texts_is_described_by_its_buckets_and_shows_none_of_them() -> None:
    model = {"kind": "text", "column": "message", "buckets": 64}
    study = home_study(features=(), model=model, privacy__clipping_norm=1.0)
    parameters = parameters_of(study)
    card = write_card(plan_for(study), parameters, facts_of(study), FINISHED)
    (read,) = card.features
    assert (read.name, read.kind, read.shapes, read.lower) == ("message", "text", 64, None)
    assert (read.lowest, read.highest) == (parameters[1:].min(), parameters[1:].max())
    assert card.features_from != CARD.features_from
    check_card(ModelCard.from_bytes(card.to_bytes()), plan_for(study), parameters)
    assert card.model.layout != CARD.model.layout


def test_a_model_of_vectors_is_described_by_their_length() -> None:
    model = {"kind": "vector", "column": "embedding", "entries": 64}
    study = home_study(features=(), model=model, privacy__clipping_norm=1.0)
    card = write_card(plan_for(study), parameters_of(study), facts_of(study), FINISHED)
    assert [(one.name, one.kind, one.shapes) for one in card.features] == [
        ("embedding", "vector", 64)
    ]
    assert "own tools" in card.features_from


def test_a_network_is_described_by_how_far_a_number_can_move_a_score() -> None:
    model = {"kind": "vector", "column": "embedding", "entries": 64, "hidden": 2}
    study = home_study(features=(), model=model, privacy__clipping_norm=1.0)
    parameters = np.zeros(1 + 2 * 66)
    parameters[3:5] = 0.5, -2.0  # heads
    parameters[5 + 7], parameters[5 + 64 + 7] = 3.0, 1.0  # both read the eighth number
    (read,) = write_card(plan_for(study), parameters, facts_of(study), FINISHED).features
    assert (read.shapes, read.lowest, read.highest) == (64, -3.5, 3.5)


# -- groups ---------------------------------------------------------------------------------

GROUPED = home_study(evaluation={"groups": [{"column": "segment", "levels": ["retail"]}]})
GROUPED_PLAN = plan_for(GROUPED)
COUNTS = np.array([900.0, 10.0, 5.0, 5.0, 50.0, 5.0, 1.0, 1.0])
FARED = read_fairness(GROUPED, COUNTS, 4.0, -2.0)


def grouped_card() -> ModelCard:
    facts = facts_of(GROUPED, groups=FARED)
    return write_card(GROUPED_PLAN, parameters_of(GROUPED), facts, FINISHED)


def test_a_card_says_how_groups_fare_as_it_was_released() -> None:
    card = grouped_card()
    assert card.groups is not None
    assert card.groups.model_dump(mode="json") == FARED
    again = ModelCard.from_bytes(card.to_bytes())
    assert again == card
    check_card(again, GROUPED_PLAN, parameters_of(GROUPED))
    assert not any("were measured across" in limit for limit in card.limits)
    assert len(card.limits) == len(CARD.limits)


def test_a_card_without_groups_has_the_bytes_that_it_had() -> None:
    assert b'"groups"' not in CARD.to_bytes()
    assert ModelCard.from_bytes(CARD.to_bytes()).groups is None


def test_a_card_keeps_to_the_groups_of_its_study() -> None:
    card = grouped_card()
    silent = card.model_copy(update={"groups": None})
    with pytest.raises(ProtocolError, match="how the study's groups fare"):
        check_card(silent, GROUPED_PLAN, parameters_of(GROUPED))
    with pytest.raises(ProtocolError, match="how the study's groups fare"):
        check_card(CARD.model_copy(update={"groups": card.groups}), PLAN, PARAMETERS)
