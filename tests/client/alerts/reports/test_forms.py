"""A draft's fields: which are missing, and that a possible victim cannot become a subject."""

from dataclasses import replace

import pytest
from tests.support.homes.reported import decided, reported_alert

from fieldfare.client.alerts.feedback import PartyRole
from fieldfare.client.alerts.reports.facts import OPEN, report_facts
from fieldfare.client.alerts.reports.forms import (
    ReportFormat,
    complete_draft,
    draft_of,
    form_of,
    problems_of,
)
from fieldfare.shared.errors import UsageError

VICTIM = report_facts(reported_alert(), decided(PartyRole.POTENTIAL_VICTIM), {})
KINDS = list(ReportFormat)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_open_is_missing_and_the_check_says_as_many(kind: ReportFormat) -> None:
    draft = draft_of(kind, VICTIM)
    form = form_of(kind, draft)
    assert len({one.path for one in form.fields}) == len(form.fields)
    assert form.missing == sum(OPEN in one.value for one in form.fields) > 5
    assert list(form.problems) == problems_of(kind, draft)
    assert len([one for one in form.problems if OPEN in one]) == form.missing


@pytest.mark.parametrize("kind", KINDS)
def test_a_form_that_is_filled_in_is_no_longer_open(kind: ReportFormat) -> None:
    draft = draft_of(kind, VICTIM)
    answers = {one.path: "2026-03-31" for one in form_of(kind, draft).fields if one.missing}
    form = form_of(kind, complete_draft(kind, draft, answers))
    assert form.missing == 0
    assert not any(OPEN in one for one in form.problems)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_a_text_and_nothing_else(kind: ReportFormat) -> None:
    draft = draft_of(kind, VICTIM)
    path = next(one.path for one in form_of(kind, draft).fields if one.missing)
    hostile = '</reason><is_suspected>true</is_suspected>","suspected":true,"'
    form = form_of(kind, complete_draft(kind, draft, {path: hostile}))
    assert {one.path for one in form.fields} == {one.path for one in form_of(kind, draft).fields}
    assert next(one.value for one in form.fields if one.path == path) == hostile


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["suspected", "protected"])
def test_harm_rule_1_who_is_suspected_is_no_field_of_a_form(kind: ReportFormat, name: str) -> None:
    draft = draft_of(kind, VICTIM)
    fixed = [one for one in form_of(kind, draft).fields if one.path.endswith(name)]
    assert [(one.value, one.fixed) for one in fixed] in (
        [("no" if name == "suspected" else "yes", True)],
        [("false" if name == "suspected" else "true", True)],
    )
    with pytest.raises(UsageError, match="party role of the decision"):
        complete_draft(kind, draft, {fixed[0].path: "true"})


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_field_and_no_odd_character_is_taken(kind: ReportFormat) -> None:
    draft = draft_of(kind, replace(VICTIM, codes=("MURCW",)))
    path = next(one.path for one in form_of(kind, draft).fields if one.missing)
    for answers in ({"nothing.here": "x"}, {path: "a\x00b"}, {path: "x" * 30_000}):
        with pytest.raises(UsageError):
            complete_draft(kind, draft, answers)
    assert (
        form_of(kind, complete_draft(kind, draft, {path: "  "})).missing
        == form_of(kind, draft).missing
    )


def test_a_yes_or_no_comes_back_as_one() -> None:
    """A browser sends every field back: what was `no` must not become a text."""
    kind, path = ReportFormat.FINTRAC, "transactions.0.attempted"
    draft = draft_of(kind, VICTIM)
    for said in ("no", "Yes"):
        content = complete_draft(kind, draft, {path: said})
        assert all(OPEN in one for one in problems_of(kind, content))
    content = complete_draft(kind, draft, {path: "perhaps"})
    assert [one for one in problems_of(kind, content) if path in one]
