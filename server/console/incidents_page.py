"""What went wrong, and who decided what: runs, members, calls that were refused, the log.

Everything is read as it stands. Addresses and reasons are other people's texts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.home.decision_log import DecisionKind
from fieldfare.server.home.log_lines import Entry, LogPart, newest_entries
from fieldfare.server.members.enrolment import EnrolledMember, members
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.studies.run_life import Life, inspect_run
from fieldfare.server.studies.run_view import RunSummary
from fieldfare.server.studies.watched_coordinator import WatchedCoordinator, watched_coordinator
from fieldfare.server.superlink.state_view import NodeContact, SuperlinkView
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.texts import plain, utc_text

INCIDENTS: Final = "/incidents"
LOG: Final = "/log"
SHOWN: Final = 50
LONG: Final = 2_000
_DIGITS: Final = 12
_SECONDS: Final = 19  # characters of 2026-11-28T05:37:19
_OF_EACH: Final = frozenset({"event", "time", "user", "person", "act"})
_KINDS: Final = tuple(sorted(one.value for one in DecisionKind))


@dataclass(frozen=True)
class GoneMember:
    """A member whose node is not connected."""

    member: EnrolledMember
    contact: NodeContact


def incidents_pages(place: CoordinatorPlace) -> tuple[Page, ...]:
    """Return the pages about what went wrong, and the log of decisions."""
    return (
        Page(INCIDENTS, Right.WATCH, lambda visit: _incidents(visit, place)),
        Page(LOG, Right.WATCH, lambda visit: _log(visit, place)),
    )


def _incidents(visit: Visit, place: CoordinatorPlace) -> Response:
    home = place.opened
    problems: list[str] = []
    with watched_coordinator(home) as coordinator:
        runs, lost = _wrong(coordinator), coordinator.store.lost_attempts()
    gone = _or_told(problems, lambda: _find_gone(place), [])
    refused = _or_told(problems, lambda: _read_refused(home.audit_log), LogPart((), None))
    return visit.page(
        "incidents.html",
        problems=problems,
        runs=runs,
        most=SHOWN,
        lost=lost,
        gone=gone,
        refused=refused.entries,
        older=refused.older is not None or _has_older(home.audit_log),
        at=_time,
        plain=plain,
        long=LONG,
        time=utc_text,
    )


def _wrong(coordinator: WatchedCoordinator) -> list[RunSummary]:
    """Return the newest runs that failed or were interrupted; of no others all is read."""
    store, found, now = coordinator.store, [], utc_now()
    for row in reversed(store.rows()):
        if row.state is RunStatus.FINISHED:
            continue
        one = inspect_run(store, coordinator.control, row.run)
        if one.row.state is RunStatus.FAILED or one.life is Life.INTERRUPTED:
            found.append(coordinator.summary(one, now))
        if len(found) == SHOWN:
            break
    return found


def _find_gone(place: CoordinatorPlace) -> list[GoneMember]:
    home = place.opened
    contacts = SuperlinkView(home.superlink_database, utc_now).contacts()
    none = NodeContact(None, None, admitted=False)
    found = [GoneMember(one, contacts.get(one.node, none)) for one in members(home)]
    return [one for one in found if not one.contact.connected and not one.member.revoked]


def _read_refused(path: Path) -> LogPart:
    """Return the newest calls to the SuperLink that were refused or failed."""
    return newest_entries(path, lambda one: one.get("outcome") in {"refused", "failed"}, SHOWN)


def _has_older(path: Path) -> bool:
    """Tell whether the SuperLink began a new file, which is the one that is read here."""
    return path.with_name(f"{path.name}.1").exists()


def _or_told(problems: list[str], find: Callable[[], Any], otherwise: Any) -> Any:
    """Return what is found; where it cannot be read, say so and show the rest."""
    try:
        return find()
    except FieldfareError as error:
        problems.append(str(error))
        return otherwise


def _log(visit: Visit, place: CoordinatorPlace) -> Response:
    kind, before = visit.query.get("kind", ""), _number(visit.query.get("before", ""))
    person = visit.query.get("person", "").strip()
    if kind and kind not in _KINDS:
        raise UsageError("kind: expected one of the kinds that the page lists, found another")

    def fits(line: Entry) -> bool:
        by = {str(line.get("person", "")), str(line.get("user", ""))}
        return kind in {"", line.get("event")} and (not person or person in by)

    found = newest_entries(place.opened.decisions, fits, SHOWN, before)
    view = {key: value for key, value in (("kind", kind), ("person", person)) if value}
    more = {"before": str(found.older)} if found.older else {}
    return visit.page(
        "log.html",
        entries=found.entries,
        searched=bool(found.older) and len(found.entries) < SHOWN,
        kinds=_KINDS,
        kind=kind,
        person=person,
        first=f"{LOG}?{urlencode(view)}" if before is not None else "",
        following=f"{LOG}?{urlencode(view | more)}" if more else "",
        said=_details,
        at=_time,
        plain=plain,
    )


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > _DIGITS:
        raise UsageError("before: expected the place of an entry, found something else")
    return int(text)


def _time(line: Entry) -> str:
    """Return a line's time to the second, as it was written: UTC."""
    return plain(str(line.get("time", ""))[:_SECONDS]).replace("T", " ")


def _details(line: Entry) -> str:
    """Return what is particular about an entry, as one line."""
    found = ((key, value) for key, value in sorted(line.items()) if key not in _OF_EACH)
    return "; ".join(f"{plain(key)}: {plain(str(value), LONG)}" for key, value in found)
