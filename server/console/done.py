"""What forms of acts carry, and what is told of an act after it: as a word out of a closed list."""

import re
from http import HTTPStatus
from typing import Final

from fieldfare.server.desk.calls import ActNote, ActReceipt, coordinator_desk
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.console.frame import Visit
from fieldfare.shared.console.shield import PageRefusal
from fieldfare.shared.desk.calls import Asked, DeskCall
from fieldfare.shared.errors import PolicyRefusal, StudyError, UsageError

_RUN: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


def checked_run(text: str) -> str:
    """Return a run's id out of a form or an address.

    Raises:
        UsageError: it is none.
    """
    if not _RUN.fullmatch(text):
        raise UsageError("run: expected a run's id, found something else: open the page again")
    return text


def checked_hash(text: str) -> str:
    """Return a study's hash out of a form.

    Raises:
        UsageError: it is none.
    """
    if not _HASH.fullmatch(text):
        raise UsageError("study: expected its hash, found something else: check the study again")
    return text


def get_done(home: CoordinatorHome, call: DeskCall[Asked, ActReceipt], asked: Asked) -> ActReceipt:
    """Get an act done at the desk.

    Raises:
        Refused: the desk found something against it; nothing was done.
        UsageError, RunError: as `DeskClient.ask`.
    """
    try:
        return coordinator_desk(home).ask(call, asked)
    except (StudyError, PolicyRefusal) as error:
        raise PageRefusal(HTTPStatus.CONFLICT, f"Nothing was done: {error}") from None


def done_query(done: ActReceipt) -> dict[str, str]:
    """Return what the next page's address says of an act that was done."""
    return {"done": done.note.name.lower()}


def done_words(visit: Visit, what: str) -> str:
    """Return what a page says of the act that led to it; nothing where none did."""
    name = visit.query.get("done", "").upper()
    if name not in ActNote.__members__:
        return ""
    note = ActNote[name]
    return f"{what}: {note.value}." if note else f"{what}."
