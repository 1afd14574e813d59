"""The ClientApp: carries bytes between Flower's messages and the custodian.

Flower's Message API only. One ConfigRecord of bytes each way; it decides nothing,
keeps nothing (Context.state is never used) and holds no key.
"""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fieldfare.client.wire.frames import Committed, Described
from fieldfare.shared.errors import FieldfareError, ProtocolError, RunError
from fieldfare.shared.protocol.flower_record import (
    RECORD,
    REFUSAL,
    REJECTION,
    Call,
    Content,
    bytes_in,
    bytes_of,
    list_in,
    list_of,
    text_of,
)
from fieldfare.shared.protocol.messages import NO_LAST_SUM, LastSum, Refusal
from fieldfare.shared.transcript.heads import ShownLog


class CustodianPort(Protocol):
    """The calls that the outer zone may make to a custodian: bytes in, bytes out."""

    def describe(
        self,
        study: str,
        last_reply: bytes = b"",
        offer: bytes = b"",
        run: str = "",
        nonce: str = "",
    ) -> Described | Refusal:
        """Answer `hello` with the signed approval, and for a run with fresh keys."""
        ...

    def recall(
        self, questions: Sequence[bytes], memories: Sequence[bytes]
    ) -> tuple[bytes, ...] | Refusal:
        """Answer members that ask what is remembered of them, and take answers."""
        ...

    def open_run(
        self, opening: bytes, answers: Sequence[bytes], approvals: Sequence[bytes]
    ) -> bytes | Refusal:
        """Answer an opening of a run with a key offer."""
        ...

    def agree(self, study: str, run: str, offers: Sequence[bytes]) -> bytes | Refusal:
        """Take all offers."""
        ...

    def release(
        self, request: bytes, parameters: bytes, last: LastSum = NO_LAST_SUM
    ) -> Committed | Refusal:
        """Answer a signed request."""
        ...

    def reveal(self, request: bytes, statements: Sequence[bytes]) -> bytes | Refusal:
        """Open a commitment that answered a signed request."""
        ...

    def publish(self, rehearsal: LastSum) -> bytes | Refusal:
        """Publish the keys of a rehearsal that failed."""
        ...

    def cosign(self, study: str, run: str, shown: ShownLog) -> bytes | Refusal:
        """Co-sign the head of a run's transcript."""
        ...

    def deliver(self, delivery: bytes, model: bytes, card: bytes) -> bytes | Refusal:
        """Take a finished model."""
        ...


class _TextStaysHere:
    """Keeps the text of a failure inside: Flower's nodes send str(error) to the coordinator."""

    def __enter__(self) -> None:
        """Let the custodian work."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put a fixed text in place of an error; the local traceback keeps the cause."""
        if isinstance(error, FieldfareError):
            raise RunError("expected a custodian that answers: its own log says why") from error
        if kind is not None and issubclass(kind, Exception):
            raise RuntimeError("a defect of the custodian: its own log says which") from error


def client_app(custodian_of: Callable[[Context], CustodianPort]) -> ClientApp:
    """Return a ClientApp that speaks to the custodian of the node it runs at."""
    app = ClientApp()
    for call in Call:
        app.query(call.value)(_handler(call, custodian_of))
    return app


def _handler(
    call: Call, custodian_of: Callable[[Context], CustodianPort]
) -> Callable[[Message, Context], Message]:
    def handle(message: Message, context: Context) -> Message:
        """Answer one message of Flower's with what the custodian says."""
        with _TextStaysHere():
            answer = _answer(call, custodian_of(context), message.content.get(RECORD, {}))
        # Flower's records are generic in a way that no checker can follow here.
        record: Any = ConfigRecord(answer)  # type: ignore[arg-type]
        return Message(RecordDict({RECORD: record}), reply_to=message)

    return handle


def _answer(call: Call, custodian: CustodianPort, content: Mapping[str, Any]) -> Content:
    try:
        return _ask(call, custodian, content)
    except ProtocolError as error:
        return _content(Refusal(error.code))


def _ask(call: Call, custodian: CustodianPort, content: Mapping[str, Any]) -> Content:
    if call is Call.HELLO:
        return _hello(custodian, content)
    if call is Call.OPEN:
        opening, answers = bytes_of(content, "opening"), list_of(content, "answers")
        approvals = list_of(content, "approvals")
        return _content(custodian.open_run(opening, answers, approvals), "offer")
    if call is Call.AGREE:
        study, run = text_of(content, "study"), text_of(content, "run")
        return _content(custodian.agree(study, run, list_of(content, "offers")), "agreed")
    if call is Call.REVEAL:
        request, statements = bytes_of(content, "request"), list_of(content, "statements")
        return _content(custodian.reveal(request, statements), "reply")
    if call is Call.RELEASE:
        return _release(custodian, content)
    return _close(call, custodian, content)


def _close(call: Call, custodian: CustodianPort, content: Mapping[str, Any]) -> Content:
    if call is Call.PUBLISH:
        lists = (tuple(list_of(content, n)) for n in ("replies", "vectors", "statements"))
        rehearsal = LastSum(bytes_of(content, "request"), *lists)
        return _content(custodian.publish(rehearsal), "keys")
    if call is Call.COSIGN:
        study, run = text_of(content, "study"), text_of(content, "run")
        log, hashes = (bytes_in(content, name) for name in ("log", "hashes"))
        vectors = tuple(list_in(content, "vectors"))
        shown = ShownLog(bytes_of(content, "head"), log, hashes, vectors)
        return _content(custodian.cosign(study, run, shown), "cosigned")
    if call is Call.RECALL:
        questions, memories = list_of(content, "questions"), list_in(content, "memories")
        found = custodian.recall(questions, memories)
        return _content(found) if isinstance(found, Refusal) else {"memories": list(found)}
    files = (bytes_of(content, name) for name in ("delivery", "model", "card"))
    return _content(custodian.deliver(*files), "received")


def _hello(custodian: CustodianPort, content: Mapping[str, Any]) -> Content:
    study, last = text_of(content, "study"), bytes_of(content, "last_reply")
    offer = bytes_of(content, "offer") if "offer" in content else b""
    run, nonce = (text_of(content, one) if one in content else "" for one in ("run", "nonce"))
    described = custodian.describe(study, last, offer, run, nonce)
    if isinstance(described, Refusal):
        return _content(described)
    answer: Content = {"approval": described.approval}
    if described.answer:
        answer["answer"] = described.answer
    if described.question:
        answer["question"] = described.question
    return answer


def _release(custodian: CustodianPort, content: Mapping[str, Any]) -> Content:
    last = LastSum(
        bytes_of(content, "last_request") if "last_request" in content else b"",
        tuple(list_in(content, "last_replies")),
        tuple(list_in(content, "last_vectors")),
        tuple(list_in(content, "last_statements")),
    )
    request, parameters = bytes_of(content, "request"), bytes_of(content, "parameters")
    answer = custodian.release(request, parameters, last)
    if isinstance(answer, Refusal):
        return _content(answer)
    return {"commitment": answer.commitment, "vector": answer.vector}


def _content(answer: bytes | Refusal, name: str = REFUSAL) -> Content:
    if isinstance(answer, Refusal):
        beside = {REJECTION: answer.rejection} if answer.rejection else {}
        return {REFUSAL: answer.to_bytes(), **beside}
    return {name: answer}
