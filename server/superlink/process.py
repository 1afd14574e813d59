"""The process that serves the SuperLink: two listeners of one app, both with TLS.

Nodes reach the public one; control and runs come over the loopback address only. It ends with
its parent, `coordinator start`.
"""

import asyncio
import logging
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import uvicorn

from fieldfare.server.home.initial_setup import renew_where_due
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.server.superlink.access_log import AuditLog
from fieldfare.server.superlink.connections import ConnectionLimits, Peer
from fieldfare.server.superlink.control import read_token
from fieldfare.server.superlink.gate import (
    FLEET,
    LOCAL,
    PUBLIC,
    AnsweredRequest,
    App,
    CallRules,
    Gate,
)
from fieldfare.server.superlink.listener import GuardedServer, OneOfSeveral
from fieldfare.server.superlink.node_keys import PUBLIC_KEY_HEADER, header_in
from fieldfare.server.superlink.retention import overwrite_deleted, purge_finished, quiet_flower
from fieldfare.server.superlink.superlink import SuperlinkApp
from fieldfare.shared.errors import FieldfareError, RunError, UsageError
from fieldfare.shared.system.certificates import valid_until
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.private_files import OTHERS
from fieldfare.shared.system.processes import STOP_SIGNALS, end_with_parent
from fieldfare.shared.watch.log import begin_log

LOOPBACK: Final = "127.0.0.1"
STOP_SECONDS: Final = 5
PURGE_SECONDS: Final = 60.0
ANSWERED: Final = range(200, 300)
FLUSH_SECONDS: Final = 10.0
BACKLOG: Final = 256
RENEW_SECONDS: Final = 3600.0  # between two looks at the certificate

log = logging.getLogger("fieldfare.server.superlink.process")  # it runs as __main__


@dataclass(frozen=True)
class SuperlinkTerms:
    """The addresses where a SuperLink listens, and the files that it needs.

    Attributes:
        host, port: where nodes are served.
        local_port: on the loopback address, for control and runs.
        certificate, key: PEM files, shown on both.
        control_token: opens the control API.
        runtime_token: opens runs.
        database: its state.
        audit_log: the log of its calls.
        renew: renews the certificate where that is due at a moment.
        proxies: addresses whose PROXY headers are believed.
    """

    host: str
    port: int
    local_port: int
    certificate: Path
    key: Path
    database: Path
    audit_log: Path
    control_token: str = field(repr=False)
    runtime_token: bytes = field(repr=False)
    renew: Callable[[datetime], object] = lambda _: None
    proxies: tuple[str, ...] = ()


def terms_of(home: CoordinatorHome) -> SuperlinkTerms:
    """Read a home.

    Raises:
        StudyError: its settings are wrong.
        KeysError: a token is missing, or open to others.
    """
    settings = load_settings(home)
    return SuperlinkTerms(
        host=settings.bind_host,
        port=settings.bind_port,
        local_port=settings.local_port,
        certificate=home.server_certificate,
        key=home.server_key,
        database=home.superlink_database,
        audit_log=home.audit_log,
        control_token=read_token(home.control_token),
        runtime_token=read_token(home.runtime_token).encode(),
        renew=partial(renew_where_due, home),
        proxies=settings.proxies,
    )


def serve(terms: SuperlinkTerms, limits: ConnectionLimits) -> None:
    """Serve until a stop signal; `limits` are the public listener's.

    Raises:
        UsageError: a port is taken, or certificate and key cannot be used.
    """
    context = _tls(terms)
    with (
        _bound(terms.host, terms.port) as outer,
        _bound(LOOPBACK, terms.local_port) as inner,
    ):
        overwrite_deleted()

        def is_known(peer: Peer) -> bool:
            """Tell whether a connection has a node's place."""
            return nodes.open.is_vouched(peer)

        flower = SuperlinkApp(terms.database, terms.runtime_token, is_known)
        audit = AuditLog(terms.audit_log, flower.name_of)
        public = CallRules("public", PUBLIC, None, flower.vouched)
        local = CallRules("local", LOCAL, terms.control_token, flower.vouched)

        def told(call: AnsweredRequest) -> None:
            """Log a call, and vouch for a node whose key Flower has checked."""
            audit.tell(call)
            known = call.status in ANSWERED and call.path.startswith(FLEET)
            if known and not nodes.open.is_vouched(call.peer) and flower.vouched(call.headers):
                nodes.vouch(call.peer, header_in(call.headers, PUBLIC_KEY_HEADER))

        config = _config(Gate(flower.app, public, told), context)
        nodes = GuardedServer(config, limits, terms.proxies)
        host = OneOfSeveral(_config(Gate(flower.app, local, audit.tell), context))
        servers = ((nodes, outer), (host, inner))
        log.info("nodes are served at https://%s:%d", terms.host, terms.port)
        if terms.proxies:
            log.info("PROXY headers are believed from %s", ", ".join(terms.proxies))
        log.info("control and runs at https://%s:%d, this host alone", LOOPBACK, terms.local_port)
        log.info("audit log: %s", terms.audit_log)
        try:
            with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
                runner.run(_serve(servers, audit, terms, context))
        finally:
            audit.close()


async def _serve(
    servers: Sequence[tuple[uvicorn.Server, socket.socket]],
    audit: AuditLog,
    terms: SuperlinkTerms,
    context: ssl.SSLContext,
) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for server, _ in servers:
            server.should_exit = True

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    chores = [
        asyncio.create_task(_flush(audit)),
        asyncio.create_task(_purge(terms.database)),
        asyncio.create_task(_renew(terms, context)),
    ]
    try:
        await asyncio.gather(*(server.serve([place]) for server, place in servers))
    finally:
        for chore in chores:
            chore.cancel()


async def _flush(audit: AuditLog) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        audit.flush()


async def _purge(database: Path) -> None:
    while True:
        try:
            removed = await asyncio.to_thread(purge_finished, database, utc_now())
        except RunError as error:  # next time, then
            log.warning("finished runs were not purged: %s", error)
        else:
            if removed:
                log.info("%d rows of finished runs purged", removed)
        await asyncio.sleep(PURGE_SECONDS)


async def _renew(terms: SuperlinkTerms, context: ssl.SSLContext) -> None:
    shown = terms.certificate.read_bytes()
    while True:
        shown = await asyncio.to_thread(shown_from_now_on, terms, context, shown, utc_now())
        await asyncio.sleep(RENEW_SECONDS)


def shown_from_now_on(
    terms: SuperlinkTerms, context: ssl.SSLContext, shown: bytes, now: datetime
) -> bytes:
    """Renew the certificate where that is due, and show the newest to new connections.

    Connections that are open go on. What `coordinator renew certificate` made is taken up alike.

    Args:
        terms: where the certificate lies.
        context: of both listeners.
        shown: the certificate so far, PEM.
        now: with a time zone.

    Returns:
        The certificate that is shown now, PEM; the former one where the new one does not do.
    """
    try:
        terms.renew(now)
        content = terms.certificate.read_bytes()
        if content != shown:
            # A pair that does not fit would leave the listeners' context without any key.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(terms.certificate, terms.key)
            context.load_cert_chain(terms.certificate, terms.key)
            log.info("a new certificate is shown, valid until %s", valid_until(content).date())
    except (FieldfareError, OSError) as error:  # ssl.SSLError is an OSError
        log.warning("the certificate was not renewed: %s", error)
        return shown
    return content


def _config(app: App, context: ssl.SSLContext) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        access_log=False,  # the audit log has it
        date_header=True,  # `institution check` finds a clock that is wrong by it
        interface="asgi3",
        lifespan="off",
        log_config=None,
        proxy_headers=False,  # a header does not say who calls
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        ws="none",
    )
    config.load()
    config.ssl = context
    return config


def _tls(terms: SuperlinkTerms) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(terms.certificate, terms.key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{terms.certificate}: expected a certificate that fits its key, found: {error}: "
            "fieldfare coordinator renew certificate"
        ) from None
    return context


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        place = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UsageError(
            f"{host}:{port}: expected a free port of this host, found: {error.strerror}: end what "
            "listens there (another coordinator, perhaps), or change bind or local_port in "
            "coordinator.toml"
        ) from None
    with place:
        # Connections inherit it; without it each answer waits 40 ms for the last one's receipt.
        place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield place


def main(arguments: Sequence[str], limits: ConnectionLimits | None = None) -> int:
    """Serve the SuperLink of a home; for `coordinator start` alone."""
    os.umask(OTHERS)
    begin_log("superlink")
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # what strangers send is no news
    quiet_flower()
    keep_out_of_dumps()
    end_with_parent()
    try:
        serve(terms_of(CoordinatorHome.open(Path(arguments[0]))), limits or ConnectionLimits())
    except FieldfareError as error:
        log.warning("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
