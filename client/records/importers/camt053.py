"""camt.053 (ISO 20022, BankToCustomerStatement): booked entries of customers' accounts.

An entry with several details is one transaction each. Remittance texts, names, addresses and a
payer's reference text are not carried over; references are hashed where they tell payments apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fieldfare.client.records.canonical_bank import MAX_KEY, Channel, Direction
from fieldfare.client.records.importers.bank_codes import LEFT_OUT, BankCodes, codes_with
from fieldfare.client.records.importers.base import ImportOptions, KeyedHash, open_folder
from fieldfare.client.records.importers.iso20022 import (
    Message,
    StatementBooks,
    XmlElement,
    account_number,
    amount_of,
    country_of,
    day_of,
    kind_of_party,
    moment_of,
    other_side,
    parts_of,
)

MESSAGE: Final = Message("camt.053.001", (2, 13), "BkToCstmrStmt", 4)
COLUMNS: Final = {
    "transactions": (
        "txn_id", "account_id", "ts_utc", "tz_offset_min", "booking_date", "direction",
        "amount_minor", "currency", "channel", "mcc", "merchant_key", "merchant_city",
        "merchant_country", "counterparty_key", "counterparty_type", "counterparty_org",
        "counterparty_country", "memo_category", "reversal_of",
    ),
    "accounts": ("account_id", "customer_id", "type", "currency", "country"),
    "customers": ("customer_id", "kind"),
}  # fmt: skip
_DIRECTIONS: Final = {"CRDT": Direction.IN, "DBIT": Direction.OUT}
_TRUTH: Final = {"true": True, "1": True, "false": False, "0": False}
_BOOKED: Final = "BOOK"
_NO_REFERENCE: Final = frozenset({"NOTPROVIDED", "NOT PROVIDED", "NONREF"})


def import_camt053(files: Sequence[Path], out: Path, options: ImportOptions) -> list[str]:
    """Write statements as canonical records; returns counts of entries read, in lines.

    Raises:
        RecordsError: input that cannot be read, by file and line.
        UsageError: `out` cannot be written.
    """
    with open_folder(out, options.having(COLUMNS)) as folder:
        statements = _Statements(StatementBooks(folder), options.keyed, codes_with(options.codes))
        for path in files:
            for block, name, node in parts_of(path, MESSAGE):
                statements.take((path, block), name, node)
        statements.books.finish()
    return [*statements.lines(), *folder.lines()]


@dataclass
class _Statement:
    """The facts of a statement that its entries need."""

    reference: str = ""
    account: str = ""
    pages: list[str] = field(default_factory=list)


class _Repeats:
    """Tells apart payments that one reference names: rent under the same words every month."""

    def __init__(self) -> None:
        self._booked: dict[tuple[str, str], int] = {}
        self._standing: dict[tuple[str, str], list[int]] = {}

    def booked(self, account: str, reference: str) -> str:
        """Return the id of one more payment."""
        place = self._booked.get((account, reference), 0)
        self._booked[account, reference] = place + 1
        self._standing.setdefault((account, reference), []).append(place)
        return _numbered(reference, place)

    def taken_back(self, account: str, reference: str) -> str:
        """Return the id of the entry that a reversal takes back: the last one not taken back."""
        standing = self._standing.get((account, reference))
        return _numbered(reference, standing.pop() if standing else 0)


def _numbered(reference: str, place: int) -> str:
    return reference if place == 0 else f"{place + 1}-{reference}"[:MAX_KEY]


class _Statements:
    """Collects accounts and customers, and writes transactions as they come."""

    def __init__(self, books: StatementBooks, keyed: KeyedHash, codes: BankCodes) -> None:
        self.books, self._keyed, self._codes = books, keyed, codes
        self._block: tuple[Path, int] | None = None
        self._now = _Statement()
        self._seen: set[tuple[str, ...]] = set()
        self._repeats = _Repeats()
        self.entries, self.pending, self.other = 0, 0, 0

    def take(self, block: tuple[Path, int], name: str, node: XmlElement) -> None:
        """Take the next element of a statement."""
        if block != self._block:
            self._block, self._now = block, _Statement()
        if name == "Id":
            self._now.reference = node.element.text or ""
        elif name in {"StmtPgntn", "ElctrncSeqNb"}:
            self._now.pages += [name, node.text("PgNb") or node.element.text or ""]
        elif name == "Acct":
            self._open(node)
        elif name == "Ntry":
            self._enter(node)

    def lines(self) -> list[str]:
        """Return the counts of entries read and left out, in lines."""
        out = f"{self.pending:,} entries that are not booked, {self.other:,} that are no payments"
        return [
            f"read {self.entries:,} entries of {len(self._seen):,} statements",
            f"left out: {out} (interest, securities)",
        ]

    def _open(self, node: XmlElement) -> None:
        """Take the account that a statement is about."""
        number = account_number(node)
        if number is None:
            node.refuse("Id/IBAN or Id/Othr/Id")
        self._now.account = number
        statement = (number, self._now.reference, *self._now.pages)
        if statement in self._seen:
            node.refuse("every statement once (Id, number and page)")
        self._seen.add(statement)
        owner = node.at("Ownr")
        customer = _customer_number(owner) or number  # else the account stands for its holder
        self.books.open(
            node,
            {
                "account_id": number, "customer_id": customer, "type": node.text("Tp/Cd"),
                "currency": node.text("Ccy"), "country": country_of(None, number),
            },
            {"customer_id": customer, "kind": kind_of_party(owner)},
        )  # fmt: skip

    def _enter(self, entry: XmlElement) -> None:
        if not self._now.account:
            entry.refuse("Acct before the first entry")
        self.entries += 1
        if entry.need("Sts/Cd", "Sts/Prtry", "Sts") != _BOOKED:
            self.pending += 1
            return
        details = entry.all("NtryDtls/TxDtls")
        for place, detail in enumerate(details or [entry]):
            channel = self._channel(entry, detail)
            if channel == LEFT_OUT:
                self.other += 1
            else:
                alone = len(details) <= 1
                self.books.enter(entry, self._fields(entry, detail, place, channel, alone=alone))

    def _fields(
        self, entry: XmlElement, detail: XmlElement, place: int, channel: str, *, alone: bool
    ) -> dict[str, Any]:
        amount, currency = _amount(entry, detail, alone=alone)
        whose = entry if alone or detail.text("CdtDbtInd") is None else detail
        direction = whose.choice("CdtDbtInd", _DIRECTIONS)
        reference = self._reference(entry, detail, place, f"{amount} {currency}", alone=alone)
        back = entry.choice("RvslInd", _TRUTH, "false")
        named = self._repeats.taken_back if back else self._repeats.booked
        reference = named(self._now.account, reference)
        other = f"RltdPties/{'Dbtr' if direction is Direction.IN else 'Cdtr'}"
        return {
            "txn_id": f"R-{reference}"[:MAX_KEY] if back else reference,
            "reversal_of": reference if back else None,
            "account_id": self._now.account,
            **moment_of(_dated(entry, detail), *_TIMES),
            "booking_date": day_of(entry, "BookgDt/Dt", "BookgDt/DtTm"),
            "direction": direction, "amount_minor": amount, "currency": currency,
            "channel": channel, "memo_category": self._codes.memo(detail.text("Purp/Cd")),
            **other_side(
                detail.at(other), detail.at(f"{other}Acct"),
                detail.at(f"{other.replace('Pties', 'Agts')}Agt"), self._keyed,
            ),
            **(_merchant(entry, detail, self._keyed) if channel == Channel.POS else {}),
        }  # fmt: skip

    def _channel(self, entry: XmlElement, detail: XmlElement) -> str:
        code = _code(detail) or _code(entry)
        channel = None if code is None else self._codes.channel(code)
        if channel is None:
            (entry.at("BkTxCd") or entry).refuse(
                "a bank transaction code that is known (BkTxCd/Domn, or one of --codes)"
            )
        return channel

    def _reference(
        self, entry: XmlElement, detail: XmlElement, place: int, amount: str, *, alone: bool
    ) -> str:
        """Return what names a transaction: its UETR, else hashed references, else its place."""
        uetr = detail.text("Refs/UETR")
        if uetr is not None:
            return uetr
        written = detail.text("Refs/EndToEndId")
        if written is not None and written.upper() not in _NO_REFERENCE:
            return self._keyed.of("reference", f"{self._now.account} {written} {amount}")
        given = detail.text("Refs/AcctSvcrRef") or (entry.text("AcctSvcrRef", "NtryRef"))
        where = f"{self._now.account} {self._now.reference} {given or entry.element.sourceline}"
        return self._keyed.of("reference", where if alone else f"{where} {place}")


_TIMES: Final = (
    "RltdDts/AccptncDtTm", "RltdDts/TxDtTm", "BookgDt/DtTm", "BookgDt/Dt", "ValDt/DtTm", "ValDt/Dt",
)  # fmt: skip


def _dated(entry: XmlElement, detail: XmlElement) -> XmlElement:
    return detail if detail.text("RltdDts/AccptncDtTm", "RltdDts/TxDtTm") else entry


def _customer_number(owner: XmlElement | None) -> str | None:
    """Return the number that the bank itself gave its customer; a passport's stays where it is."""
    for others in ("Id/OrgId/Othr", "Id/PrvtId/Othr"):
        for other in owner.all(others) if owner is not None else []:
            if other.text("SchmeNm/Cd") == "CUST":
                return other.need("Id")
    return None


def _amount(entry: XmlElement, detail: XmlElement, *, alone: bool) -> tuple[int, str]:
    if alone:
        return amount_of(entry, "Amt")
    where = "Amt" if detail.at("Amt") is not None else "AmtDtls/TxAmt/Amt"
    return amount_of(detail, where)


def _code(node: XmlElement) -> str | None:
    domain = node.text("BkTxCd/Domn/Cd")
    if domain is not None:
        family, sub = node.text("BkTxCd/Domn/Fmly/Cd"), node.text("BkTxCd/Domn/Fmly/SubFmlyCd")
        return f"{domain}/{family or 'NTAV'}/{sub or 'NTAV'}"
    own = node.text("BkTxCd/Prtry/Cd")
    return None if own is None else f"PRTRY/{own}"


def _merchant(entry: XmlElement, detail: XmlElement, keyed: KeyedHash) -> dict[str, Any]:
    """Return what a card payment says of the shop: its terminal's owner, trade and town."""
    card = detail.at("CardTx") or entry.at("CardTx")
    shop = detail.at("RltdPties/Cdtr/Pty") or detail.at("RltdPties/Cdtr")
    terminal = None if card is None else card.text("POI/Id/Id")
    trade = None if card is None else card.text("Tx/Indv/TxCtgy", "Tx/Aggtd/TxCtgy")
    return {
        "mcc": trade if trade and trade.isdecimal() and len(trade) == 4 else None,  # noqa: PLR2004
        "merchant_key": keyed.of("merchant", terminal) if terminal else None,
        "merchant_city": None if shop is None else shop.text("PstlAdr/TwnNm"),
        "merchant_country": None if shop is None else shop.text("PstlAdr/Ctry"),
    }
