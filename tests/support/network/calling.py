"""A custodian's calls with typed arguments, over whatever answers frames of bytes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fieldfare.client.custodian.ports import CommitmentReply, HelloAnswer
from fieldfare.client.node import remote_custodian
from fieldfare.client.node.client_app import decode_answer
from fieldfare.client.wire.calls import CALLS, CustodianPort
from fieldfare.client.wire.frames import encode
from fieldfare.client.wire.tls import TlsTarget
from fieldfare.shared.protocol.flower_record import REJECTION, Call, Content, bytes_in, refusal_in
from fieldfare.shared.protocol.messages import NO_LAST_SUM, LastSum, Refusal
from fieldfare.shared.transcript.heads import ShownLog


class Caller:
    """Asks as a custodian's own methods are asked."""

    def __init__(self, port: CustodianPort) -> None:
        self.port = port

    def describe(
        self,
        study: str,
        last_reply: bytes = b"",
        offer: bytes = b"",
        run: str = "",
        nonce: str = "",
    ) -> HelloAnswer | Refusal:
        names = {"study": study, "run": run, "nonce": nonce}
        asked = {"last_reply": last_reply, "offer": offer, **names}
        answer: Any = self._ask(Call.HELLO, asked)
        return answer if isinstance(answer, Refusal) else HelloAnswer(**answer)

    def recall(
        self, questions: Sequence[bytes], memories: Sequence[bytes]
    ) -> tuple[bytes, ...] | Refusal:
        asked = {"questions": [*questions], "memories": [*memories]}
        answer: Any = self._ask(Call.RECALL, asked)
        return answer if isinstance(answer, Refusal) else tuple(answer["memories"])

    def open_run(
        self, opening: bytes, answers: Sequence[bytes], approvals: Sequence[bytes]
    ) -> bytes | Refusal:
        asked = {"opening": opening, "answers": [*answers], "approvals": [*approvals]}
        return self._bytes(Call.OPEN, asked)

    def agree(self, study: str, run: str, offers: Sequence[bytes]) -> bytes | Refusal:
        names = {"study": study, "run": run}
        return self._bytes(Call.AGREE, {"offers": [*offers], **names})

    def release(
        self, request: bytes, parameters: bytes, last: LastSum = NO_LAST_SUM
    ) -> CommitmentReply | Refusal:
        asked = {
            "request": request,
            "parameters": parameters,
            "last_request": last.request,
            "last_replies": [*last.replies],
            "last_vectors": [*last.vectors],
            "last_statements": [*last.statements],
        }
        answer: Any = self._ask(Call.RELEASE, asked)
        return answer if isinstance(answer, Refusal) else CommitmentReply(**answer)

    def reveal(self, request: bytes, statements: Sequence[bytes]) -> bytes | Refusal:
        return self._bytes(Call.REVEAL, {"request": request, "statements": [*statements]})

    def publish(self, rehearsal: LastSum) -> bytes | Refusal:
        lists = {
            "replies": [*rehearsal.replies],
            "vectors": [*rehearsal.vectors],
            "statements": [*rehearsal.statements],
        }
        return self._bytes(Call.PUBLISH, {"request": rehearsal.request, **lists})

    def cosign(self, study: str, run: str, shown: ShownLog) -> bytes | Refusal:
        log = {"head": shown.head, "log": shown.log, "hashes": shown.hashes}
        asked = {"study": study, "run": run, "vectors": [*shown.vectors], **log}
        return self._bytes(Call.COSIGN, asked)

    def deliver(self, delivery: bytes, model: bytes, card: bytes) -> bytes | Refusal:
        return self._bytes(Call.DELIVER, {"delivery": delivery, "model": model, "card": card})

    def _bytes(self, call: Call, asked: dict[str, Any]) -> bytes | Refusal:
        answer: Any = self._ask(call, asked)
        return answer if isinstance(answer, Refusal) else answer[CALLS[call].answer[0].name]

    def _ask(self, call: Call, asked: dict[str, Any]) -> Content | Refusal:
        answer = decode_answer(call, self.port(call, question(call, asked)))
        refusal = refusal_in(answer)
        if refusal is None:
            return answer
        return replace(refusal, rejection=bytes_in(answer, REJECTION))


@contextmanager
def connected(where: Path | TlsTarget) -> Iterator[Caller]:
    """As a node is connected to its custodian."""
    with remote_custodian.connected(where) as port:
        yield Caller(port)


def question(call: Call, asked: dict[str, Any]) -> bytes:
    """The frame of a question; texts may be texts."""
    return encode(CALLS[call].question, {name: _plain(value) for name, value in asked.items()})


def _plain(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value
