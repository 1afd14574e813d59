"""Webhooks: signed, over https, and nothing that a hostile server does goes further."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.network.certificates import Authority
from tests.support.network.receivers import Hook, server_tls, web_server

from fieldfare.shared.errors import KeysError, NoticeError
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.watch.notice_settings import WebhookSection
from fieldfare.shared.watch.sending import Patience, WebhookRoute
from fieldfare.shared.watch.sentences import Notice, NoticeKind, webhook_body, webhook_headers

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOTICE = Notice("0" * 32, NoticeKind.NODE_GONE, "", "", NOW)
SECRET = b"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"


def route(url: str, folder: Path, authority: str = "") -> WebhookRoute:
    if not (folder / "secret").exists():
        create_private(folder / "secret", SECRET)
    given = {"name": "tickets", "url": url, "secret_file": "secret", "authority": authority}
    section = WebhookSection.model_validate(given)
    return WebhookRoute(section, folder, Patience(3.0))


def test_a_notice_is_posted_and_signed(tmp_path: Path) -> None:
    with web_server() as hook:
        route(hook.url, tmp_path).send(NOTICE, NOW)
    ((path, headers, body),) = hook.posted
    assert (path, body) == ("/hook", webhook_body(NOTICE))
    signed = webhook_headers(NOTICE, body, b"secret" * 4, NOW)
    assert {name: headers[name] for name in signed} == signed


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_has_to_verify(trusted: bool, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    with web_server(server_tls(authority)) as hook:
        url = hook.url.replace("http://127.0.0.1", "https://localhost")
        to = route(url, tmp_path, "authority/authority.pem" if trusted else "")
        if trusted:
            to.send(NOTICE, NOW)
        else:
            with pytest.raises(NoticeError, match="no valid certificate"):
                to.send(NOTICE, NOW)
    assert len(hook.posted) == int(trusted)


def test_an_environment_names_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server() as proxy, web_server() as hook:
        for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        route(hook.url, tmp_path).send(NOTICE, NOW)
    assert (len(proxy.posted), len(hook.posted)) == (0, 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int, tmp_path: Path) -> None:
    with web_server() as other, web_server() as hook:
        hook.status, hook.headers = status, {"location": other.url}
        with pytest.raises(NoticeError, match=f"it answered {status}: redirects"):
            route(hook.url, tmp_path).send(NOTICE, NOW)
    assert other.posted == []


@pytest.mark.parametrize("status", [400, 401, 410, 429, 500, 503])
def test_another_answer_is_a_failure(status: int, tmp_path: Path) -> None:
    with web_server() as hook:
        hook.status, hook.body = status, b"Maria Lopez"
        with pytest.raises(NoticeError) as raised:
            route(hook.url, tmp_path).send(NOTICE, NOW)
    assert str(raised.value) == f"it answered {status}"


def test_a_huge_answer_is_not_read(tmp_path: Path) -> None:
    with web_server() as hook:
        hook.body = b"x" * (64 * 1024 * 1024)
        begun = time.process_time()
        route(hook.url, tmp_path).send(NOTICE, NOW)
        assert time.process_time() - begun < 1


def test_a_slow_server_is_left(tmp_path: Path) -> None:
    with web_server() as hook:
        hook.before = lambda: time.sleep(1.0)
        to = route(hook.url, tmp_path)
        to.patience.seconds = 0.2
        with pytest.raises(NoticeError, match="took too long"):
            to.send(NOTICE, NOW)
        hook.before = lambda: None


def test_a_url_stands_in_no_error(tmp_path: Path) -> None:
    with web_server() as hook:
        pass
    to = route(hook.url + "?token=hidden", tmp_path)
    with pytest.raises(NoticeError) as raised:
        to.send(NOTICE, NOW)
    assert "hidden" not in f"{raised.value}{to.address}"
    assert raised.value.__cause__ is None


def test_without_its_secret_nothing_is_posted(tmp_path: Path) -> None:
    hook = Hook(port=1)
    to = route(hook.url, tmp_path)
    (tmp_path / "secret").unlink()
    with pytest.raises(KeysError):
        to.send(NOTICE, NOW)
