"""Summaries of cases, calls and advertisements; the consent gate; vectors that are no pictures."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from fieldfare.client.records.canonical_cases import (
    CaseSummary,
    HotlineSignal,
    consented,
)
from fieldfare.shared.features.media_gate import name_problem

CASE = {
    "case_id": "k1", "opened": "2026-01-05", "status": "Active",
    "trafficking_status": "PossibleVictimOfTrafficking", "consent_research": True,
}  # fmt: skip
SIGNAL = {
    "signal_id": "s1", "ts": "2026-01-05T10:00:00", "channel": "call", "caller_type": "family",
    "crisis": True, "assessment": "high",
}  # fmt: skip


def test_a_case_is_a_summary() -> None:
    case = CaseSummary.model_validate(
        {**CASE, "control": ["TakesEarnings", "DebtBondage", "TakesEarnings"], "industry": "I"}
    )
    assert [one.value for one in case.control] == ["DebtBondage", "TakesEarnings"]


def test_the_consent_gate() -> None:
    cases = [
        CaseSummary.model_validate({**CASE, "case_id": f"k{i}", "consent_research": i % 2 == 0})
        for i in range(4)
    ]
    assert [case.case_id for case in consented(cases)] == ["k0", "k2"]


def test_consent_is_never_assumed() -> None:
    with pytest.raises(ValidationError):
        CaseSummary.model_validate({k: v for k, v in CASE.items() if k != "consent_research"})


@pytest.mark.parametrize(
    ("model", "record", "change"),
    [
        (CaseSummary, CASE, {"narrative": "She said"}),
        (CaseSummary, CASE, {"name": "A"}),
        (CaseSummary, CASE, {"industry": "Z"}),
        (CaseSummary, CASE, {"exploitation": ["Anything"]}),
        (CaseSummary, CASE, {"venue_category": "a bar near the station"}),
        (HotlineSignal, SIGNAL, {"assessment": "certain"}),
        (HotlineSignal, SIGNAL, {"topic": "she called about her sister"}),
        (HotlineSignal, SIGNAL, {"language": "English"}),
    ],
)
def test_stories_and_unknown_words_are_refused(
    model: type[BaseModel], record: dict[str, Any], change: dict[str, Any]
) -> None:
    model.model_validate(record)
    with pytest.raises(ValidationError):
        model.model_validate({**record, **change})


def test_no_record_has_a_place_for_a_picture_or_a_name() -> None:
    for model in (CaseSummary, HotlineSignal):
        assert not [name for name in model.model_fields if name_problem(name)]
