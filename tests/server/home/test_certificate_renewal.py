"""The SuperLink's certificate is renewed by itself, and nobody who is connected notices."""

import socket
import ssl
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.support.homes.coordinators import NOW, found

from fieldfare.server.home import initial_setup
from fieldfare.server.home.initial_setup import (
    CoordinatorSetup,
    create_coordinator,
    renew_server,
    renew_where_due,
)
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.superlink.process import shown_from_now_on, terms_of
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.certificates import known_as, valid_until
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import folder_lock


def left(home: CoordinatorHome, now: datetime) -> timedelta:
    return valid_until(home.server_certificate.read_bytes()) - now


def test_for_two_years_there_is_always_a_certificate_of_the_same_authority(tmp_path: Path) -> None:
    home = found(tmp_path / "coordinator")
    authority, names = home.authority.read_bytes(), known_as(home.server_certificate.read_bytes())
    renewed = []
    for day in range(731):
        now = NOW + timedelta(days=day)
        if renew_where_due(home, now):
            renewed.append(day)
        assert left(home, now) > timedelta(days=29)
    assert renewed == [336, 672]  # 29 days before the end of each year of it
    assert home.authority.read_bytes() == authority
    assert known_as(home.server_certificate.read_bytes()) == names


def test_an_authority_that_ends_is_not_asked_every_hour(tmp_path: Path) -> None:
    home = found(tmp_path / "coordinator")
    last = valid_until(home.authority.read_bytes()) - timedelta(days=10)
    assert renew_where_due(home, last) == valid_until(home.authority.read_bytes())
    assert renew_where_due(home, last + timedelta(hours=1)) is None


def serving(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Answer every byte of every connection with itself."""

    def echo(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as connection:
            while content := connection.recv(16):
                connection.sendall(content)

    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=echo, args=(plain,), daemon=True).start()


def test_two_renewals_at_once_leave_a_pair_that_fits(tmp_path: Path) -> None:
    setup = CoordinatorSetup("Example", "localhost:8443", "", (), "", 8001)
    home = create_coordinator(tmp_path / "home", setup, utc_now())
    before = home.server_certificate.read_bytes()
    with folder_lock(home.server_key.parent) as held, pytest.MonkeyPatch.context() as patch:
        assert held
        patch.setattr(initial_setup, "RENEW_WAIT", 0.0)
        with pytest.raises(UsageError, match="one renewal at a time"):
            renew_server(home, utc_now())
    assert home.server_certificate.read_bytes() == before
    renew_server(home, utc_now())
    assert home.server_certificate.read_bytes() != before


def test_connections_go_on_while_the_certificate_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    setup = CoordinatorSetup("Example", "localhost:8443", "", (), "", 8001)
    home = create_coordinator(tmp_path / "home", setup, utc_now() - timedelta(days=340))
    terms, context = terms_of(home), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(terms.certificate, terms.key)
    pinned = ssl.create_default_context(cafile=str(home.authority))  # as a node pins it
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serving, args=(listener, context), daemon=True).start()

    def connect() -> ssl.SSLSocket:
        plain = socket.create_connection(listener.getsockname(), timeout=10)
        return pinned.wrap_socket(plain, server_hostname="localhost")

    def said(connection: ssl.SSLSocket) -> bytes:
        connection.sendall(b"x")
        return connection.recv(16)

    try:
        with connect() as before:
            shown = terms.certificate.read_bytes()
            fresh = shown_from_now_on(terms, context, shown, utc_now())
            assert fresh != shown
            assert said(before) == b"x"
            with connect() as after:
                assert said(after) == b"x"
                assert after.getpeercert() != before.getpeercert()
            assert shown_from_now_on(terms, context, fresh, utc_now()) == fresh
            terms.certificate.write_bytes(shown)  # another key's: what was shown stays
            home.authority_key.unlink()
            assert shown_from_now_on(terms, context, fresh, utc_now()) == fresh
            assert "was not renewed" in caplog.text
            with connect() as still:
                assert said(still) == b"x"
            caplog.clear()
            terms.certificate.write_bytes(home.authority.read_bytes())  # of another key
            assert shown_from_now_on(terms, context, fresh, utc_now()) == fresh
            assert "was not renewed" in caplog.text
            with connect() as still:
                assert said(still) == b"x"
    finally:
        listener.close()
