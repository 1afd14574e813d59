"""Movements of a draft: chosen by a person, told by the store, each answer beside its own."""

import json
from dataclasses import replace

import pytest
from lxml import etree
from tests.client.alerts.test_card import STATEMENT
from tests.support.homes.reported import decided, reported_alert

from fieldfare.client.alerts.feedback import PartyRole
from fieldfare.client.alerts.kept_entries import KeptEntries
from fieldfare.client.alerts.reports.choosing import (
    MOST_CHOSEN,
    MOST_OFFERED,
    answers_for,
    choose_entries,
    movement_at,
    offer_entries,
)
from fieldfare.client.alerts.reports.facts import OPEN, ReportFacts, report_facts
from fieldfare.client.alerts.reports.forms import (
    ReportFormat,
    complete_draft,
    draft_of,
    form_of,
    problems_of,
)
from fieldfare.shared.errors import UsageError

OFFERS = offer_entries(STATEMENT, "an alert")
KINDS = list(ReportFormat)
STORED = {"goaml": "transaction.amount_local", "fintrac-json": "transactions.0.date"}


def facts(role: PartyRole = PartyRole.CONTROLLER) -> ReportFacts:
    said = report_facts(reported_alert(), decided(role), {})
    return replace(said, movements=tuple(one.movement for one in OFFERS))


def test_only_entries_that_count_are_offered_and_no_key_says_what_they_are() -> None:
    assert [one.entry.day for one in OFFERS] == ["2026-03-31", "2026-03-20"]
    assert all(one.entry.counted for one in OFFERS)
    assert offer_entries(None, "an alert") == ()
    others = offer_entries(STATEMENT, "another alert")
    assert not {one.key for one in OFFERS} & {one.key for one in others}


def test_alike_entries_are_apart_and_offers_end() -> None:
    many = KeptEntries("2026-03-31", 500, STATEMENT.entries[:1] * 500)
    found = offer_entries(many, "an alert")
    assert len({one.key for one in found}) == len(found) == MOST_OFFERED
    assert len(choose_entries(found, {one.key for one in found})) == MOST_CHOSEN


@pytest.mark.parametrize("kind", KINDS)
def test_day_and_amount_are_the_stores(kind: ReportFormat) -> None:
    draft = draft_of(kind, facts())
    assert all(OPEN in one for one in problems_of(kind, draft))  # the schema takes it
    if kind is ReportFormat.GOAML:
        root = etree.fromstring(draft)
        assert [one.text for one in root.iter("amount_local")] == ["10.00", "20.00"]
        assert root.findtext("transaction/date_transaction") == "2026-03-31T12:00:00"
    else:
        first, second = json.loads(draft)["transactions"]
        assert (first["date"], first["time"]) == ("2026-03-31", OPEN)
        assert second["starting_actions"][0]["amount"] == "20.00"
    with pytest.raises(UsageError, match="from the store"):
        complete_draft(kind, draft, {STORED[kind]: "1"}, stored=True)
    form = form_of(kind, draft, stored=True)
    assert {one.path for one in form.fields if one.stored} >= {STORED[kind]}
    assert not any(one.stored for one in form_of(kind, draft).fields)


def test_harm_rule_1_chosen_movements_make_no_victim_a_subject() -> None:
    root = etree.fromstring(draft_of(ReportFormat.GOAML, facts(PartyRole.POTENTIAL_VICTIM)))
    flags = [one.text for one in root.iter("to_is_suspected", "from_is_suspected", "is_suspected")]
    assert flags == ["false"] * 3


GOAML = {"transaction.transmode_code": "A", "transaction.1.transmode_code": "B", "reason": "why"}
FINTRAC = {"transactions.0.method": "A", "transactions.1.method": "B", "action_taken": "why"}


@pytest.mark.parametrize(
    ("answers", "before", "now", "expected"),
    [
        (GOAML, "ab", "ab", GOAML),
        (GOAML, "ab", "b", {"transaction.transmode_code": "B", "reason": "why"}),
        (GOAML, "ab", "cba", {
            "transaction.2.transmode_code": "A", "transaction.1.transmode_code": "B",
            "reason": "why"}),
        (GOAML, "ab", "", {"reason": "why"}),
        (GOAML, "", "ab", {"reason": "why"}),
        ({"transaction.9.x": "A", "transaction.x": "B"}, "a", "a", {"transaction.x": "B"}),
        ({"report_code": "SAR"}, "", "a", {}),
        ({"report_code": "STR-1"}, "a", "b", {"report_code": "STR-1"}),
        (FINTRAC, "ab", "b", {"transactions.0.method": "B", "action_taken": "why"}),
        (FINTRAC, "", "", FINTRAC),
        ({f"transactions.{'9' * 5000}.method": "A"}, "a", "a",
            {f"transactions.0.{'9' * 5000}.method": "A"}),  # no field: the next check says so
        ({"transactions.0.method": "A"}, "", "a", {}),
    ],
)  # fmt: skip
def test_an_answer_stays_beside_the_movement_where_it_was_typed(
    answers: dict[str, str], before: str, now: str, expected: dict[str, str]
) -> None:
    assert answers_for(answers, list(before), list(now)) == expected


def test_a_fields_movement() -> None:
    paths = ("transaction.x", "transaction.3.x.y", "transactions.2.x", "reason", "activity.x")
    assert [movement_at(one) for one in paths] == [0, 3, 2, None, None]
