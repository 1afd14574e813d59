import json
from typing import Any

import pytest
from tests.support.homes.reported import decided, reported_alert

from fieldfare.client.alerts.feedback import PartyRole
from fieldfare.client.alerts.reports.facts import OPEN, report_facts
from fieldfare.client.alerts.reports.fintrac import fintrac_draft, fintrac_problems
from fieldfare.shared.errors import UsageError

VALUES = {"date": "2026-01-02", "time": "10:00:00-05:00", "amount": "12.50"}


def draft(role: PartyRole = PartyRole.POTENTIAL_VICTIM) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        fintrac_draft(report_facts(reported_alert(), decided(role), {}))
    )
    return found


def filled(data: Any, key: str = "") -> Any:
    if isinstance(data, dict):
        return {name: filled(value, name) for name, value in data.items()}
    if isinstance(data, list):
        return [filled(value) for value in data]
    return VALUES.get(key, "said") if isinstance(data, str) and OPEN in data else data


def problems(data: dict[str, Any]) -> list[str]:
    return fintrac_problems(json.dumps(data).encode())


@pytest.mark.parametrize("role", [role for role in PartyRole if role is not PartyRole.UNKNOWN])
def test_a_draft_is_complete_once_a_person_completed_it_and_not_before(role: PartyRole) -> None:
    open_ones = problems(draft(role))
    assert len(open_ones) > 20
    assert all(OPEN in problem for problem in open_ones)
    assert problems(filled(draft(role))) == []


def test_sections_stand_in_the_forms_order_and_name_the_partnership() -> None:
    found = draft()
    assert list(found) == [
        "type", "general_information", "transactions", "parties", "details_of_suspicion",
        "action_taken",
    ]  # fmt: skip
    assert found["details_of_suspicion"]["public_private_partnership"] == "Project Protect"


def test_a_possible_victim_is_protected_and_stays_no_subject() -> None:
    (party,) = draft()["parties"]
    assert (party["suspected"], party["protected"]) == (False, True)
    data = filled(draft())
    data["parties"][0]["suspected"] = True
    (problem,) = problems(data)
    assert "protected person as a subject" in problem


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("transactions", 0, "date"), "MARKER"),
        (("transactions", 0, "time"), "10:00"),
        (("transactions", 0, "starting_actions", 0, "amount"), "MARKER dollars"),
        (("transactions", 0, "starting_actions"), []),
        (("transactions",), []),
        (("parties", 0, "protected"), "MARKER"),
        (("action_taken",), ""),
        (("more",), "MARKER"),
    ],
)
def test_a_value_of_the_wrong_form_is_found_and_not_repeated(
    path: tuple[Any, ...], value: Any
) -> None:
    data = filled(draft())
    place: Any = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    found = problems(data)
    assert str(path[-1]) in "".join(found)
    assert "MARKER" not in "".join(found)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_report_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match="JSON"):
        fintrac_problems(content)


def test_another_document_is_no_report() -> None:
    assert fintrac_problems(b"[]")
    assert problems({"type": "something"})
