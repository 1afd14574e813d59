"""A client that speaks HTTP/2 by hand (RFC 9113), to do what no gRPC library would do."""

import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4  # frame types, section 6
END_STREAM, END_HEADERS = 0x1, 0x4
INITIAL_WINDOW_SIZE: Final = 4  # a setting, section 6.5.2


class RawConnection:
    """One connection to a unix socket; nothing is sent that is not asked for."""

    def __init__(self, path: Path, timeout: float = 60.0) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self._stream = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def greet(self, *, window: int = 65535) -> None:
        """Begin; with a window of 0 no answer can ever be sent."""
        setting = struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        self.socket.sendall(PREFACE + _frame(SETTINGS, 0, 0, setting))

    def begin(self, path: str) -> int:
        """Begin a call and send nothing of its message; returns its stream."""
        self._stream += 2
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "localhost",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        block = b"".join(_literal(name, value) for name, value in fields.items())
        self.socket.sendall(_frame(HEADERS, END_HEADERS, self._stream, block))
        return self._stream

    def send(self, stream: int, message: bytes) -> None:
        """Send a call's message (gRPC over HTTP/2: a zero byte, its length, its bytes)."""
        content = b"\x00" + struct.pack(">I", len(message)) + message
        chunks = [content[i : i + 16384] for i in range(0, len(content), 16384)]
        for chunk in chunks[:-1]:
            self.socket.sendall(_frame(DATA, 0, stream, chunk))
        self.socket.sendall(_frame(DATA, END_STREAM, stream, chunks[-1]))

    def send_half(self, stream: int, message: bytes) -> None:
        """Send the first half of a call's message."""
        content = b"\x00" + struct.pack(">I", len(message)) + message[: len(message) // 2]
        self.socket.sendall(_frame(DATA, 0, stream, content))

    def frames(self, enough: Callable[[list[tuple[int, int]]], bool]) -> list[tuple[int, int]]:
        """Read type and stream of each frame, until it is enough or nothing more comes."""
        found: list[tuple[int, int]] = []
        try:
            while not enough(found) and (head := self._exactly(9)):
                found.append((head[3], int.from_bytes(head[5:9]) & 0x7FFFFFFF))
                self._exactly(int.from_bytes(head[:3]))
        except (TimeoutError, ConnectionError):
            pass
        return found

    def closed_by_the_other_side(self) -> bool:
        """Wait for the end of the connection."""
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def _exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count and (part := self.socket.recv(count - len(content))):
            content += part
        return content if len(content) == count else b""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


def _literal(name: str, value: str) -> bytes:
    """A header field that enters no table (RFC 7541, section 6.2.2); lengths below 127."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
