"""The server itself: who opens connections and says nothing keeps nobody out."""

import http.client
import socket
from collections.abc import Iterator
from threading import Event, Thread

import pytest
from tests.support.homes.consoles import FORM, HOST, ConsoleBench
from tests.support.system.ports import free_port

from fieldfare.shared.console import process
from fieldfare.shared.console.process import serve
from fieldfare.shared.console.shield import MOST_DROPPED
from fieldfare.shared.system.listening import loopback


@pytest.fixture
def port(console: ConsoleBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(process, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(process, "LOOK_SECONDS", 0.05)
    number, stop = free_port(), Event()
    with loopback(f"127.0.0.1:{number}") as listener:
        thread = Thread(target=serve, args=(console.app(), listener, stop.wait))
        thread.start()
        yield number
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /log-in HTTP/1.1\r\nHost: x\r\n",
        b"GET /x HTTP/1.1\r\nHost: x\r\n\r\nGET /x HT",
        (
            b"POST /log-in HTTP/1.1\r\nHost: 127.0.0.1:8700\r\nContent-Length: 10\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\na="
        ),
    ],
)
def test_a_connection_without_a_request_ends(port: int, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as held:
        held.sendall(begun)
        while held.recv(4096):
            pass


def test_who_sends_a_little_too_much_reads_the_page_that_says_so(port: int) -> None:
    """The body is read to its end: a connection that ends before loses its answer in browsers."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    head = {"Host": HOST, "Content-Type": FORM}
    line.request("POST", "/log-in", body=b"name=" + b"x" * (MOST_DROPPED // 2), headers=head)
    answer = line.getresponse()
    assert answer.status == 413
    assert b"nothing was done" in answer.read()
    line.close()
