"""ISO 20022 messages as a stream of elements, read by libxml2 and trusted in nothing.

No entity is resolved, no document type, network or huge tree allowed; an element is let go of
once it was read, so memory does not grow with the file. A value that cannot be read is refused with
the line of its element, and never shown.

Messages become accounts with their holders, and transactions in batches.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

from lxml import etree
from pydantic import BaseModel, ValidationError

from fieldfare.client.records.canonical_bank import Account, Customer, Transaction
from fieldfare.client.records.importers.base import CanonicalFolder, KeyedHash
from fieldfare.client.records.importers.sides import ACCOUNT
from fieldfare.client.records.money import minor_units
from fieldfare.client.records.sources.csv_text import opened
from fieldfare.shared.errors import RecordsError

MAX_ELEMENTS: Final = 500_000  # within one statement entry or payment
NOON: Final = time(12)  # of a day without an hour: no night is made up
_NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:"
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_BIC: Final = re.compile(r"[A-Z0-9]{4}([A-Z]{2})[A-Z0-9]{2}([A-Z0-9]{3})?")
_IBAN: Final = re.compile(r"([A-Z]{2})\d{2}[A-Z0-9]{10,30}")
_MINUTE: Final = 60
_BODY: Final = 2  # below Document


@dataclass(frozen=True)
class Message:
    """A kind of message.

    Attributes:
        name: as `camt.053.001`.
        versions: the first and last that can be read.
        body: the element below Document.
        depth: of the elements that are read one by one; Document is 1.
    """

    name: str
    versions: tuple[int, int]
    body: str
    depth: int

    def known(self, namespace: str) -> bool:
        """Whether a namespace is one of its versions."""
        found = re.fullmatch(rf"{re.escape(_NAMESPACE + self.name)}\.(\d\d)", namespace)
        first, last = self.versions
        return found is not None and first <= int(found[1]) <= last

    @property
    def expected(self) -> str:
        """The versions, for messages."""
        first, last = self.versions
        return f"{self.name}.{first:02d} to .{last:02d}"


@dataclass(frozen=True)
class XmlElement:
    """An element of a file, and the namespace that it and those below it are in."""

    path: Path
    element: Any
    namespace: str = ""

    def at(self, where: str) -> "XmlElement | None":
        """Return the first element at a path such as `Refs/UETR`; None where there is none."""
        found = self.element.find(_qualified(where, self.namespace))
        return None if found is None else XmlElement(self.path, found, self.namespace)

    def all(self, where: str) -> "list[XmlElement]":
        """Return every element at a path."""
        found = self.element.findall(_qualified(where, self.namespace))
        return [XmlElement(self.path, one, self.namespace) for one in found]

    def text(self, *wheres: str) -> str | None:
        """Return the first text that stands at one of the paths."""
        for where in wheres:
            found = self.element.findtext(_qualified(where, self.namespace))
            if found is not None and found.strip():
                return str(found).strip()
        return None

    def need(self, *wheres: str) -> str:
        """Return the same, refused where there is none."""
        found = self.text(*wheres)
        if found is None:
            self.refuse(" or ".join(wheres))
        return found

    def choice(self, where: str, known: dict[str, Any], default: str | None = None) -> Any:
        """Return the meaning of a word at a path; other words are refused."""
        found = (self.text(where) if default is not None else self.need(where)) or default
        if found not in known:
            (self.at(where) or self).refuse(f"{where} with one of {', '.join(known)}")
        return known[found]

    def refuse(self, expected: str) -> NoReturn:
        """Raise an error with the expected content and its place.

        Raises:
            RecordsError: always.
        """
        raise RecordsError(
            f"{self.path}, line {self.element.sourceline}: expected {expected} in "
            f"{etree.QName(self.element).localname}, found nothing or another form; see "
            "docs/records.md"
        )


@cache
def _qualified(where: str, namespace: str) -> str:
    return "/".join(f"{{{namespace}}}{name}" for name in where.split("/"))


def parts_of(path: Path, message: Message) -> Iterator[tuple[int, str, XmlElement]]:
    """Stream the elements at a message's depth: which parent's they are, name, element.

    Each is emptied when the next is asked for.

    Raises:
        RecordsError: the file is no such message, or no whole and plain XML; says the line.
    """
    if not path.is_file():
        raise RecordsError(f"{path}: expected a file, found none; check the path")
    try:
        with opened(path) as stream:
            yield from _parts(path, message, stream)
    except etree.XMLSyntaxError as error:
        line = error.lineno or 1
        raise RecordsError(
            f"{path}, line {line}: expected whole and plain XML without entities, found another "
            "form or a part of one; write or fetch it again"
        ) from None
    except (OSError, EOFError, zlib.error):
        raise RecordsError(f"{path}: expected a whole file, found a damaged one") from None


def _parts(path: Path, message: Message, stream: Any) -> Iterator[tuple[int, str, XmlElement]]:
    events = etree.iterparse(
        stream, events=("start", "end"), resolve_entities=False, load_dtd=False, no_network=True,
        dtd_validation=False, attribute_defaults=False, huge_tree=False, remove_comments=True,
        remove_pis=True,
    )  # fmt: skip
    depth, block, inside = 0, 0, 0
    for event, element in events:
        if event == "start":
            depth += 1
            inside = inside + 1 if depth > message.depth else 0
            block += depth == message.depth - 1
            if depth <= message.depth:
                _check(path, message, element, depth)
            elif inside > MAX_ELEMENTS:
                XmlElement(path, element).refuse(f"at most {MAX_ELEMENTS:,} elements in one part")
            continue
        if depth == message.depth:
            name = etree.QName(element)
            yield block, name.localname, XmlElement(path, element, name.namespace)
        if depth <= message.depth:
            _let_go(element)
        depth -= 1


def _check(path: Path, message: Message, element: Any, depth: int) -> None:
    node, name = XmlElement(path, element), etree.QName(element)
    if depth == 1:
        _check_document(path, message, element)
    elif not message.known(name.namespace or ""):
        node.refuse("an element of the message's own namespace")
    elif depth == _BODY and name.localname != message.body:
        node.refuse(message.body)


def _check_document(path: Path, message: Message, element: Any) -> None:
    if element.getroottree().docinfo.doctype:
        raise RecordsError(
            f"{path}, line 1: expected XML without a document type, found one; a message has none"
        )
    name = etree.QName(element)
    if name.localname != "Document" or not message.known(name.namespace or ""):
        raise RecordsError(
            f"{path}, line {element.sourceline}: expected a Document of {message.expected}, found "
            "another one"
        )


def _let_go(element: Any) -> None:
    """Empty an element, and forget those before it."""
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]


def amount_of(node: XmlElement, where: str) -> tuple[int, str]:
    """Return an amount in minor units and its currency.

    Raises:
        RecordsError: no amount, or not of that currency.
    """
    found = node.at(where)
    if found is None:
        node.refuse(where)
    currency = found.element.get("Ccy") or ""
    if not _CURRENCY.fullmatch(currency):
        found.refuse("Ccy, a code of ISO 4217,")
    units = minor_units((found.element.text or "").strip(), currency)
    if units is None:
        found.refuse("an amount of its currency")
    return units, currency


def moment_of(node: XmlElement, *wheres: str) -> dict[str, Any]:
    """Return `ts_utc` and, where it is known, `tz_offset_min` of the first path that is there.

    A time without an offset is taken as written: local times stay local ones. A day is its noon.

    Raises:
        RecordsError: none is there, or none that can be read.
    """
    text = node.need(*wheres)
    try:
        if "T" not in text:
            return {"ts_utc": datetime.combine(date.fromisoformat(text[:10]), NOON)}
        found = datetime.fromisoformat(text)
        offset = found.utcoffset()
        if offset is None:
            return {"ts_utc": found}
        there = found.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):  # also a time whose UTC no calendar has
        node.refuse(f"a date or time of ISO 8601 as {' or '.join(wheres)}")
    return {"ts_utc": there, "tz_offset_min": int(offset.total_seconds()) // _MINUTE}


def day_of(node: XmlElement, *wheres: str) -> date | None:
    """Return the day at the first path that is there; None where none is."""
    if node.text(*wheres) is None:
        return None
    found: datetime = moment_of(node, *wheres)["ts_utc"]
    return found.date()


def account_number(node: XmlElement | None) -> str | None:
    """Return an account's IBAN or other number; None where none is given."""
    return None if node is None else node.text("Id/IBAN", "Id/Othr/Id")


def agent_of(node: XmlElement | None) -> str | None:
    """Return an agent's BIC (ISO 9362); None where none is given."""
    bic = None if node is None else node.text("FinInstnId/BICFI", "FinInstnId/BIC")
    return bic if bic and is_bic(bic) else None


def is_bic(text: str) -> bool:
    """Whether a text has the form of a BIC."""
    return _BIC.fullmatch(text) is not None


def country_of(bic: str | None, account: str | None) -> str | None:
    """Return the country of an account: of its bank, else of its IBAN; no person's."""
    found = _BIC.fullmatch(bic or "") or _IBAN.fullmatch(account or "")
    return found[1] if found else None


def kind_of_party(node: XmlElement | None) -> str | None:
    """Return `person` or `business` where a party is identified as one; its name is not read."""
    for place in ("Pty/Id", "Id"):
        if node is not None and node.at(f"{place}/PrvtId") is not None:
            return "person"
        if node is not None and node.at(f"{place}/OrgId") is not None:
            return "business"
    return None


def other_side(
    party: XmlElement | None, account: XmlElement | None, agent: XmlElement | None, keyed: KeyedHash
) -> dict[str, Any]:
    """Return the other account's data; of its holder only whether it is a person."""
    number, bank = account_number(account), agent_of(agent)
    return {
        "counterparty_key": keyed.of(ACCOUNT, number) if number else None,
        "counterparty_type": kind_of_party(party),
        "counterparty_org": bank,
        "counterparty_country": country_of(bank, number),
    }


# -- books ----------------------------------------------------------------------------------------

BATCH: Final = 20_000  # transactions that are held before they are written


class StatementBooks:
    """Accounts and customers, each once, and transactions as they come."""

    def __init__(self, folder: CanonicalFolder) -> None:
        """Write to a folder."""
        self._folder = folder
        self._held: list[BaseModel] = []
        self._accounts: dict[str, Account] = {}
        self._customers: dict[str, Customer] = {}

    def open(self, node: XmlElement, account: dict[str, Any], customer: dict[str, Any]) -> None:
        """Take an account and its holder; None stands for unknown.

        Raises:
            RecordsError: a field breaks its rules.
        """
        try:
            opened = Account.model_validate(_known(account))
            holder = Customer.model_validate(_known(customer))
        except ValidationError:
            node.refuse("an account's number, type and currency in canonical form")
        self._accounts[opened.account_id] = opened
        self._customers[holder.customer_id] = holder

    def enter(self, node: XmlElement, fields: dict[str, Any]) -> None:
        """Take a transaction; None stands for unknown.

        Raises:
            RecordsError: a field breaks its rules.
        """
        try:
            self._held.append(Transaction.model_validate(_known(fields)))
        except ValidationError as error:
            broken = sorted({str(one["loc"][0]) for one in error.errors(include_input=False)})
            node.refuse(f"a canonical {', '.join(broken)}")
        if len(self._held) >= BATCH:
            self._write()

    def finish(self) -> None:
        """Write the held transactions, then the accounts and customers."""
        self._write()
        self._folder.add_records("accounts", list(self._accounts.values()))
        self._folder.add_records("customers", list(self._customers.values()))

    def _write(self) -> None:
        self._folder.add_records("transactions", self._held)
        self._held = []


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
