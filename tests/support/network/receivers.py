"""Who receives notices: a real mail server, and a web server that does as a test says."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from tests.support.network.certificates import Authority
from tests.support.system.ports import free_port

PASSWORD = b"open sesame"


@dataclass
class Mailbox:
    """A mail server's handler that keeps what came, and how."""

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    users: list[bytes] = field(default_factory=list)
    answer: str = "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        del server
        if self.answer.startswith("250"):
            self.envelopes.append(envelope)
            self.encrypted.append(session.ssl is not None)
        return self.answer

    def check(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _way: str, given: Any
    ) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.users.append(given.login)
        return AuthResult(success=given.password == PASSWORD, handled=False)

    @property
    def messages(self) -> list[EmailMessage]:
        return [
            message_from_bytes(one.original_content or b"", policy=default)
            for one in self.envelopes
        ]


def server_tls(
    authority: Authority, name: str = "localhost", *, expired: bool = False
) -> ssl.SSLContext:
    """The context of a server on this machine whose certificate the authority signed."""
    files = authority.issue(name, expired=expired)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


@contextmanager
def mail_server(
    *,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    log_in: bool = False,
) -> Iterator[Mailbox]:
    """A mail server on a free port of the loopback address."""
    box = Mailbox(free_port())
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=box.port,
        ssl_context=tls,
        tls_context=starttls,
        require_starttls=starttls is not None,
        authenticator=box.check if log_in else None,
        auth_required=log_in,
        auth_require_tls=starttls is not None,
    )
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


@dataclass
class Hook:
    """A web server that keeps what was posted and answers as it is told to.

    Attributes:
        port: on the loopback address.
        status: of its answers.
        headers: of its answers.
        before: called before it answers; may take long.
        body: of its answers; may be large.
    """

    port: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], None] = lambda: None
    body: bytes = b""
    posted: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[Hook]:
    """A web server on a free port of the loopback address."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            hook.posted.append(
                (self.path, {k.lower(): v for k, v in self.headers.items()}, content)
            )
            hook.before()
            self.send_response(hook.status)
            for name, value in hook.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(hook.body)))
            self.end_headers()
            self.wfile.write(hook.body)

        do_GET = do_POST  # noqa: N815 -- whoever follows a redirect is kept too

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None: ...  # a client that hung up

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    hook.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
