from typing import Any

import pytest
from lxml import etree
from tests.support.homes.reported import decided, reported_alert

from fieldfare.client.alerts.feedback import PartyRole
from fieldfare.client.alerts.reports import goaml
from fieldfare.client.alerts.reports.facts import OPEN, report_facts
from fieldfare.client.alerts.reports.goaml import goaml_draft, goaml_problems
from fieldfare.shared.errors import UsageError

PERSON = {
    "gender": "F", "first_name": "Ann", "last_name": "Example", "birthdate": "1990-01-01T00:00:00",
    "id_number": "1", "nationality1": "CA", "residence": "CA", "type": "PASSPORT", "number": "1",
    "issue_country": "CA", "tax_reg_number": "N", "name": "Example Ltd",
}  # fmt: skip
HEAD = {
    "rentity_id": "12", "submission_date": "2026-03-31T10:00:00", "currency_code_local": "CAD",
    "reason": "what happened", "action": "told nobody", "indicator": "MURCW",
}  # fmt: skip


def draft(role: PartyRole = PartyRole.POTENTIAL_VICTIM) -> bytes:
    return goaml_draft(report_facts(reported_alert(), decided(role), {}))


def completed(content: bytes, **changes: str) -> bytes:
    """What a person makes of a draft."""
    report = etree.fromstring(content)
    for element in report.iter(etree.Element):
        if element.text and OPEN in element.text:
            element.text = (PERSON | HEAD)[element.tag]
    for name, text in changes.items():
        for element in report.iter(name):
            element.text = text
    return bytes(etree.tostring(report))


def text(content: bytes, path: str) -> str | None:
    found = etree.fromstring(content).findtext(f".//{path}")
    return None if found is None else str(found)


@pytest.mark.parametrize("role", [role for role in PartyRole if role is not PartyRole.UNKNOWN])
def test_a_draft_is_valid_once_a_person_completed_it_and_not_before(role: PartyRole) -> None:
    problems = goaml_problems(draft(role))
    assert problems
    assert all(OPEN in problem for problem in problems)
    assert goaml_problems(completed(draft(role))) == []


def test_a_possible_victim_is_protected_and_no_subject() -> None:
    assert text(draft(), "person_my_client/is_protected") == "true"
    assert text(draft(), "report_party/is_suspected") == "false"
    assert "Not a subject" in (text(draft(), "report_party/reason") or "")
    controller = draft(PartyRole.CONTROLLER)
    assert text(controller, "is_protected") == "false"
    assert text(controller, "is_suspected") == "true"
    assert text(draft(PartyRole.FRONT_BUSINESS), "entity/name") == OPEN


def test_nobody_can_turn_a_protected_person_into_a_subject() -> None:
    (problem,) = goaml_problems(completed(draft(), is_suspected="true"))
    assert "protected person as a subject" in problem


@pytest.mark.parametrize(
    "tag", ["rentity_id", "report_code", "entity_reference", "activity", "report_indicators",
            "first_name", "identifications"]
)  # fmt: skip
def test_an_element_that_is_missing_or_out_of_order_is_found(tag: str) -> None:
    report = etree.fromstring(completed(draft()))
    element = next(report.iter(tag))
    parent = element.getparent()
    parent.remove(element)
    assert goaml_problems(etree.tostring(report))
    parent.insert(0, element)
    moved = goaml_problems(etree.tostring(report))
    assert bool(moved) == (tag != "rentity_id")  # that one is the first


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("rentity_id", "0"),
        ("rentity_id", "MARKER"),
        ("submission_date", "2026-03-31"),
        ("currency_code_local", "MARKER dollars"),
        ("birthdate", "MARKER"),
        ("first_name", "MARKER<"),
        ("first_name", "M" * 101),
        ("nationality1", "canada MARKER"),
        ("reason", "M" * 4001),
        ("tax_reg_number", "MARKER"),
    ],
)
def test_a_value_of_the_wrong_form_is_found_and_not_repeated(tag: str, value: str) -> None:
    problems = goaml_problems(completed(draft(), **{tag: value}))
    assert any(tag in problem for problem in problems)
    assert "MARKER" not in "".join(problems)


def test_no_other_check_takes_what_this_one_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two persons' forms are checked at once: one's errors are no other's, and none are lost."""
    made = goaml._schema
    other = etree.fromstring(b"<report><other/></report>")

    def interrupted() -> Any:
        schema = made()

        class Schema:
            def validate(self, report: Any) -> bool:
                valid: bool = schema.validate(report)
                made().validate(other)
                return valid

            @property
            def error_log(self) -> Any:
                return schema.error_log

        return Schema()

    content = b"<report><wrong/></report>"
    alone = goaml_problems(content)
    monkeypatch.setattr(goaml, "_schema", interrupted)
    assert goaml_problems(content) == alone
    assert "wrong" in alone[0]


def test_transfers_may_be_added() -> None:
    transfer = """<transaction><transactionnumber>1</transactionnumber>
      <transaction_location>branch</transaction_location>
      <transaction_description>wire</transaction_description>
      <date_transaction>2026-01-02T10:00:00</date_transaction><transmode_code>ELCFT</transmode_code>
      <transmode_comment>B</transmode_comment><amount_local>12.50</amount_local>
      <t_from><from_funds_code>CASH</from_funds_code><from_person><first_name>A</first_name>
      <last_name>B</last_name></from_person><from_country>CA</from_country></t_from>
      <t_to><to_funds_code>CASH</to_funds_code><to_entity><name>C</name></to_entity>
      <to_country>CA</to_country></t_to></transaction>"""
    report = etree.fromstring(completed(draft()))
    activity = next(report.iter("activity"))
    activity.addprevious(etree.fromstring(transfer))
    assert goaml_problems(etree.tostring(report)) == []


def test_an_amount_of_another_currency_is_no_local_one() -> None:
    account = "<account><institution_code>1</institution_code><account>1</account>"
    report = etree.fromstring(
        f"<report><currency_code_local>USD</currency_code_local><transaction><amount_local>1"
        f"</amount_local><t_from_my_client>{account}<currency_code>CAD</currency_code></account>"
        "</t_from_my_client></transaction></report>"
    )
    said = "expected its amount in the report's own currency"
    assert [one for one in goaml_problems(etree.tostring(report)) if said in one]
    etree.SubElement(next(report.iter("t_from_my_client")), "from_foreign_currency")
    assert not [one for one in goaml_problems(etree.tostring(report)) if said in one]
    report = etree.fromstring(etree.tostring(report).replace(b"USD", b"CAD"))
    assert not [one for one in goaml_problems(etree.tostring(report)) if said in one]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no XML", b"<report>", b"\xff\xfe\x00",
        b'<!DOCTYPE report [<!ENTITY e SYSTEM "file:///etc/passwd">]><report>&e;</report>',
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match="expected"):
        goaml_problems(content)


def test_another_document_is_no_report() -> None:
    assert goaml_problems(b"<invoice/>")


def test_a_draft_names_no_customer_number_and_no_score() -> None:
    for secret in (b"MARKER-CUSTOMER", b"777", b"3.25", b"0.4242"):
        assert secret not in draft()
