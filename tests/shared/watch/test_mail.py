"""Mail goes to a real server: over TLS with a certificate that verifies, or not at all."""

import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.network.certificates import Authority
from tests.support.network.receivers import PASSWORD, Mailbox, mail_server, server_tls

from fieldfare.shared.errors import KeysError, NoticeError
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.watch.notice_settings import MailSection
from fieldfare.shared.watch.sending import MailRoute, Patience
from fieldfare.shared.watch.sentences import Notice, NoticeKind

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
USER = {"user": "fieldfare", "password_file": "password"}
NOTICE = Notice("0" * 32, NoticeKind.RUN_ENDED, "a" * 64, "run-1", NOW)


def route(box: Mailbox, folder: Path, **changed: Any) -> MailRoute:
    given = {
        "host": "localhost",
        "port": box.port,
        "sender": "fieldfare@bank-a.example",
        "to": ["office@bank-a.example"],
        "tls": "none",
    }
    section = MailSection.model_validate(given | changed)
    return MailRoute(section, section.to[0], folder, Patience(3.0))


def test_a_mail_arrives_over_starttls(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    with mail_server(starttls=server_tls(authority)) as box:
        to = route(box, tmp_path, tls="starttls", authority="authority/authority.pem")
        to.send(NOTICE, NOW)
    (envelope,), (message,) = box.envelopes, box.messages
    assert (envelope.mail_from, envelope.rcpt_tos, box.encrypted) == (
        "fieldfare@bank-a.example",
        ["office@bank-a.example"],
        [True],
    )
    assert message["Subject"] == "Fieldfare: run ended"
    assert message.get_content().splitlines()[0] == "A run ended: it is finished."


def test_a_mail_arrives_where_tls_comes_first(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    with mail_server(tls=server_tls(authority)) as box:
        to = route(box, tmp_path, tls="at once", authority="authority/authority.pem")
        to.send(NOTICE, NOW)
    assert len(box.messages) == 1


@pytest.mark.parametrize("expired", [False, True])
def test_a_certificate_that_does_not_verify_gets_nothing(expired: bool, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    with mail_server(starttls=server_tls(authority, expired=expired)) as box:
        trusted = "authority/authority.pem" if expired else ""
        to = route(box, tmp_path, tls="starttls", authority=trusted)
        with pytest.raises(NoticeError, match="certificate does not verify"):
            to.send(NOTICE, NOW)
    assert box.envelopes == []


def test_a_server_without_starttls_gets_nothing(tmp_path: Path) -> None:
    create_private(tmp_path / "password", PASSWORD)
    with mail_server(log_in=True) as box:
        to = route(box, tmp_path, tls="starttls", **USER)
        with pytest.raises(NoticeError, match="no STARTTLS"):
            to.send(NOTICE, NOW)
    assert (box.envelopes, box.users) == ([], [])


@pytest.mark.parametrize("password", [PASSWORD, PASSWORD + b"\n", b"another"])
def test_a_user_logs_in(password: bytes, tmp_path: Path) -> None:
    create_private(tmp_path / "password", password)
    authority = Authority.make(tmp_path)
    with mail_server(starttls=server_tls(authority), log_in=True) as box:
        trusted = {"tls": "starttls", "authority": "authority/authority.pem"}
        to = route(box, tmp_path, **USER, **trusted)
        if password.strip() == PASSWORD:
            to.send(NOTICE, NOW)
        else:
            with pytest.raises(NoticeError, match="refuses the user or the password") as raised:
                to.send(NOTICE, NOW)
            assert "another" not in str(raised.value)
    assert set(box.users) == {b"fieldfare"}


def test_a_password_that_others_read_is_not_used(tmp_path: Path) -> None:
    create_private(tmp_path / "password", PASSWORD)
    (tmp_path / "password").chmod(0o644)
    with mail_server(log_in=True) as box, pytest.raises(KeysError):
        route(box, tmp_path, **USER).send(NOTICE, NOW)
    assert box.users == []


def test_what_a_server_says_is_not_repeated(tmp_path: Path) -> None:
    with mail_server() as box:
        box.answer = "554 Maria Lopez, account 1234"
        with pytest.raises(NoticeError) as raised:
            route(box, tmp_path).send(NOTICE, NOW)
    assert str(raised.value) == "the mail server refuses the message or the connection"


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with mail_server() as box:
        pass
    with pytest.raises(NoticeError, match="no connection to the mail server"):
        route(box, tmp_path).send(NOTICE, NOW)


def test_a_server_that_drips_is_left_and_not_called_twice(tmp_path: Path) -> None:
    """Each byte comes in time, the line never does; a second try does not join the first."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            with listener.accept()[0] as one:
                while not over.wait(0.02):
                    try:
                        one.send(b"2")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        to = route(Mailbox(listener.getsockname()[1]), tmp_path)
        to.patience.seconds = 0.3
        begun = time.monotonic()
        with pytest.raises(NoticeError, match="took too long"):
            to.send(NOTICE, NOW)
        with pytest.raises(NoticeError, match="has not ended"):
            to.send(NOTICE, NOW)
        over.set()
        thread.join()
        assert time.monotonic() - begun < 10
