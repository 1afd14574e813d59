"""What went wrong, and who decided what: runs, members, calls that were refused, the log.

Everything is read as it stands. Addresses and reasons are other people's texts.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.home.decision_log import DecisionKind
from fieldfare.server.members.enrolment import EnrolledMember, members
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import RunStore
from fieldfare.server.studies.run_control import Life
from fieldfare.server.studies.run_view import RunSummary
from fieldfare.server.studies.watched_coordinator import watched_coordinator
from fieldfare.server.superlink.state_view import NodeContact, SuperlinkView
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import FieldfareError, RunError, UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.terminal.texts import plain, utc_text

INCIDENTS: Final = "/incidents"
LOG: Final = "/log"
SHOWN: Final = 50
LONG: Final = 2_000
TAIL: Final = 1024 * 1024  # bytes of a log, from its end
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
        runs = [one for one in coordinator.summaries(utc_now()) if _went_wrong(one)]
        lost = _lost(coordinator.store)
    gone = _or_told(problems, lambda: _gone(place), [])
    refused = _or_told(problems, lambda: list(_refused(home.audit_log)), [])
    return visit.page(
        "incidents.html",
        problems=problems,
        runs=runs[::-1][:SHOWN],
        lost=lost,
        gone=gone,
        refused=refused,
        at=_time,
        plain=plain,
        long=LONG,
        time=utc_text,
    )


def _went_wrong(one: RunSummary) -> bool:
    failed = one.inspected.row.state is RunStatus.FAILED
    return failed or one.inspected.life is Life.INTERRUPTED


def _lost(store: RunStore) -> dict[str, int]:
    """Return how many attempts each institution let die in all runs, most first."""
    found: dict[str, int] = {}
    for row in store.rows():
        found |= {name: lost.ever for name, lost in store.losses(row.run).items()}
    return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))


def _gone(place: CoordinatorPlace) -> list[GoneMember]:
    home = place.opened
    contacts = SuperlinkView(home.superlink_database, utc_now).contacts()
    none = NodeContact(None, None, admitted=False)
    found = [GoneMember(one, contacts.get(one.node, none)) for one in members(home)]
    return [one for one in found if not one.contact.connected and not one.member.revoked]


def _refused(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the newest calls to the SuperLink that were refused or failed."""
    left = SHOWN
    for _, line in newest_lines(path):
        if left and line.get("outcome") in {"refused", "failed"}:
            left -= 1
            yield line


def _or_told(problems: list[str], find: Callable[[], Any], otherwise: Any) -> Any:
    """Return what is found; where it cannot be read, say so and show the rest."""
    try:
        return find()
    except FieldfareError as error:
        problems.append(str(error))
        return otherwise


def newest_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the lines of a log of JSON objects, newest first, each with its place in bytes.

    Only the end of a long log is read. A line that is none, such as one cut off by a full disk, is
    left out.

    Raises:
        RunError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            begin = file.seek(max(0, size - TAIL))
            content = file.read(TAIL)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{path}: expected a log, found: {error.strerror}") from None
    if begin:
        cut = content.find(b"\n") + 1
        begin, content = begin + cut, content[cut:]
    at, found = begin, []
    for line in content.splitlines(keepends=True):
        found.append((at, line))
        at += len(line)
    for place, line in reversed(found):
        try:
            parsed = json.loads(line)
        except ValueError:
            continue
        if isinstance(parsed, dict):
            yield place, parsed


def _log(visit: Visit, place: CoordinatorPlace) -> Response:
    kind, before = visit.query.get("kind", ""), _number(visit.query.get("before", ""))
    person = visit.query.get("person", "").strip()
    if kind and kind not in _KINDS:
        raise UsageError("kind: expected one of the kinds that the page lists, found another")
    found = []
    for at, line in newest_lines(place.opened.decisions):
        by = {str(line.get("person", "")), str(line.get("user", ""))}
        fits = kind in {"", line.get("event")} and (not person or person in by)
        if fits and (before is None or at < before):
            found.append((at, line))
        if len(found) > SHOWN:
            break
    view = {key: value for key, value in (("kind", kind), ("person", person)) if value}
    more = {"before": str(found[SHOWN - 1][0])} if len(found) > SHOWN else {}
    return visit.page(
        "log.html",
        entries=[line for _, line in found[:SHOWN]],
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


def _time(line: dict[str, Any]) -> str:
    """Return a line's time to the second, as it was written: UTC."""
    return plain(str(line.get("time", ""))[:_SECONDS]).replace("T", " ")


def _details(line: dict[str, Any]) -> str:
    """Return what is particular about an entry, as one line."""
    found = ((key, value) for key, value in sorted(line.items()) if key not in _OF_EACH)
    return "; ".join(f"{plain(key)}: {plain(str(value), LONG)}" for key, value in found)
