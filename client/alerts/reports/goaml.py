"""goAML 5.0.2: a draft in the schema's order, and a check of the report that a person completed.

Validated by a subset of the schema that we wrote (goaml.xsd). FIUs extend code lists and make
more elements mandatory: their own validator has the last word.
"""

from importlib import resources
from typing import Any, Final

from lxml import etree

from fieldfare.client.alerts.reports.facts import OPEN, Movement, ReportFacts, party_words
from fieldfare.shared.errors import UsageError

PACKAGE: Final = "fieldfare.client.alerts.reports"
ACTIVITY_REPORT: Final = "SAR"  # on an activity
TRANSACTION_REPORT: Final = "STR"  # with transactions
ELECTRONIC: Final = "E"
NOTE: Final = " A draft. Nothing sends it. A person completes it, checks it and files it. "


def goaml_draft(facts: ReportFacts) -> bytes:
    """Return a draft as UTF-8 XML, valid but for the fields that are marked to be completed.

    Raises:
        UsageError: it would not be valid: a code that is none.
    """
    report = etree.Element("report")
    report.append(etree.Comment(NOTE))
    _add(report, "rentity_id", OPEN)
    _add(report, "submission_code", ELECTRONIC)
    _add(report, "report_code", TRANSACTION_REPORT if facts.movements else ACTIVITY_REPORT)
    _add(report, "entity_reference", facts.reference)
    _add(report, "submission_date", OPEN)
    _add(report, "currency_code_local", OPEN)
    _add(report, "reason", facts.narrative)
    _add(report, "action", OPEN)
    for movement in facts.movements:
        _transaction(_add(report, "transaction"), movement, facts)
    _party(_add(_add(report, "activity"), "report_parties"), facts)
    indicators = _add(report, "report_indicators")
    for code in facts.codes or (OPEN,):
        _add(indicators, "indicator", code)
    problems = _invalid(report)
    if problems:
        raise UsageError("\n".join(problems))
    found: bytes = etree.tostring(report, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return found


def _transaction(transaction: Any, movement: Movement, facts: ReportFacts) -> None:
    """Write what the records say; codes are the FIU's, and what it was for a person says."""
    _add(transaction, "transactionnumber", movement.reference)
    _add(transaction, "transaction_location", movement.place or OPEN)
    tried = "attempted, " if movement.attempted else ""
    recorded = f"{tried}{movement.channel}, amount in {movement.currency}"
    _add(transaction, "transaction_description", f"{OPEN}: what for. Recorded as {recorded}.")
    _add(transaction, "date_transaction", movement.local.isoformat(timespec="seconds"))
    _add(transaction, "transmode_code", OPEN)
    _add(transaction, "transmode_comment", OPEN)
    _add(transaction, "amount_local", OPEN if _is_foreign(movement, facts) else movement.amount)
    for side, own in (("from", movement.out), ("to", not movement.out)):
        _side(transaction, side, movement, facts, own=own)


def _side(
    transaction: Any, side: str, movement: Movement, facts: ReportFacts, *, own: bool
) -> None:
    part = _add(transaction, f"t_{side}_my_client" if own else f"t_{side}")
    _add(part, f"{side}_funds_code", OPEN)
    if own and _is_foreign(movement, facts):
        foreign = _add(part, f"{side}_foreign_currency")
        _add(foreign, "foreign_currency_code", movement.currency)
        _add(foreign, "foreign_amount", movement.amount)
        _add(foreign, "foreign_exchange_rate", OPEN)
    if own:
        _add(part, f"{side}_is_suspected", "true" if facts.suspected else "false")
    account = _add(part, f"{side}_account")
    if own or not movement.other_bank:
        _add(account, "institution_code", OPEN)
    else:
        _add(account, "swift", movement.other_bank)
    _add(account, "account", movement.account if own else OPEN)
    if own:
        _add(account, "currency_code", movement.currency)
    _add(account, "account_name", OPEN)
    _add(part, f"{side}_country", (movement.country if own else movement.other_country) or OPEN)


def _is_foreign(movement: Movement, facts: ReportFacts) -> bool:
    """Tell whether an amount is in another currency than the report's, where a person said it."""
    return facts.local not in {"", movement.currency}


def _party(parties: Any, facts: ReportFacts) -> None:
    party = _add(parties, "report_party")
    if facts.entity:
        _add(_add(party, "entity"), "name", OPEN)
    else:
        _person(_add(party, "person_my_client"), facts)
    _add(party, "is_suspected", "true" if facts.suspected else "false")
    _add(party, "reason", party_words(facts.role))


def _person(person: Any, facts: ReportFacts) -> None:
    for name in ("gender", "first_name", "last_name", "birthdate", "id_number", "nationality1"):
        _add(person, name, OPEN)
    _add(person, "residence", OPEN)
    _add(person, "phones")
    identification = _add(_add(person, "identifications"), "identification")
    for name in ("type", "number", "issue_country"):
        _add(identification, name, OPEN)
    _add(person, "tax_reg_number", OPEN)
    _add(person, "is_protected", "true" if facts.protected else "false")


def _add(parent: Any, name: str, text: str | None = None) -> Any:
    child = etree.SubElement(parent, name)
    child.text = text
    return child


def _schema() -> Any:
    """Return a schema of one's own, in 1 ms: its list of errors belongs to who validates last."""
    content = resources.files(PACKAGE).joinpath("goaml.xsd").read_bytes()
    return etree.XMLSchema(etree.fromstring(content))


def _invalid(report: Any) -> list[str]:
    schema = _schema()
    if schema.validate(report):
        return []
    # The library's message would repeat what stands in the report.
    return [
        f"line {one.line}, {_place(one.path)}: {_kind(one.type_name)}" for one in schema.error_log
    ]


def _place(path: str | None) -> str:
    return (path or "report").rpartition("/")[2]


def _kind(name: str) -> str:
    if "ELEMENT_CONTENT" in name:
        return "expected an element in goAML's order, found another or none"
    return "expected a value of the right form and length, found another"


def goaml_problems(content: bytes) -> list[str]:
    """Return the gaps of an unfinished report, one line each; none where it is finished.

    Raises:
        UsageError: it is no XML, or holds what a report has no need of: a DTD, an entity.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        report = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise UsageError(
            f"expected a goAML report in XML, found another form in line {error.lineno}"
        ) from None
    if report.getroottree().docinfo.doctype:
        raise UsageError("expected a report without a document type, found one: remove it")
    problems = _invalid(report)
    problems += [
        f"line {one.sourceline}, {one.tag}: {OPEN}"
        for one in report.iter(etree.Element)
        if one.text and OPEN in one.text
    ]
    return problems + _unlike_local(report) + _harm(report)


def _unlike_local(report: Any) -> list[str]:
    """Say where an amount in an account's own currency stands as one in the report's."""
    local = (report.findtext("currency_code_local") or "").strip()
    found = []
    for transaction in report.iter("transaction") if local and local != OPEN else ():
        own = {(one.text or "").strip() for one in transaction.iter("currency_code")} - {local}
        foreign = [one for one in transaction.iter() if str(one.tag).endswith("_foreign_currency")]
        if own and not foreign:
            found.append(
                f"line {transaction.sourceline}, transaction: expected its amount in the report's "
                "own currency beside a foreign_currency, found the account's in another"
            )
    return found


def _harm(report: Any) -> list[str]:
    """Say where a protected person became a subject (harm rule 1)."""
    found = []
    for protected in report.iter("is_protected"):
        if (protected.text or "").strip() not in {"true", "1"}:
            continue
        party = protected.getparent().getparent()
        suspected = [one for one in party if str(one.tag).endswith("is_suspected")]
        if any((one.text or "").strip() in {"true", "1"} for one in suspected):
            found.append(
                f"line {protected.sourceline}, {party.tag}: a protected person as a subject; a "
                "possible victim is never one"
            )
    return found
