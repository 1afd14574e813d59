"""A statement as `score` keeps it with an alert, and as a person reads it there.

Whoever shows one loads nothing that could read records (client/alerts/entries.py does).
"""

import json
import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fieldfare.client.records.money import minor_digits
from fieldfare.shared.errors import UsageError

_FORMAT: Final = 1


@dataclass(frozen=True)
class Entry:
    """One entry of a statement.

    Attributes:
        day, time: as clocks stood, 2026-03-31 and 22:05.
        out: whether money left the account.
        minor: amount in minor units of `currency`.
        party: the other side as the records know it, a keyed hash; None where they do not.
        kind: of the other side: person, business, platform, gov, unknown.
        place: town of a machine or a merchant.
        what: a kind of spending, such as lodging; None: none of those that indicators read.
        counted: indicators that fire on this customer and count this entry.
    """

    day: str
    time: str
    out: bool
    minor: int
    currency: str
    channel: str
    party: str | None
    kind: str
    place: str | None
    what: str | None
    counted: tuple[str, ...]

    @property
    def amount(self) -> Decimal:
        """In units of the currency."""
        return Decimal(self.minor).scaleb(-minor_digits(self.currency))


@dataclass(frozen=True)
class KeptEntries:
    """A customer's entries, the latest first.

    Attributes:
        until: the last day that was looked at.
        found: how many there were; more than `entries` where the oldest were left out.
    """

    until: str
    found: int
    entries: tuple[Entry, ...]

    def packed(self) -> bytes:
        """Return it as bytes to be kept."""
        rows = [tuple(vars(one).values()) for one in self.entries]
        data = {"format": _FORMAT, "until": self.until, "found": self.found, "entries": rows}
        return zlib.compress(json.dumps(data, separators=(",", ":")).encode())

    @classmethod
    def unpacked(cls, content: bytes) -> "KeptEntries":
        """Read what `packed` made.

        Raises:
            UsageError: a newer Fieldfare made it.
        """
        data = json.loads(zlib.decompress(content))
        if data["format"] != _FORMAT:
            raise UsageError(
                f"expected entries of format {_FORMAT}, found a newer one: use the Fieldfare that "
                "scored"
            )
        entries = tuple(Entry(*(*one[:-1], tuple(one[-1]))) for one in data["entries"])
        return cls(data["until"], data["found"], entries)
