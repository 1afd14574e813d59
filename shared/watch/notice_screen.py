"""Notices on a terminal: what was made and who got it, and a test of every address."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

import typer
from rich.console import RenderableType

from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.terminal.screen import console, table
from fieldfare.shared.terminal.texts import SHORT, ago
from fieldfare.shared.watch.dispatch import NoticesHome, trial_notice
from fieldfare.shared.watch.notice_settings import NoticesSettings, load_notices
from fieldfare.shared.watch.outbox import PostedNotice, outbox_to_read
from fieldfare.shared.watch.sending import routes_of

MOST_SHOWN: Final = 200


def try_addresses(home: NoticesHome, now: datetime, token: Callable[[], str]) -> bool:
    """Try every address as `tried`, print a line for each, and return whether all were sent."""
    failed = False
    for line, sent in tried(home, now, token):
        typer.echo(line)
        failed |= not sent
    return not failed


def print_newest(home: NoticesHome, now: datetime, *, as_json: bool) -> None:
    """Print what `newest` finds, as a table or for programs."""
    found = newest(home)
    if as_json:
        typer.echo(json.dumps(_posted_json(found), indent=2))
    elif found:
        console().print(_posted_table(found, now))
    else:
        typer.echo("no notice yet")


def tried(home: NoticesHome, now: datetime, token: Callable[[], str]) -> Iterator[tuple[str, bool]]:
    """Send a test to every address, at once and in quiet hours too; yields a line and success.

    Args:
        home: whose addresses.
        now: with a time zone.
        token: gives 32 random hexadecimal digits.

    Raises:
        StudyError, UsageError: the settings are missing, have mistakes or name nobody.
    """
    for route in routes_of(_settings(home), home.folder):
        try:
            route.send(trial_notice(now, token()), now)
        except FieldfareError as error:
            yield f"{route.address}: not sent: {error}", False
        else:
            yield f"{route.address}: sent", True


def newest(home: NoticesHome) -> list[PostedNotice]:
    """Return the newest notices with each address, newest first; none where none was ever made.

    Raises:
        NoticeError: the outbox cannot be read.
    """
    with outbox_to_read(home.outbox) as outbox:
        return outbox.posted(MOST_SHOWN)


def _posted_json(found: list[PostedNotice]) -> list[dict[str, Any]]:
    return [
        {
            "id": one.notice.id,
            "kind": one.notice.kind.value,
            "study": one.notice.study,
            "run": one.notice.run,
            "at": one.notice.at.isoformat(),
            "address": one.address,
            "state": one.state,
            "since": one.time.isoformat(),
        }
        for one in found
    ]


def _posted_table(found: list[PostedNotice], now: datetime) -> RenderableType:
    rows = (
        (
            one.notice.kind.value,
            one.notice.run or one.notice.study[:SHORT] or "-",
            one.address,
            one.state,
            ago(now - one.time),
        )
        for one in found
    )
    return table(("notice", "of", "to", "state", "since"), rows, whole=("notice", "state", "since"))


def _settings(home: NoticesHome) -> NoticesSettings:
    if not home.settings.exists():
        raise UsageError(
            f"{home.settings}: expected who is told, found no such file: write one, as "
            "docs/notices.md shows"
        )
    found = load_notices(home.settings)
    if found.mail is None and not found.webhook:
        raise UsageError(
            f"{home.settings}: expected [mail] or [[webhook]], found neither: nobody is told"
        )
    return found
