"""The server on a console's address: uvicorn, without a log of what was asked."""

import logging
from threading import Thread
from typing import Final

import uvicorn

from fieldfare.shared.console.shield import Application
from fieldfare.shared.errors import RunError
from fieldfare.shared.system.listening import Listener
from fieldfare.shared.system.processes import Stopped

STOP_SECONDS: Final = 5  # for pages that are being made
LOOK_SECONDS: Final = 0.2
MOST_CONNECTIONS: Final = 100
MOST_HEAD: Final = 16 * 1024  # bytes of a request's head


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
        http="h11",
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
