"""Features whose promise covers the person: payments with participants' customers are left out.

A payment stands on two statements. Where every entry is left out whose other side may be a customer
of a participant, no other customer's statement holds a customer's entries, and removing the
customer changes no other unit's vector (K = 0; docs/typologies.md has the argument and its limits).
Whether an entry stays is told from that entry and from public bank codes alone.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from fieldfare.shared.errors import UsageError
from fieldfare.shared.terminal.texts import listed

COVERS: Final = "covers"  # what a feature's field says in Parquet and Arrow, and nothing else does
PERSON: Final = "person"
BANKS: Final = "left_out_banks"
OPTION: Final = "--leave-out-customers-of"
MOST_NAMED: Final = 6

_BANK: Final = 8  # characters of a BIC (ISO 9362) that name the bank; three more name a branch
_BIC: Final = "[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?"
_CODE: Final = re.compile(r"[A-Z0-9_.:@=+/*-]{1,64}")  # what a canonical key can hold, in capitals


def _compared(column: str) -> str:
    """Return SQL for a column's bank codes in the form in which they are compared."""
    return (
        f"CASE WHEN regexp_full_match(upper({column}), '{_BIC}') "
        f"THEN upper({column})[:{_BANK}] ELSE upper({column}) END"
    )


# Entries whose other side is no customer of a participant. What is not known to be elsewhere may
# be here: a payment whose bank is not recorded goes.
_OUTSIDE: Final = f"""
CASE
    WHEN counterparty_org IS NOT NULL
        THEN NOT list_contains($banks, {_compared("counterparty_org")})
    WHEN channel IN ('CASH_DEP', 'CASH_WD', 'ATM_DEP', 'ATM_WD')
        THEN counterparty_key IS NULL
    WHEN channel IN ('POS', 'ECOM', 'PREPAID_LOAD')
        THEN direction = 'out' AND coalesce(counterparty_type, 'unknown') <> 'person'
    ELSE false
END
"""


@dataclass(frozen=True)
class OmittedCounts:
    """Counts of the canonical transactions that were left out.

    Attributes:
        banks: whose customers' payments, as `bank_codes` gives them.
        entries: how many entries went.
        unknown: of these, how many because the other side's bank is not recorded.
        of: how many there were.
        unnamed: of these, how many do not say which bank they are of (`org_id`).
    """

    banks: tuple[str, ...]
    entries: int
    unknown: int
    of: int
    unnamed: int


def bank_codes(text: str) -> tuple[str, ...]:
    """Return the codes of a list such as `AGRIFRPP,BNPAFRPPXXX`, sorted, as they are compared.

    A BIC counts as its first eight characters; any other code as itself, in capitals.

    Raises:
        UsageError: none, or one that no canonical record can hold.
    """
    codes = [one.strip().upper() for one in text.split(",") if one.strip()]
    wrong = [one for one in codes if not _CODE.fullmatch(one)]
    if wrong or not codes:
        raise UsageError(
            f"{OPTION}: expected bank codes of all participants, your own too, such as "
            f"AGRIFRPP,BNPAFRPP, found {repr(wrong[0])[:40] if wrong else 'none'}"
        )
    return tuple(sorted({one[:_BANK] if re.fullmatch(_BIC, one) else one for one in codes}))


def leave_out(connection: duckdb.DuckDBPyConnection, banks: tuple[str, ...]) -> OmittedCounts:
    """Take entries with participants' customers out of the table `transactions`.

    Args:
        connection: holds canonical transactions.
        banks: of all participants, this one too (`bank_codes`).

    Raises:
        UsageError: the transactions say that they are of a bank that is none of `banks`.
    """
    named = {"banks": list(banks)}
    counts = connection.execute(
        f"SELECT count(*), count(*) FILTER (NOT ({_OUTSIDE})), "
        f"count(*) FILTER (NOT ({_OUTSIDE}) AND counterparty_org IS NULL), "
        f"count(*) FILTER (org_id IS NULL), "
        f"count(*) FILTER (NOT list_contains($banks, {_compared('org_id')})) FROM transactions",
        named,
    ).fetchone()
    total, entries, unknown, unnamed, others = counts or (0, 0, 0, 0, 0)
    if others:
        raise UsageError(
            f"{OPTION}: expected the code of your own bank (org_id of your transactions) among the "
            "codes, found none: payments between your own customers would stay"
        )
    connection.execute(f"DELETE FROM transactions WHERE NOT ({_OUTSIDE})", named)
    return OmittedCounts(banks, entries, unknown, total, unnamed)


def said_of(banks: tuple[str, ...]) -> dict[str, str]:
    """Return a field's metadata for a feature without payments with customers of `banks`."""
    return {COVERS: PERSON, BANKS: ",".join(banks)} if banks else {}


def covered_columns(schema: Any) -> dict[str, str]:
    """Return the columns of an Arrow schema that say so, each with the banks."""
    said = {one.name: one.metadata or {} for one in schema}
    return {
        name: words.get(BANKS.encode(), b"").decode("ascii", "replace")
        for name, words in said.items()
        if words.get(COVERS.encode()) == PERSON.encode()
    }


def covers_line(columns: Collection[str], covered: Mapping[str, str]) -> str:
    """Return the promise's scope in words for an institution whose columns are covered so.

    Args:
        columns: what a study learns from or asks about, as the study calls it.
        covered: of these, those whose promise covers the person, each with the banks.
    """
    rest = [name for name in columns if name not in covered]
    banks = set(covered.values())
    if columns and not rest and len(banks) == 1:
        return (
            f"covers the person: payments with customers of {banks.pop().replace(',', ', ')} are "
            "left out (docs/typologies.md says what that does not reach)"
        )
    some = f", which is in {listed(rest, MOST_NAMED)}" if covered and rest else ""
    return f"covers own records, not what the statements of others say of the same person{some}"
