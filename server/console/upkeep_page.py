"""Who is told of what, and whether clocks and certificates hold; this sends and renews nothing."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from starlette.responses import Response

from fieldfare.server.console.place import CoordinatorPlace
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.server.members.roster import published_roster
from fieldfare.server.store.store import run_store_to_read
from fieldfare.server.studies.member_clocks import member_clocks
from fieldfare.shared.console.frame import Page, Visit
from fieldfare.shared.console.rights import Right
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.system.certificates import valid_until
from fieldfare.shared.system.clock import kept_within, utc_now
from fieldfare.shared.system.private_files import read_public
from fieldfare.shared.terminal.texts import plain, utc_text
from fieldfare.shared.watch.dispatch import NoticesHome
from fieldfare.shared.watch.notice_screen import newest
from fieldfare.shared.watch.notice_settings import load_notices
from fieldfare.shared.watch.outbox import WAITING, PostedNotice
from fieldfare.shared.watch.sending import routes_of

NOTICES: Final = "/notices"
CHECK: Final = "/check"
SOON: Final = timedelta(days=30)
CLOCK_WARNS: Final = 60.0  # seconds
RENEW: Final = "fieldfare coordinator renew certificate"


@dataclass(frozen=True)
class UpkeepFinding:
    """One subject, what was found, whether a person has to act, and how."""

    topic: str
    found: str
    odd: bool = False
    remedy: str = ""


def upkeep_pages(place: CoordinatorPlace) -> tuple[Page, ...]:
    """Return the pages about notices, and about clocks and certificates."""
    return (
        Page(NOTICES, Right.WATCH, lambda visit: _notices(visit, place)),
        Page(CHECK, Right.WATCH, lambda visit: _check(visit, place)),
    )


# -- notices --------------------------------------------------------------------------------------


def _notices(visit: Visit, place: CoordinatorPlace) -> Response:
    home, problems = place.opened, []
    addresses: list[str] = []
    found: list[PostedNotice] = []
    quiet = ""
    told = home.notices.exists()
    try:
        found = newest(NoticesHome(home.path, home.notices, home.outbox))
        if told:
            settings = load_notices(home.notices)
            addresses = [one.address for one in routes_of(settings, home.path)]
            quiet = settings.quiet_hours
    except FieldfareError as error:
        problems.append(str(error))
    return visit.page(
        "notices.html",
        problems=problems,
        told=told,
        addresses=addresses,
        quiet=quiet,
        found=found,
        waiting=sum(one.state == WAITING for one in found),
        plain=plain,
        time=utc_text,
    )


# -- clocks and certificates ----------------------------------------------------------------------


def _check(visit: Visit, place: CoordinatorPlace) -> Response:
    home, now = place.opened, utc_now()
    found = [_clock(kept_within(), now), *_certificates(home, now)]
    with run_store_to_read(home.runs_database) as store:
        run, clocks = member_clocks(store, published_roster(home))
    patience = load_settings(home).wait_seconds
    return visit.page(
        "upkeep.html",
        found=found,
        run=run,
        clocks=clocks,
        late=lambda one: one.after < -CLOCK_WARNS or one.after > patience + CLOCK_WARNS,
        patience=patience,
        plain=plain,
        time=utc_text,
    )


def _clock(within: float | None, now: datetime) -> UpkeepFinding:
    """Say whether this machine's clock is set by a better one."""
    said = utc_text(now)
    if within is None:
        return UpkeepFinding(
            "clock", f"{said}; this system does not say whether NTP synchronises it"
        )
    if math.isinf(within):
        remedy = "synchronise it by NTP: nodes whose clocks are 300 s off are refused"
        return UpkeepFinding("clock", f"{said}; nothing synchronises it", True, remedy)
    text = f"{said}; set by NTP, right within {within:.2g} s by the kernel's account"
    return UpkeepFinding("clock", text, within > CLOCK_WARNS)


def _certificates(home: CoordinatorHome, now: datetime) -> Iterator[UpkeepFinding]:
    new = "nodes treat a new authority as a new coordinator: plan it with every institution"
    for topic, path, remedy in (
        ("SuperLink's certificate", home.server_certificate, RENEW),
        ("authority's certificate", home.authority, new),
    ):
        yield _judge_file(topic, path, now, remedy)


def _judge_file(topic: str, path: Path, now: datetime, remedy: str) -> UpkeepFinding:
    try:
        ends = valid_until(read_public(path))
    except FieldfareError as error:
        return UpkeepFinding(topic, str(error), True)
    days = (ends - now) // timedelta(days=1)
    if ends <= now:
        return UpkeepFinding(topic, f"ended {utc_text(ends)}", True, remedy)
    odd = ends - now < SOON
    left = f"{days} day left" if days == 1 else f"{days} days left"
    return UpkeepFinding(topic, f"{left}, until {utc_text(ends)}", odd, remedy if odd else "")
