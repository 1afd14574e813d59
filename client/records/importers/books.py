"""A stream of messages as accounts and their holders, with its transactions in batches."""

from typing import Any, Final

from pydantic import BaseModel, ValidationError

from fieldfare.client.records.canonical import Account, Customer, Transaction
from fieldfare.client.records.importers.folder import CanonicalFolder
from fieldfare.client.records.importers.iso20022 import Node

BATCH: Final = 20_000  # transactions that are held before they are written


class Books:
    """Accounts and customers, each once, and transactions as they come."""

    def __init__(self, folder: CanonicalFolder) -> None:
        """Write to a folder."""
        self._folder = folder
        self._held: list[BaseModel] = []
        self._accounts: dict[str, Account] = {}
        self._customers: dict[str, Customer] = {}

    def open(self, node: Node, account: dict[str, Any], customer: dict[str, Any]) -> None:
        """Take an account and its holder; what is None is not known.

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

    def enter(self, node: Node, fields: dict[str, Any]) -> None:
        """Take a transaction; what is None is not known.

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
        """Write what is held, then the accounts and customers."""
        self._write()
        self._folder.add_records("accounts", list(self._accounts.values()))
        self._folder.add_records("customers", list(self._customers.values()))

    def _write(self) -> None:
        self._folder.add_records("transactions", self._held)
        self._held = []


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
