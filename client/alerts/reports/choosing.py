"""Which of a customer's kept entries go into a draft: a person chooses, the store says the rest.

Offered are entries that an indicator which fires counts. A form sends only which are chosen; days
and amounts come from the store, so nobody's browser can change one. What the store does not know
(the account's number, the other side's name) a person fills in.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fieldfare.client.alerts.kept_entries import Entry, KeptEntries
from fieldfare.client.alerts.reports.facts import OPEN, Movement

MOST_OFFERED: Final = 200
MOST_CHOSEN: Final = 12  # a form with the fields of more is no form any more
_KEY_BYTES: Final = 8
_FIELD: Final = re.compile(r"^(transactions?)(?:\.([0-9]{1,3}))?\.(.+)$")
_BY_MOVEMENTS: Final = "report_code"  # goAML: on an activity, or with transactions


@dataclass(frozen=True)
class OfferedEntry:
    """An entry that may be chosen; `key` names it in a form and says nothing of it."""

    key: str
    entry: Entry

    @property
    def movement(self) -> Movement:
        """The entry as a report has it; what the store does not know is open."""
        one = self.entry
        moment = datetime.fromisoformat(f"{one.day}T{one.time}")
        return Movement(
            reference=OPEN,
            moment=moment,  # as clocks stood; how far they were ahead is not kept
            offset=None,
            out=one.out,
            account=OPEN,
            amount=f"{one.amount:f}",
            currency=one.currency,
            channel=one.channel,
            country=None,
            other_bank=None,
            other_country=None,
            place=one.place,
            attempted=False,  # what did not go through is in no statement
        )


def offer_entries(kept: KeptEntries | None, alert: str) -> tuple[OfferedEntry, ...]:
    """Return the entries of an alert that may be chosen, the latest first.

    Args:
        kept: the statement; None: none is kept.
        alert: whose it is; keys of two alerts are never the same.
    """
    seen: Counter[str] = Counter()
    found: list[OfferedEntry] = []
    for one in kept.entries if kept else ():
        if not one.counted or len(found) == MOST_OFFERED:
            continue
        said = json.dumps([alert, *vars(one).values()])
        seen[said] += 1  # two entries may be alike
        digest = hashlib.blake2b(f"{seen[said]} {said}".encode(), digest_size=_KEY_BYTES)
        found.append(OfferedEntry(digest.hexdigest(), one))
    return tuple(found)


def choose_entries(
    offers: Sequence[OfferedEntry], keys: Collection[str]
) -> tuple[OfferedEntry, ...]:
    """Return those offers that were chosen, in the order of the statement, so many as fit."""
    return tuple(one for one in offers if one.key in keys)[:MOST_CHOSEN]


def answers_for(
    answers: Mapping[str, str], before: Sequence[str], now: Sequence[str]
) -> dict[str, str]:
    """Return a person's answers under the places that their movements have now.

    An answer belongs to the movement beside which it was typed; one to a movement that was taken
    out, or to the empty one that a form without movements may have, goes with it.

    Args:
        answers: by path, as typed.
        before: keys of the movements of the form in which they were typed.
        now: keys of the movements that are chosen.
    """
    found = {}
    for path, value in answers.items():
        at = _FIELD.match(path)
        if path == _BY_MOVEMENTS and bool(before) != bool(now):
            continue
        if at is None or not (before or now):
            found[path] = value
            continue
        place = int(at[2] or 0)
        key = before[place] if place < len(before) else ""
        if key in now:
            found[f"{_name_path(at[1], now.index(key))}.{at[3]}"] = value
    return found


def movement_at(path: str) -> int | None:
    """Return the place of the movement that a field belongs to; None: of none."""
    at = _FIELD.match(path)
    return None if at is None else int(at[2] or 0)


def _name_path(tag: str, place: int) -> str:
    """Return a movement's path: goAML numbers its elements from the second on."""
    return tag if tag == "transaction" and not place else f"{tag}.{place}"
