"""The options of an import, besides its files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from fieldfare.client.records.importers.folder import Columns
from fieldfare.client.records.importers.keying import KeyedHash
from fieldfare.client.records.mapping import ColumnMapping


class InHouse(StrEnum):
    """Whose a payment between two own customers is."""

    DEBTOR = "debtor"
    CREDITOR = "creditor"
    BOTH = "both"


FIRST_DAY = date(2017, 1, 1)  # AMLSim's own `base_date`; a published choice, read off no records


@dataclass(frozen=True)
class ImportOptions:
    """The options of a command.

    Attributes:
        keyed: makes `*_key` columns.
        bank: of a source with several banks, whose records these are; empty for all together.
        bic: of the institution, for payments between banks.
        in_house: whose a payment between two own customers is.
        start: the day that a simulation's step 0 stands for.
        lacking: columns such as `transactions.mcc` that the institution does not have.
        codes: bank transaction codes of its own, each with the channel that it means; an empty
            one leaves the entry out.
        mapping: names of the columns, and the form of CSV.
    """

    keyed: KeyedHash
    bank: str = ""
    bic: str = ""
    in_house: InHouse = InHouse.DEBTOR
    start: date = FIRST_DAY
    lacking: frozenset[str] = frozenset()
    codes: Mapping[str, str] = field(default_factory=dict)
    mapping: ColumnMapping = field(default_factory=ColumnMapping)

    def having(self, columns: Columns) -> Columns:
        """Return the columns of each table without those that the institution lacks."""
        return {
            name: [one for one in listed if f"{name}.{one}" not in self.lacking]
            for name, listed in columns.items()
        }
