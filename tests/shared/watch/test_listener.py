"""The listener: three addresses, GET alone, and the truth about what is not there."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from tests.support.system.ports import free_port
from tests.support.system.processes import until

from fieldfare.shared.errors import UsageError
from fieldfare.shared.watch import listener, metrics
from fieldfare.shared.watch.listener import MOST_AT_ONCE, WatchSource, watched_at
from fieldfare.shared.watch.metrics import MetricSample, Probe


@contextmanager
def listening(*, good: bool = True, alive: bool = True) -> Iterator[int]:
    source = WatchSource(
        role="node",
        samples=lambda: [MetricSample(metrics.NODE_CONNECTED, 1)],
        probes=lambda: [Probe("superlink", good, "gone"), Probe("custodian", good=True)],
        alive=lambda: alive,
    )
    with watched_at(f"127.0.0.1:{free_port()}", source) as port:
        yield port


def asked(port: int, path: str, method: str = "GET", host: str | None = None) -> tuple[int, str]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    link.request(method, path, headers={} if host is None else {"Host": host})
    answer = link.getresponse()
    content = answer.read().decode()
    link.close()
    return answer.status, content


def test_metrics_say_what_ready_says() -> None:
    with listening() as port:
        status, text = asked(port, "/metrics")
        assert (status, asked(port, "/readyz")) == (200, (200, "superlink: ok\ncustodian: ok\n"))
        assert "fieldfare_ready 1.0" in text
        assert "fieldfare_node_connected 1.0" in text
        assert asked(port, "/healthz") == (200, "alive\n")
    with listening(good=False, alive=False) as port:
        assert asked(port, "/readyz") == (503, "superlink: gone\ncustodian: ok\n")
        assert asked(port, "/healthz")[0] == 503
        assert "fieldfare_ready 0.0" in asked(port, "/metrics")[1]


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("POST", "/metrics", None, 405),
        ("GET", "/", None, 404),
        ("GET", "/metrics/../etc/passwd", None, 404),
        ("GET", "/metrics", "rebound.example.org", 421),
        ("GET", "/metrics", "localhost:1", 200),
        ("GET", "/metrics?x=1", None, 200),
    ],
)
def test_nothing_else_is_answered(method: str, path: str, host: str | None, status: int) -> None:
    with listening() as port:
        assert asked(port, path, method, host)[0] == status


def test_who_says_nothing_keeps_nobody_out() -> None:
    with listening() as port:
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST_AT_ONCE - 1)]
        assert asked(port, "/healthz")[0] == 200
        for one in silent:
            one.close()


def test_who_asks_byte_by_byte_keeps_nobody_out_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte began the waiting anew: eight such readers held every place."""
    monkeypatch.setattr(listener, "MOST_SECONDS", 0.5)
    with listening() as port:
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST_AT_ONCE)]

        def answered() -> bool:
            for one in slow:
                with suppress(OSError):
                    one.send(b"G")
            with suppress(OSError, http.client.HTTPException):
                return asked(port, "/healthz")[0] == 200
            return False

        until(answered)
        for one in slow:
            one.close()


def test_a_port_that_is_taken_is_said() -> None:
    taken = pytest.raises(UsageError, match="free port")
    with listening() as port, taken, watched_at(f"127.0.0.1:{port}", WatchSource("x", list, list)):
        pass
