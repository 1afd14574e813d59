"""A custodian at the other end of a socket, as the node's ClientApp speaks to it.

Bytes in, bytes out, one attempt: a call that failed is repeated by the coordinator, which
sends the same R, and the custodian then answers with the same bytes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc

from fieldfare.client.wire.calls import CALLS, LARGEST_FRAME, CustodianPort, path_of
from fieldfare.client.wire.frames import unix_address
from fieldfare.client.wire.tls import TlsTarget
from fieldfare.shared.errors import RunError
from fieldfare.shared.protocol.flower_record import Call

# What to do about a call that got a status in place of an answer.
_REMEDIES: Final = {
    grpc.StatusCode.UNAVAILABLE: "start it, and check that this user may use its socket",
    grpc.StatusCode.DEADLINE_EXCEEDED: "see its load and log; the same bytes may be sent again",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "it is busy or the message is too large; see its log",
    grpc.StatusCode.PERMISSION_DENIED: "use the certificate that its settings name",
    grpc.StatusCode.UNIMPLEMENTED: "run the same version of both",
}
_ELSE: Final = "its own log says why"


def _ask(channel: Callable[[], grpc.Channel], call: Call, frame: bytes) -> bytes:
    send: Callable[..., bytes] = channel().unary_unary(path_of(call))
    try:
        return send(frame, timeout=CALLS[call].seconds)
    except grpc.RpcError as error:
        raise _no_answer(call, error) from None


def _no_answer(call: Call, error: Any) -> RunError:
    code = error.code()  # what a call raises is the call, with its status; the stubs part them
    remedy = _REMEDIES.get(code, _ELSE)
    return RunError(
        f"{call.value}: expected an answer of the custodian, found {code.name}: {remedy} "
        f"({error.details() or 'no text came with it'})"
    )


@contextmanager
def connected(where: Path | TlsTarget) -> Iterator[CustodianPort]:
    """Speak to the custodian at a unix socket or a port; nothing connects before the first call.

    Over TLS by one thread, which shows a certificate that was renewed from its next call on. A call
    raises RunError where no answer came (no custodian, late, busy, a defect): whether it was done
    is then unknown, and sending the same bytes again is safe. That is no ProtocolError, which a
    ClientApp answers with a refusal, and a refusal is final.

    Raises:
        UsageError: certificates that cannot be read.
    """
    if isinstance(where, Path):
        address = unix_address(where.absolute())
        credentials = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
        with grpc.secure_channel(address, credentials, _OPTIONS) as channel:
            yield partial(_ask, lambda: channel)
        return
    channels = _TlsChannels(where)
    try:
        yield partial(_ask, channels.newest)
    finally:
        channels.close()


class _TlsChannels:
    """The channel over TLS under the newest certificate that fits its key."""

    def __init__(self, where: TlsTarget) -> None:
        self._where = where
        self._shown = where.files.content()
        self._channel = self._opened()

    def newest(self) -> grpc.Channel:
        """Return the channel, made anew where certificates were replaced."""
        found = self._where.files.newest()
        if found is not None and found != self._shown:
            self._channel.close()  # between two calls: none is in work
            self._shown = found
            self._channel = self._opened()
        return self._channel

    def close(self) -> None:
        self._channel.close()

    def _opened(self) -> grpc.Channel:
        credentials = self._where.files.channel_credentials(self._shown)
        return grpc.secure_channel(self._where.address, credentials, _OPTIONS)


_OPTIONS: Final = [
    ("grpc.max_receive_message_length", LARGEST_FRAME),
    ("grpc.max_send_message_length", LARGEST_FRAME),
    ("grpc.enable_retries", 0),  # repeating is the coordinator's decision
    ("grpc.enable_http_proxy", 0),  # the environment does not choose who is spoken to
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    # A custodian that was restarted is found again within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
