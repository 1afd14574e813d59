"""A `MailRoute` and a `WebhookRoute` keep to `Route`: taken or a NoticeError, in bounded time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.network.receivers import mail_server, web_server

from fieldfare.shared.errors import NoticeError
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.watch.notice_settings import NoticesSettings
from fieldfare.shared.watch.sending import MailRoute, Patience, Route, WebhookRoute, routes_of
from fieldfare.shared.watch.sentences import Notice, NoticeKind

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOTICE = Notice("0" * 32, NoticeKind.RUN_ENDED, "a" * 64, "run-1", NOW)
KINDS: dict[str, type] = {"mail": MailRoute, "webhook": WebhookRoute}


@contextmanager
def receiving(kind: str, folder: Path) -> Iterator[tuple[Route, Callable[[], int]]]:
    """An address of a kind, and how many notices it was sent."""
    create_private(folder / "hook", b"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")
    given: dict[str, Any]
    with mail_server() as box, web_server() as hook:
        if kind == "mail":
            mail = {"host": "127.0.0.1", "port": box.port, "tls": "none", "sender": "a@b.example"}
            given = {"mail": mail | {"to": ["c@d.example"]}}
        else:
            given = {"webhook": [{"name": "tickets", "url": hook.url, "secret_file": "hook"}]}
        (route,) = routes_of(NoticesSettings.model_validate(given), folder)
        yield route, lambda: len(box.envelopes) + len(hook.posted)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent_arrives_each_time(kind: str, tmp_path: Path) -> None:
    with receiving(kind, tmp_path) as (route, count):
        assert isinstance(route, KINDS[kind])
        route.send(NOTICE, NOW)
        route.send(NOTICE, NOW)
        assert count() == 2
        assert route.address in {"mail to c@d.example", "webhook tickets"}


@pytest.mark.parametrize("kind", KINDS)
def test_where_nobody_is_a_notice_error_says_so_each_time(kind: str, tmp_path: Path) -> None:
    with receiving(kind, tmp_path) as (route, _):
        assert isinstance(getattr(route, "patience", None), Patience)
    for _ in range(2):
        with pytest.raises(NoticeError, match="no connection"):
            route.send(NOTICE, NOW)
