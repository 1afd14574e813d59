"""pacs.008 (ISO 20022, FIToFICustomerCreditTransfer): payments between banks' customers.

The institution's BIC says whose entry a payment is: out of the debtor's account, or into the
creditor's. A payment between two own customers is one entry too, so that it belongs to one unit and
removing a unit's payments changes no other unit; where it shall be two entries, their number is
counted. Payments that only pass through are left out. Remittance texts, names and addresses are not
carried over.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from fieldfare.client.records.canonical_bank import Channel, Direction
from fieldfare.client.records.importers.bank_codes import standard_codes
from fieldfare.client.records.importers.base import ImportOptions, PaymentOwner, open_folder
from fieldfare.client.records.importers.iso20022 import (
    Message,
    StatementBooks,
    XmlElement,
    account_number,
    agent_of,
    amount_of,
    country_of,
    day_of,
    is_bic,
    kind_of_party,
    moment_of,
    other_side,
    parts_of,
)
from fieldfare.shared.errors import UsageError

MESSAGE: Final = Message("pacs.008.001", (2, 13), "FIToFICstmrCdtTrf", 3)
COLUMNS: Final = {
    "transactions": (
        "txn_id", "account_id", "ts_utc", "tz_offset_min", "booking_date", "direction",
        "amount_minor", "currency", "channel", "counterparty_key", "counterparty_type",
        "counterparty_org", "counterparty_country", "memo_category",
    ),
    "accounts": ("account_id", "customer_id", "country"),
    "customers": ("customer_id", "kind"),
}  # fmt: skip
_SIDES: Final = (("Dbtr", "Cdtr", Direction.OUT), ("Cdtr", "Dbtr", Direction.IN))
_ONE_SIDE: Final = {PaymentOwner.DEBTOR: "Dbtr", PaymentOwner.CREDITOR: "Cdtr"}
_BANK: Final = 8  # characters of a BIC that name the bank; three more name a branch
_SALARY: Final = frozenset({"SALA", "BONU", "PAYR"})
_INSTANT: Final = frozenset({"INST", "RTP"})


def import_pacs008(files: Sequence[Path], out: Path, options: ImportOptions) -> list[str]:
    """Write payments as canonical records; returns counts of payments read, in lines.

    Raises:
        RecordsError: input that cannot be read, by file and line.
        UsageError: no BIC is given, or `out` cannot be written.
    """
    if not is_bic(options.bic.upper()):  # a part of one would take other banks' customers too
        raise UsageError(
            "--bic: expected the institution's own BIC of 8 or 11 characters: it says whose a "
            "payment is"
        )
    with open_folder(out, options.having(COLUMNS)) as folder:
        payments = _Payments(StatementBooks(folder), options)
        for path in files:
            for block, name, node in parts_of(path, MESSAGE):
                payments.take((path, block), name, node)
        payments.books.finish()
    return [
        f"read {payments.read:,} payments; left out: {payments.passing:,} that only pass through",
        *payments.in_house_lines(),
        *folder.lines(),
    ]


class _Payments:
    """Collects accounts, and writes transactions as they come."""

    def __init__(self, books: StatementBooks, options: ImportOptions) -> None:
        self.books, self._keyed = books, options.keyed
        self._bank = options.bic[:_BANK].upper()
        self._block: tuple[Path, int] | None = None
        self._header: dict[str, Any] = {}
        self._whose = options.in_house
        self._partners: dict[str, set[str]] = {}  # of an own account, by payments of both
        self.read, self.passing, self.in_house = 0, 0, 0

    def take(self, block: tuple[Path, int], name: str, node: XmlElement) -> None:
        """Take the next element of a message."""
        if block != self._block:  # no message has another one's day
            self._block, self._header = block, {}
        if name == "GrpHdr":
            self._header = {
                **moment_of(node, "CreDtTm"),
                "day": day_of(node, "IntrBkSttlmDt"),
                "clearing": node.text("SttlmInf/SttlmMtd") == "CLRG",
            }
        elif name == "CdtTrfTxInf":
            self._pay(node)

    def in_house_lines(self) -> list[str]:
        """Return lines on payments between own customers: their owners, and the cost of two."""
        if not self.in_house:
            return []
        between = f"{self.in_house:,} payments between own customers"
        if self._whose is not PaymentOwner.BOTH:
            other = "creditor" if self._whose is PaymentOwner.DEBTOR else "debtor"
            return [f"{between}: on the {self._whose.value}'s statement, not on the {other}'s"]
        most = max(map(len, self._partners.values()))
        mean = sum(map(len, self._partners.values())) / len(self._partners)
        said = (
            f"{between}: on both statements, so that such a payment belongs to two units; taking "
            f"all payments of one out changes {most:,} others at most (mean {mean:.1f}), and the "
            "promise covers a unit's own entries, not its payments"
        )
        return [said]

    def _pay(self, payment: XmlElement) -> None:
        self.read += 1
        shared = self._shared(payment)
        mine = list(self._own_sides(payment))
        self.passing += not mine
        if len(mine) == len(_SIDES):
            self.in_house += 1
            mine = [side for side in mine if _ONE_SIDE.get(self._whose, side[0]) == side[0]]
        numbers = [self._account(payment, own) for own, _, _ in mine]
        if len(numbers) == len(_SIDES):
            self._partners.setdefault(numbers[0], set()).add(numbers[1])
            self._partners.setdefault(numbers[1], set()).add(numbers[0])
        for number, (own, other, direction) in zip(numbers, mine, strict=True):
            # its holder's number is in no payment: the account stands for its holder
            self.books.open(
                payment,
                {"account_id": number, "customer_id": number, "country": country_of(None, number)},
                {"customer_id": number, "kind": kind_of_party(payment.at(own))},
            )
            account, bank = payment.at(f"{other}Acct"), payment.at(f"{other}Agt")
            beside = other_side(payment.at(other), account, bank, self._keyed)
            fields = {**shared, "account_id": number, "direction": direction, **beside}
            self.books.enter(payment, fields)

    def _account(self, payment: XmlElement, own: str) -> str:
        number = account_number(payment.at(f"{own}Acct"))
        if number is None:
            payment.refuse(f"{own}Acct/Id")
        return number

    def _own_sides(self, payment: XmlElement) -> Iterator[tuple[str, str, Direction]]:
        for own, other, direction in _SIDES:
            bank = agent_of(payment.at(f"{own}Agt"))
            if bank is not None and bank.startswith(self._bank):
                yield own, other, direction

    def _shared(self, payment: XmlElement) -> dict[str, Any]:
        amount, currency = amount_of(payment, "IntrBkSttlmAmt")
        when = {name: self._header.get(name) for name in ("ts_utc", "tz_offset_min")}
        if payment.text("AccptncDtTm") is not None:
            when = moment_of(payment, "AccptncDtTm")
        return {
            "txn_id": self._reference(payment, f"{amount} {currency}"),
            **when,
            "booking_date": day_of(payment, "IntrBkSttlmDt") or self._header.get("day"),
            "amount_minor": amount,
            "currency": currency,
            "channel": self._channel(payment),
            "memo_category": standard_codes().memo(payment.text("Purp/Cd", "PmtTpInf/CtgyPurp/Cd")),
        }

    def _reference(self, payment: XmlElement, amount: str) -> str:
        uetr = payment.text("PmtId/UETR")
        if uetr is not None:
            return uetr
        written = payment.need("PmtId/TxId", "PmtId/EndToEndId")
        return self._keyed.of("reference", f"{written} {amount}")

    def _channel(self, payment: XmlElement) -> Channel:
        kind = payment.at("PmtTpInf")
        purposes = {payment.text("Purp/Cd"), payment.text("PmtTpInf/CtgyPurp/Cd")}
        banks = [agent_of(payment.at(f"{side}Agt")) for side in ("Dbtr", "Cdtr")]
        if purposes & _SALARY:
            return Channel.PAYROLL
        if country_of(banks[0], None) != country_of(banks[1], None):
            return Channel.WIRE
        if kind is not None and kind.text("LclInstrm/Cd") in _INSTANT:
            return Channel.P2P
        return Channel.ACH if self._header.get("clearing") else Channel.WIRE
