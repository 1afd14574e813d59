"""A custodian at the other end of a socket, as the node's ClientApp speaks to it.

Bytes in, bytes out, one attempt: a call that failed is repeated by the coordinator, which
sends the same R, and the custodian then answers with the same bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from fieldfare.client.wire import custodian_pb2 as pb
from fieldfare.client.wire.frames import (
    LARGEST_FRAME,
    Committed,
    Described,
    path_of,
    unix_address,
)
from fieldfare.client.wire.tls import TlsTarget
from fieldfare.shared.errors import ProtocolError, RunError
from fieldfare.shared.protocol.messages import NO_LAST_SUM, LastSum, Refusal
from fieldfare.shared.transcript.heads import ShownLog

# What to do about a call that got a status in place of an answer.
_REMEDIES: Final = {
    grpc.StatusCode.UNAVAILABLE: "start it, and check that this user may use its socket",
    grpc.StatusCode.DEADLINE_EXCEEDED: "see its load and log; the same bytes may be sent again",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "it is busy or the message is too large; see its log",
    grpc.StatusCode.PERMISSION_DENIED: "use the certificate that its settings name",
    grpc.StatusCode.UNIMPLEMENTED: "run the same version of both",
}
_ELSE: Final = "its own log says why"

A = TypeVar("A", bound=Message)


@dataclass(frozen=True)
class Deadlines:
    """Seconds to wait for an answer; a release takes as long as the sum over all records."""

    setup_seconds: float = 60.0
    release_seconds: float = 600.0


class RemoteCustodian:
    """A custodian's calls, over a channel.

    Every method raises RunError where no answer came (no custodian, late, busy, a defect): whether
    the call was done is then unknown, and sending the same bytes again is safe. It is not a
    ProtocolError, which a ClientApp answers with a refusal, and a refusal is final. An answer that
    does not follow the protocol raises ProtocolError.
    """

    def __init__(
        self, channel: Callable[[], grpc.Channel], deadlines: Deadlines | None = None
    ) -> None:
        """Speak over what `channel` gives at each call, which the caller closes."""
        self._channel = channel
        self._deadlines = deadlines or Deadlines()

    def describe(
        self,
        study: str,
        last_reply: bytes = b"",
        offer: bytes = b"",
        run: str = "",
        nonce: str = "",
    ) -> Described | Refusal:
        """Return the signed approval of a study and the answer for a run, or a refusal."""
        asked = pb.DescribeRequest(
            study=study, run=run, nonce=nonce, last_reply=last_reply, offer=offer
        )
        answer = self._ask("Describe", asked, pb.DescribeAnswer, self._deadlines.setup_seconds)
        refusal = _refusal_in(answer)
        if refusal is None:
            return Described(answer.approval, answer.run_answer, answer.question)
        return replace(refusal, rejection=answer.rejection)

    def recall(
        self, questions: Sequence[bytes], memories: Sequence[bytes]
    ) -> tuple[bytes, ...] | Refusal:
        """Return the signed memories of members that ask, or a refusal."""
        asked = pb.RecallRequest(questions=questions, memories=memories)
        answer = self._ask("Recall", asked, pb.RecallAnswer, self._deadlines.setup_seconds)
        return _refusal_in(answer) or tuple(answer.remembered.memories)

    def open_run(
        self, opening: bytes, answers: Sequence[bytes], approvals: Sequence[bytes]
    ) -> bytes | Refusal:
        """Return the signed key offer for an opening of a run, or a refusal."""
        asked = pb.OpenRunRequest(opening=opening, answers=answers, approvals=approvals)
        answer = self._ask("OpenRun", asked, pb.OpenRunAnswer, self._deadlines.setup_seconds)
        return _refusal_in(answer) or answer.offer

    def agree(self, study: str, run: str, offers: Sequence[bytes]) -> bytes | Refusal:
        """Hand over all offers; returns nothing, or a refusal."""
        asked = pb.AgreeRequest(study=study, run=run, offers=offers)
        answer = self._ask("Agree", asked, pb.AgreeAnswer, self._deadlines.setup_seconds)
        return _refusal_in(answer) or answer.agreed

    def release(
        self, request: bytes, parameters: bytes, last: LastSum = NO_LAST_SUM
    ) -> Committed | Refusal:
        """Return the answer to a signed request: a commitment and its vector, or a refusal."""
        asked = pb.ReleaseRequest(
            request=request,
            parameters=parameters,
            last_request=last.request,
            last_replies=last.replies,
            last_vectors=last.vectors,
            last_statements=last.statements,
        )
        answer = self._ask("Release", asked, pb.ReleaseAnswer, self._deadlines.release_seconds)
        found = Committed(answer.committed.commitment, answer.committed.vector)
        return _refusal_in(answer) or found

    def reveal(self, request: bytes, statements: Sequence[bytes]) -> bytes | Refusal:
        """Return the signed reply that opens a commitment, or a refusal."""
        asked = pb.RevealRequest(request=request, statements=statements)
        answer = self._ask("Reveal", asked, pb.RevealAnswer, self._deadlines.setup_seconds)
        return _refusal_in(answer) or answer.reply

    def publish(self, rehearsal: LastSum) -> bytes | Refusal:
        """Return the signed private keys of a rehearsal that failed, or a refusal."""
        asked = pb.PublishRequest(
            request=rehearsal.request,
            replies=rehearsal.replies,
            vectors=rehearsal.vectors,
            statements=rehearsal.statements,
        )
        answer = self._ask("Publish", asked, pb.PublishAnswer, self._deadlines.setup_seconds)
        return _refusal_in(answer) or answer.keys

    def cosign(self, study: str, run: str, shown: ShownLog) -> bytes | Refusal:
        """Return the institution's signed statement on the log's head, or a refusal."""
        asked = pb.CosignRequest(
            study=study,
            run=run,
            head=shown.head,
            log=shown.log,
            hashes=shown.hashes,
            vectors=shown.vectors,
        )
        answer = self._ask("Cosign", asked, pb.CosignAnswer, self._deadlines.setup_seconds)
        return _refusal_in(answer) or answer.cosigned

    def deliver(self, delivery: bytes, model: bytes, card: bytes) -> bytes | Refusal:
        """Hand over a finished model; returns nothing, or a refusal."""
        asked = pb.DeliverRequest(delivery=delivery, model=model, card=card)
        answer = self._ask("Deliver", asked, pb.DeliverAnswer, self._deadlines.setup_seconds)
        return _refusal_in(answer) or answer.received

    def _ask(self, call: str, asked: Message, answer_type: type[A], seconds: float) -> A:
        send: Callable[..., bytes] = self._channel().unary_unary(path_of(call))
        try:
            return answer_type.FromString(send(asked.SerializeToString(), timeout=seconds))
        except grpc.RpcError as error:
            raise _no_answer(call, error) from None
        except DecodeError:
            raise ProtocolError(
                f"{call}: expected an answer's frame, found something else"
            ) from None


def _no_answer(call: str, error: Any) -> RunError:
    code = error.code()  # what a call raises is the call, with its status; the stubs part them
    remedy = _REMEDIES.get(code, _ELSE)
    return RunError(
        f"{call}: expected an answer of the custodian, found {code.name}: {remedy} "
        f"({error.details() or 'no text came with it'})"
    )


def _refusal_in(answer: Any) -> Refusal | None:
    """Return the refusal that an answer holds, if it is one."""
    held = answer.WhichOneof("answer")
    if held is None:
        raise ProtocolError(
            "expected an answer that holds content or a refusal, found an empty one"
        )
    return Refusal.from_bytes(getattr(answer, held)) if held == "refusal" else None


@contextmanager
def connected(
    where: Path | TlsTarget, deadlines: Deadlines | None = None
) -> Iterator[RemoteCustodian]:
    """Speak to the custodian at a unix socket or a port; nothing connects before the first call.

    Over TLS by one thread, which shows a certificate that was renewed from its next call on.

    Raises:
        UsageError: certificates that cannot be read.
    """
    if isinstance(where, Path):
        address = unix_address(where.absolute())
        credentials = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
        with grpc.secure_channel(address, credentials, _OPTIONS) as channel:
            yield RemoteCustodian(lambda: channel, deadlines)
        return
    channels = _TlsChannels(where)
    try:
        yield RemoteCustodian(channels.newest, deadlines)
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
