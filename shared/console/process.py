"""A console's process: by which names it is called, who comes in how, and until when it serves.

The server is uvicorn, without a log of what was asked.
"""

import logging
from asyncio import Transport
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from fieldfare.shared.console.accounts import ConsoleAct
from fieldfare.shared.console.frame import ConsoleParts, MenuEntry, Page, console_app
from fieldfare.shared.console.invitations import new_links
from fieldfare.shared.console.log_in import Entrance
from fieldfare.shared.console.place import AccountsPlace
from fieldfare.shared.console.provider import load_provider
from fieldfare.shared.console.provider_entrance import ProviderEntrance
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.console.shield import Application
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.system.addresses import is_loopback, split_address
from fieldfare.shared.system.clock import since_boot
from fieldfare.shared.system.listening import Listener, loopback, named
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.private_files import os_user
from fieldfare.shared.system.processes import Stopped, stop_signals
from fieldfare.shared.system.sockets import UnixSocket, claimed

UNIX: Final = "unix:"
PROVIDER: Final = "provider.toml"
STOP_SECONDS: Final = 5  # for pages that are being made
LOOK_SECONDS: Final = 0.2
MOST_CONNECTIONS: Final = 100
HEAD_SECONDS: Final = 15.0  # in which a request has to be there as a whole
MOST_HEAD: Final = 16 * 1024  # bytes of a request's head
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class ConsoleRoom:
    """What is in one console beside what all of them share.

    Attributes:
        place: where it works.
        pages: its own, without the entrance's.
        menu: what stands on every page.
        templates: the packages that hold its templates.
    """

    place: AccountsPlace
    pages: Sequence[Page]
    menu: Sequence[MenuEntry]
    templates: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PartyConsole:
    """The console of one party.

    Attributes:
        room: opens it, of a home and the console's own folder.
        place: opens its accounts, of the same, and makes the folder where that is wanted.
        roles: that an account may have.
        listen: where it listens unless somebody says so.
        variable: the environment variable that names the console's own folder.
    """

    room: Callable[[Path, Path | None], AbstractContextManager[ConsoleRoom]]
    place: Callable[[Path, Path | None, bool], AbstractContextManager[AccountsPlace]]
    roles: tuple[ConsoleRole, ...]
    listen: str
    variable: str


def run_console(
    opened: AbstractContextManager[ConsoleRoom],
    listen: str,
    at: str,
    say: Callable[[str], None],
    *,
    links: bool = False,
) -> None:
    """Serve a console until this process is told to stop; for the main thread.

    Args:
        opened: opens the room.
        listen: `127.0.0.1:PORT`, or `unix:PATH`.
        at: the address that people type where a proxy stands before it; empty: there is none.
        say: tells the operator a line.
        links: only the operator reads it: whoever waits for a link gets one.

    Raises:
        UsageError: the place, the accounts or the address; says which.
    """
    keep_out_of_dumps()
    with stop_signals() as stopped, opened as room, _listener(listen) as listener:
        place, address = room.place, address_of(listen, at)
        provided = (place.folder / PROVIDER).exists()
        made = list(_new_links(place, address)) if links and not provided else []
        for line in made:
            say(line)
        there = any(one.enrolled and not one.closed for one in place.book.all())
        if not (made or provided or there):
            say("nobody has enrolled yet: open the link that `account add` or `account link` gave")
        if place.beside_keys:
            say("it runs as the user who owns the home: docs/console.md, As its own user")
        say(f"the console of {place.name} is at {address}  (Ctrl-C ends it)")
        serve(_together(room, listen, at), listener, stopped)
    say("stopped")


def _new_links(place: AccountsPlace, address: str) -> Iterator[str]:
    def tell(name: str) -> None:
        place.tell(ConsoleAct.LINKED, os_user(), name)

    return new_links(place.book, address, tell)


def _together(room: ConsoleRoom, listen: str, at: str) -> Application:
    """Put a console together, answering to the names of its address."""
    place, secure = room.place, urlsplit(at).scheme == "https"
    return console_app(
        ConsoleParts(
            name=place.name,
            cookie=f"__Host-{place.cookie}" if secure else place.cookie,
            secure=secure,
            hosts=_hosts(listen, at),
            book=place.book,
            tell=place.tell,
            pages=(*_entrance(place.folder, address_of(listen, at)).pages, *room.pages),
            menu=room.menu,
            templates=room.templates,
        )
    )


def _entrance(folder: Path, at: str) -> Entrance | ProviderEntrance:
    """Return how people come in: by the provider where the console's folder names one."""
    provider = load_provider(folder / PROVIDER, at)
    return Entrance(since_boot) if provider is None else ProviderEntrance(provider, since_boot)


def address_of(listen: str, at: str) -> str:
    """Return what people type.

    Raises:
        UsageError: `at` is no address, or there is none for a unix socket.
    """
    if at:
        found = urlsplit(at)
        if found.scheme not in _PORTS or not found.hostname or found.path.strip("/") or found.query:
            raise UsageError(
                "--at: expected an address such as https://cases.bank.example, found something else"
            )
        if found.scheme == "http" and not is_loopback(found.hostname):
            raise UsageError("--at: expected https before a network, found http: use TLS there")
        return at.rstrip("/")
    if listen.startswith(UNIX):
        raise UsageError("--at: expected the address of the proxy before a unix socket, found none")
    return f"http://{listen}"


def _hosts(listen: str, at: str) -> frozenset[str]:
    """Return the values of Host that count."""
    found = urlsplit(address_of(listen, at))
    names = {found.netloc}
    if not at:
        names.add(f"localhost:{split_address(listen)[1]}")
    if found.port == _PORTS.get(found.scheme):
        names.add(str(found.hostname))
    return frozenset(names)


@contextmanager
def _listener(listen: str) -> Iterator[Listener]:
    if not listen.startswith(UNIX):
        with loopback(listen) as listener:
            yield listener
        return
    path = Path(listen.removeprefix(UNIX))
    with claimed(UnixSocket(path)) as claim, named(claim.binding) as listener:
        claim.publish()
        yield listener


# -- the server ------------------------------------------------------------------------------------


class _TimedProtocol(H11Protocol):
    """A connection that ends where no whole request came in time: nobody holds all of them open."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(HEAD_SECONDS, self._look, None)

    def _look(self, before: RequestResponseCycle | None) -> None:
        """Look again and again: the request of the last time, and nothing of it to be done yet?"""
        if self.transport.is_closing():
            return
        idle = before is None or before.response_complete or before.more_body
        if self.cycle is before and idle:
            self.transport.close()
            return
        self.loop.call_later(HEAD_SECONDS, self._look, self.cycle)


def serve(app: Application, listener: Listener, stopped: Stopped) -> None:
    """Answer requests until `stopped` is true; requests that are being answered are finished.

    Raises:
        RunError: the server ended by itself.
    """
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # errors are told without their texts
    config = uvicorn.Config(
        app,
        access_log=False,  # addresses hold filters, and a link's token
        h11_max_incomplete_event_size=MOST_HEAD,
        http=_TimedProtocol,
        interface="asgi3",
        lifespan="off",
        limit_concurrency=MOST_CONNECTIONS,
        log_config=None,
        loop="asyncio",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        ws="none",
    )
    server = uvicorn.Server(config)
    # In a thread of its own, so that signals are this process's and not uvicorn's.
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="console")
    thread.start()
    try:
        while not stopped(LOOK_SECONDS):
            if not thread.is_alive():
                raise RunError("expected the console to serve, found that it ended: start it again")
    finally:
        server.should_exit = True
        thread.join()
