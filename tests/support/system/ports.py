"""Ports for the servers that tests start: until a server has taken one, nobody else is given it."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import cycle
from typing import Final

# Below those that Linux gives to whoever asks for any port or connects to somewhere.
FIRST: Final = 20_000
BLOCK: Final = 64
BLOCKS: Final = 190


def free_ports(count: int) -> list[int]:
    """Ports of this host that nobody listens at, all different."""
    _, ports = _own_block()
    found: list[int] = []
    while len(found) < count:
        port = next(ports)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found


def free_port() -> int:
    return free_ports(1)[0]


@cache
def _own_block() -> tuple[socket.socket, Iterator[int]]:
    """Reserve ports for this process: a socket without a file has their name while it lives."""
    name = socket.socket(socket.AF_UNIX)
    for number in range(BLOCKS):
        with suppress(OSError):  # another process's
            name.bind(f"\0fieldfare-test-ports-{number}")
            first = FIRST + number * BLOCK
            return name, cycle(range(first, first + BLOCK))
    raise AssertionError("expected a block of ports that no other test process holds, found none")
