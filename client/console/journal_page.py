"""The institution's log for who operates and who examines, newest first, filters as addresses.

What persons do about single alerts is left out: that a report was drafted is secret by itself.
"""

from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from fieldfare.client.console.place import AskDesk
from fieldfare.client.desk.calls import LOG, EntryView, LogQuestion, LogView
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import LedgerError, UsageError
from fieldfare.shared.terminal.texts import plain

JOURNAL: Final = "/log"
SHOWN: Final = 50
MOST_NAME: Final = 256  # letters of a person's name
MOST_KIND: Final = 64
_DIGITS: Final = 15  # of a number of an entry


def journal_pages(desk: AskDesk) -> tuple[Page, ...]:
    """Return the page about the log that a desk tells of."""
    return (Page(JOURNAL, Right.WATCH, lambda visit: _journal(visit, desk)),)


def _journal(visit: Visit, desk: AskDesk) -> Response:
    kind, person = visit.query.get("kind", "")[:MOST_KIND], visit.query.get("person", "").strip()
    before = _number(visit.query.get("before", "0"))
    if len(person) > MOST_NAME:
        raise UsageError(f"person: expected a name of at most {MOST_NAME} letters, found more")
    problem, told = "", LogView(entries=[], kinds=[])
    try:
        asked = LogQuestion(kind=kind, person=person, before=before, most=SHOWN + 1)
        told = desk().ask(LOG, asked)
    except LedgerError as error:
        problem = str(error)
    found = told.entries
    view = urlencode({k: v for k, v in (("kind", kind), ("person", person)) if v})
    more = urlencode({"before": found[SHOWN - 1].number}) if len(found) > SHOWN else ""
    return visit.page(
        "journal.html",
        entries=found[:SHOWN],
        kinds=told.kinds,
        kind=kind,
        person=person,
        first=f"{JOURNAL}?{view}" if before else "",
        following=f"{JOURNAL}?{view}&{more}" if more and view else more and f"{JOURNAL}?{more}",
        problem=problem,
        said=_describe_details,
    )


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > _DIGITS:
        raise UsageError("before: expected the number of an entry, found something else")
    return int(text)


def _describe_details(entry: EntryView) -> str:
    """Return an entry's details as one line."""
    return "; ".join(f"{key}: {plain(value)}" for key, value in entry.details.items())
