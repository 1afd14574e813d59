"""The way to a SuperLink, with a real TLS server in its place."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support.network.certificates import Authority
from tests.support.system.ports import free_port

from fieldfare.client.node.terms import NodeTerms
from fieldfare.client.oversight.link import judge_clock, judge_lifetime, link_checks
from fieldfare.client.oversight.preflight import (
    CheckInput,
    CheckNote,
    CheckOutcome,
    CheckResult,
    findings,
)
from fieldfare.shared.errors import StudyError

NOW: Final = datetime(2025, 6, 1, tzinfo=UTC)


class Answers(BaseHTTPRequestHandler):
    """Says that all is well, at a time of the test's choice."""

    def do_GET(self) -> None:
        self.send_response_only(200)
        ahead: timedelta | None = getattr(self.server, "ahead", None)
        if ahead is not None:
            self.send_header("Date", format_datetime(datetime.now(UTC) + ahead, usegmt=True))
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def server(
    folder: Path, ahead: timedelta | None, *, name: str = "localhost", expired: bool = False
) -> Iterator[NodeTerms]:
    files = Authority.make(folder).issue(name, expired=expired)
    found = HTTPServer(("127.0.0.1", 0), Answers)
    found.ahead = ahead  # type: ignore[attr-defined]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    found.socket = context.wrap_socket(found.socket, server_side=True)
    found.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield terms(f"localhost:{found.server_port}", files.authority)
    found.shutdown()
    found.server_close()


def terms(superlink: str, authority: Path) -> NodeTerms:
    key = ec.generate_private_key(ec.SECP384R1())
    bundles = frozenset({"ab" * 32})
    return NodeTerms(superlink, authority.read_bytes(), key, bundles, Path("c"), Path("n"))


def look(given: NodeTerms) -> dict[str, CheckResult]:
    return {one.topic: one for one in findings(link_checks(CheckInput("node.toml", lambda: given)))}


def test_a_way_that_is_open(tmp_path: Path) -> None:
    with server(tmp_path, timedelta(0)) as given:
        found = look(given)
    assert found["connection"].outcome is CheckOutcome.PASS
    assert "127.0.0.1" in found["connection"].text
    assert found["certificate"].outcome is CheckOutcome.WARN  # it ends tomorrow
    assert found["clock"].outcome is CheckOutcome.PASS


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (timedelta(seconds=120), CheckOutcome.WARN),
        (timedelta(seconds=-400), CheckOutcome.FAIL),
        (None, CheckOutcome.SKIP),
    ],
)
def test_a_clock_that_is_off(
    tmp_path: Path, ahead: timedelta | None, expected: CheckOutcome
) -> None:
    with server(tmp_path, ahead) as given:
        assert look(given)["clock"].outcome is expected


def test_nobody_there(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path).folder / "authority.pem"
    found = look(terms(f"127.0.0.1:{free_port()}", authority))
    assert [one.outcome for one in found.values()] == [
        CheckOutcome.FAIL,
        CheckOutcome.SKIP,
        CheckOutcome.SKIP,
    ]
    assert "firewall" in found["connection"].remedy


def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path).folder / "authority.pem"
    found = look(terms("coordinator.invalid:8000", authority))["connection"]
    assert found.outcome is CheckOutcome.FAIL
    assert "DNS" in found.text


@pytest.mark.parametrize("fault", ["authority", "name", "expired"])
def test_a_certificate_of_another_is_not_trusted(tmp_path: Path, fault: str) -> None:
    other = Authority.make(tmp_path, "other").folder / "authority.pem"
    name = "coordinator.example" if fault == "name" else "localhost"
    with server(tmp_path, timedelta(0), name=name, expired=fault == "expired") as given:
        found = look(terms(given.superlink, other) if fault == "authority" else given)
    assert found["connection"].outcome is CheckOutcome.PASS
    assert found["certificate"].outcome is CheckOutcome.FAIL
    assert "node.toml, found: " in found["certificate"].text
    renewed = "the coordinator must run `fieldfare coordinator renew certificate`"
    assert (renewed in found["certificate"].text) == (fault == "expired")
    assert renewed in found["certificate"].remedy
    assert found["clock"].outcome is CheckOutcome.SKIP


def test_without_settings_nothing_is_looked_at() -> None:
    def none() -> NodeTerms:
        raise StudyError("node.toml: TOML expected")

    found = findings(link_checks(CheckInput("node.toml", none)))
    assert {one.text for one in found} == {"needs node.toml, which failed above"}


@pytest.mark.parametrize(
    ("apart", "expected"),
    [
        (0.2, CheckOutcome.PASS),
        (-59.0, CheckOutcome.PASS),
        (61.0, CheckOutcome.WARN),
        (-300.0, CheckOutcome.WARN),
        (301.0, CheckOutcome.FAIL),
        (None, CheckOutcome.SKIP),
    ],
)
def test_how_a_clock_is_judged(apart: float | None, expected: CheckOutcome) -> None:
    seen = judge_clock(apart)
    assert (seen.outcome if isinstance(seen, CheckNote) else CheckOutcome.PASS) is expected


@pytest.mark.parametrize(
    ("days", "expected"), [(31, CheckOutcome.PASS), (29, CheckOutcome.WARN), (0, CheckOutcome.FAIL)]
)
def test_how_a_certificates_end_is_judged(days: int, expected: CheckOutcome) -> None:
    seen = judge_lifetime(NOW + timedelta(days=days), NOW, "it holds")
    assert isinstance(seen, CheckNote)
    assert seen.outcome is expected
