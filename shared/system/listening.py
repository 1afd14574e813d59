"""A socket that listens on this machine alone: a loopback port, or a name in the file system."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.addresses import ip_of, split_address

Listener = socket.socket


@contextmanager
def loopback(address: str) -> Iterator[Listener]:
    """Listen at `host:port` of the loopback interface.

    Raises:
        UsageError: another form, an address that other machines reach, or a port that is in use.
    """
    try:
        host, port = split_address(address)
    except ValueError as error:
        raise UsageError(f"{address}: {error}, found something else") from None
    ip = ip_of("127.0.0.1" if host == "localhost" else host)
    if ip is None or not ip.is_loopback:
        raise UsageError(
            f"{address}: expected an address of this machine alone, such as 127.0.0.1:{port}, "
            "found another: put a proxy with TLS before what others are to reach"
        )
    family = socket.AF_INET6 if ":" in str(ip) else socket.AF_INET
    try:
        listener = socket.create_server((str(ip), port), family=family)
    except OSError as error:
        found = os.strerror(error.errno or 0)
        raise UsageError(
            f"{address}: expected a free port of this machine, found: {found}: end what listens "
            "there, or choose another port"
        ) from None
    with listener:
        yield listener


@contextmanager
def named(path: Path) -> Iterator[Listener]:
    """Listen at a path that this process holds (sockets.py gives rights and name).

    Raises:
        UsageError: it cannot be bound.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            listener.bind(os.fspath(path))
            listener.listen()
        except OSError as error:
            raise UsageError(f"{path}: expected a new socket, found: {error.strerror}") from None
        yield listener
