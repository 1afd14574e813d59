"""The node's end of the link: asks its custodian for the next certificate before one ends.

A thread of its own, which asks at the start and then every day over a connection of its own; once a
certificate is due it sends a request for a new key, which never leaves this machine. Key and
certificate lie in one file, which is replaced as a whole: a crash leaves the former or the new.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from threading import Event, Thread
from typing import Any, Final

import grpc

from fieldfare.client.wire import link
from fieldfare.client.wire.tls import TlsTarget
from fieldfare.shared.errors import FieldfareError, KeysError, ProtocolError, RunError
from fieldfare.shared.system.certificates import PemPair, new_request, valid_until
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import read_private, read_public, replace_private

ASK_SECONDS: Final = 30.0
_OPTIONS: Final = [
    ("grpc.max_receive_message_length", link.LARGEST_LINK_FRAME),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),  # the environment does not choose who is spoken to
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
]

log = logging.getLogger(__name__)


@contextmanager
def renewing(custodian: object, clock: Callable[[], datetime] = utc_now) -> Iterator[None]:
    """Keep the node's side of the link renewed until the block ends; only where it is TLS.

    A pair in two files is somebody else's work, and left alone.
    """
    if not isinstance(custodian, TlsTarget) or custodian.files.key != custodian.files.certificate:
        yield
        return
    ended = Event()
    keeper = NodeLink(custodian, clock)
    thread = Thread(target=keeper.go_on, args=(ended,), name="link", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(ASK_SECONDS)


class NodeLink:
    """The node's pair, and whom it trusts."""

    def __init__(self, custodian: TlsTarget, clock: Callable[[], datetime]) -> None:
        """Ask nothing yet."""
        self._custodian, self._clock = custodian, clock
        self._asked: datetime | None = None
        self._trouble = ""

    def go_on(self, ended: Event) -> None:
        """Look every hour until `ended`."""
        self.look()
        while not ended.wait(link.LOOK_EVERY.total_seconds()):
            self.look()

    def look(self) -> None:
        """Ask where that is due; what fails is said once, and asked again within an hour."""
        now = self._clock()
        if self._asked is not None and abs(now - self._asked) < link.ASK_EVERY:
            return
        found = ""
        try:
            self._ask(now)
            self._asked = now
        except (FieldfareError, OSError) as error:
            found = str(error)
        if found != self._trouble and found:
            log.warning("the link's certificate was not renewed, it stays in use: %s", found)
        self._trouble = found

    def _ask(self, now: datetime) -> None:
        files = self._custodian.files
        due = valid_until(read_private(files.certificate)) - now < link.RENEW_BEFORE
        made = new_request(link.NODE_NAME) if due else PemPair(b"", b"")
        told = self._told(link.RenewalQuestion(request=made.certificate.decode()))
        self._take_trusted(told.trusted.encode())
        if told.certificate:
            self._take_pair(PemPair(told.certificate.encode(), made.key))

    def _take_trusted(self, told: bytes) -> None:
        if not tuple(link.authorities_in(told)):
            raise ProtocolError("expected the authorities to trust, found none")
        if told != read_public(self._custodian.files.authority):
            replace_private(self._custodian.files.authority, told)
            log.info("the custodian's authorities changed, and are trusted from now on")

    def _take_pair(self, pair: PemPair) -> None:
        path = self._custodian.files.certificate
        fresh = path.with_name(path.name + ".asked")
        try:
            replace_private(fresh, pair.key + pair.certificate)
            made = type(self._custodian.files)(fresh, fresh, self._custodian.files.authority)
            if made.newest() is None:
                raise KeysError("expected a certificate for the key that was sent, found another")
            replace_private(path, fresh.read_bytes())
        finally:
            with suppress(FileNotFoundError):
                fresh.unlink()
        log.info("a new certificate of the link, until %s", valid_until(pair.certificate).date())

    def _told(self, question: link.RenewalQuestion) -> link.RenewalAnswer:
        target = self._custodian
        credentials = target.files.channel_credentials()
        with grpc.secure_channel(target.address, credentials, _OPTIONS) as channel:
            send: Callable[..., bytes] = channel.unary_unary(
                f"/{link.LINK_SERVICE}/{link.RENEW_CALL}"
            )
            try:
                return link.RenewalAnswer.from_bytes(send(question.to_bytes(), timeout=ASK_SECONDS))
            except grpc.RpcError as error:
                raise _no_answer(error) from None


def _no_answer(error: Any) -> RunError:
    code = error.code()  # what a call raises is the call, with its status; the stubs part them
    return RunError(f"expected an answer of the custodian, found {code.name}")
