"""The institution's log for who operates and who examines, newest first, filters as addresses.

What persons do about single alerts is left out: that a report was drafted is secret by itself.
"""

from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from fieldfare.client.home.layout import Home
from fieldfare.client.journal.entries import CASEWORK, MAX_TEXT, Event, JournalEntry
from fieldfare.client.journal.journal import newest
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import LedgerError, UsageError
from fieldfare.shared.terminal.texts import plain

JOURNAL: Final = "/log"
SHOWN: Final = 50
_DIGITS: Final = 15  # of a number of an entry
_KINDS: Final = {one.value: one for one in Event if one not in CASEWORK}


def journal_pages(home: Path) -> tuple[Page, ...]:
    """Return the page about the log of a home."""
    return (Page(JOURNAL, Right.WATCH, lambda visit: _journal(visit, home)),)


def _journal(visit: Visit, home: Path) -> Response:
    kind, person = visit.query.get("kind", ""), visit.query.get("person", "").strip()
    events, before = _events(kind), _number(visit.query.get("before", "0"))
    if len(person) > MAX_TEXT:
        raise UsageError(f"person: expected a name of at most {MAX_TEXT} letters, found more")
    found: tuple[JournalEntry, ...] = ()
    problem, folder = "", Home.open(home).log_folder
    try:
        found = newest(folder, events, actor=person, before=before, most=SHOWN + 1)
    except LedgerError as error:
        problem = str(error)
    view = urlencode({k: v for k, v in (("kind", kind), ("person", person)) if v})
    more = urlencode({"before": found[SHOWN - 1].sequence}) if len(found) > SHOWN else ""
    return visit.page(
        "journal.html",
        entries=found[:SHOWN],
        kinds=sorted(_KINDS),
        kind=kind,
        person=person,
        first=f"{JOURNAL}?{view}" if before else "",
        following=f"{JOURNAL}?{view}&{more}" if more and view else more and f"{JOURNAL}?{more}",
        problem=problem,
        said=_said,
    )


def _events(kind: str) -> tuple[Event, ...]:
    if kind and kind not in _KINDS:
        raise UsageError("kind: expected one of the kinds that the page lists, found another")
    return (_KINDS[kind],) if kind else tuple(_KINDS.values())


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > _DIGITS:
        raise UsageError("before: expected the number of an entry, found something else")
    return int(text)


def _said(entry: JournalEntry) -> str:
    """Return an entry's details as one line."""
    return "; ".join(f"{key}: {plain(str(value))}" for key, value in entry.details.items())
