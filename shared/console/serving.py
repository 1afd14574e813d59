"""The server on a console's address: uvicorn, without a log of what was asked."""

import logging
from asyncio import Transport
from threading import Thread
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from fieldfare.shared.console.shield import Application
from fieldfare.shared.errors import RunError
from fieldfare.shared.system.listening import Listener
from fieldfare.shared.system.processes import Stopped

STOP_SECONDS: Final = 5  # for pages that are being made
LOOK_SECONDS: Final = 0.2
MOST_CONNECTIONS: Final = 100
HEAD_SECONDS: Final = 15.0  # in which a request has to be there as a whole
MOST_HEAD: Final = 16 * 1024  # bytes of a request's head


class _Impatient(H11Protocol):
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
        http=_Impatient,
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
