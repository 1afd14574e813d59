"""A hostile SuperLink cannot fill a node's memory: what it sends is bounded before it is kept."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Final

import httpx
import pytest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    DeactivateNodeRequest,
)
from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse

from fieldfare.client.node.fleet import LARGEST_RESPONSE, BoundedClient, LinkError

PART: Final = b"x" * 2**20
WHOLE: Final = PullObjectResponse(object_found=True, object_content=PART).SerializeToString()


# Answers to a node that signs off, by its number.
FAREWELLS: Final = ("nonsense", "endless", "packed")


class Hostile(BaseHTTPRequestHandler):
    """Answers as the name of the object says, or the number of the node that signs off."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        let_in = b""
        if self.path.endswith("/activate-node"):
            number = ActivateNodeRequest.FromString(body).heartbeat_interval
            let_in = ActivateNodeResponse(node_id=int(number)).SerializeToString()
            asked = "let in"
        elif self.path.endswith("/deactivate-node"):
            asked = FAREWELLS[DeactivateNodeRequest.FromString(body).node_id]
        else:
            asked = PullObjectRequest.FromString(body).object_id
        parts, headers = {
            "let in": ([let_in], {"content-length": str(len(let_in))}),
            "nonsense": ([b"\xff" * 3], {"content-length": "3"}),
            "whole": ([WHOLE], {"content-length": str(len(WHOLE))}),
            "endless": ([PART] * 4096, {"content-length": str(2**40)}),
            "of no length": ([PART] * 4096, {"connection": "close"}),
            "packed": ([gzip.compress(PART * 64)], {"content-encoding": "gzip"}),
            "elsewhere": ([], {"location": "http://127.0.0.1:1/"}),
        }[asked]
        self.send_response(307 if asked == "elsewhere" else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            for part in parts:
                self.wfile.write(part)
                self.server.sent += len(part)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None: ...


@contextmanager
def hostile() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Hostile)
    server.sent = 0  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def client_of(server: HTTPServer) -> Iterator[BoundedClient]:
    address = f"127.0.0.1:{server.server_port}"
    with BoundedClient.from_server_address(address, True, None, interceptors=[]) as client:
        yield client


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("endless", "at most"),
        ("of no length", "at most"),
        ("packed", "a compressed one"),
    ],
)
def test_a_response_is_bounded(asked: str, expected: str) -> None:
    with hostile() as server, client_of(server) as client:
        with pytest.raises(LinkError, match=expected):
            client.PullObject(PullObjectRequest(object_id=asked))
        sent: int = server.sent  # type: ignore[attr-defined]
    assert sent < 4 * LARGEST_RESPONSE


def test_nobody_is_sent_on() -> None:
    sent_on = pytest.raises(httpx.HTTPStatusError, match="307")
    with hostile() as server, client_of(server) as client, sent_on:
        client.PullObject(PullObjectRequest(object_id="elsewhere"))


@pytest.mark.promises
def test_a_node_that_is_stopped_ends_whatever_is_said_as_it_signs_off() -> None:
    """flwr passes over what a line or a peer fails with, and raises all else in a stop's place."""
    with hostile() as server:
        for number in range(len(FAREWELLS)):
            with client_of(server) as client:  # which signs off by itself, after the second
                client.ActivateNode(ActivateNodeRequest(heartbeat_interval=number))
                with pytest.raises(RuntimeError, match="nonsense"):
                    client.DeactivateNode(DeactivateNodeRequest(node_id=number))
                client.ActivateNode(ActivateNodeRequest(heartbeat_interval=number))


def test_an_object_of_a_message_comes_whole() -> None:
    with hostile() as server, client_of(server) as client:
        found = client.PullObject(PullObjectRequest(object_id="whole"))
    assert found.object_content == PART
