"""The console's process: who may call it, by which names, and until when it serves."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fieldfare.client.console.pages import menu_of, pages_of
from fieldfare.client.console.place import ConsolePlace, console_place
from fieldfare.shared.console.accounts import ConsoleAct
from fieldfare.shared.console.entrance import Entrance
from fieldfare.shared.console.frame import ConsoleParts, console_app
from fieldfare.shared.console.provider import load_provider
from fieldfare.shared.console.provider_entrance import ProviderEntrance
from fieldfare.shared.console.serving import serve
from fieldfare.shared.console.shield import Application
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.addresses import is_loopback, split_address
from fieldfare.shared.system.clock import since_boot
from fieldfare.shared.system.listening import Listener, loopback, named
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.processes import stop_signals
from fieldfare.shared.system.sockets import UnixSocket, claimed

UNIX: Final = "unix:"
PROVIDER: Final = "provider.toml"
_PORTS: Final = {"http": 80, "https": 443}


def run_console(
    home: Path, accounts: Path | None, listen: str, at: str, say: Callable[[str], None]
) -> None:
    """Serve a console until this process is told to stop; for the main thread.

    Args:
        home: a home, or a casework folder.
        accounts: the console's own folder.
        listen: `127.0.0.1:PORT`, or `unix:PATH`.
        at: the address that people type where a proxy stands before it; empty: there is none.
        say: tells the operator a line.

    Raises:
        UsageError: the place, the accounts or the address; says which.
    """
    keep_out_of_dumps()
    with (
        stop_signals() as stopped,
        console_place(home, accounts, os.urandom) as place,
        _listener(listen) as listener,
    ):
        provided = (place.folder / PROVIDER).exists()
        if not provided and not any(one.enrolled and not one.closed for one in place.book.all()):
            say("nobody has enrolled yet: open the link that `account add` or `account link` gave")
        if place.beside_keys:
            say("it runs as the user who owns the home: docs/console.md, As its own user")
        say(f"the console of {place.name} is at {address_of(listen, at)}  (Ctrl-C ends it)")
        serve(institution_console(place, listen, at), listener, stopped)
    say("stopped")


def institution_console(place: ConsolePlace, listen: str, at: str = "") -> Application:
    """Put an institution's console together, answering to the names of its address."""
    secure = urlsplit(at).scheme == "https"

    def tell(act: ConsoleAct, person: str, account: str) -> None:
        place.queue.tell(act.value, person, account)

    pages = pages_of(place)
    return console_app(
        ConsoleParts(
            name=place.name,
            cookie=f"__Host-{place.cookie}" if secure else place.cookie,
            secure=secure,
            hosts=_hosts(listen, at),
            book=place.book,
            tell=tell,
            pages=(*_entrance(place, address_of(listen, at)).pages, *pages),
            menu=menu_of(pages),
            templates=(__package__ or "",),
        )
    )


def _entrance(place: ConsolePlace, at: str) -> Entrance | ProviderEntrance:
    """Return how people come in: by the provider where the console's folder names one."""
    provider = load_provider(place.folder / PROVIDER, at)
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
