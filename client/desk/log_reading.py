"""What a desk tells of the log; nothing is written for it."""

from pathlib import Path
from typing import Final

from fieldfare.client.desk.calls import (
    EntryView,
    LogQuestion,
    LogView,
)
from fieldfare.client.home.layout import Home
from fieldfare.client.journal.entries import CASEWORK, Event, JournalEntry
from fieldfare.client.journal.journal import newest
from fieldfare.shared.errors import UsageError

_KINDS: Final = {one.value: one for one in Event if one not in CASEWORK}


def view_log(home: Path, asked: LogQuestion) -> LogView:
    """Tell entries of the log; what persons do about single alerts is left out.

    Raises:
        UsageError: no kind of the log.
        LedgerError: the log cannot be read.
    """
    if asked.kind and asked.kind not in _KINDS:
        raise UsageError("kind: expected one of the kinds that the page lists, found another")
    events = (_KINDS[asked.kind],) if asked.kind else tuple(_KINDS.values())
    found = newest(
        Home.open(home).log_folder,
        events,
        actor=asked.person,
        before=asked.before,
        most=asked.most,
    )
    return LogView(entries=[_entry(one) for one in found], kinds=sorted(_KINDS))


def _entry(one: JournalEntry) -> EntryView:
    return EntryView(
        number=one.sequence,
        time=one.time,
        kind=one.event.value,
        person=one.actor,
        details={key: str(value) for key, value in one.details.items()},
    )
