"""The ClientApp: carries bytes between Flower's messages and the custodian.

Flower's Message API only. One ConfigRecord of bytes each way; it decides nothing,
keeps nothing (Context.state is never used) and holds no key.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fieldfare.client.wire.calls import CALLS, CustodianPort
from fieldfare.client.wire.frames import decode, encode
from fieldfare.shared.errors import FieldfareError, ProtocolError, RunError
from fieldfare.shared.protocol.flower_record import RECORD, REFUSAL, Call, Content, refusal_in
from fieldfare.shared.protocol.messages import Refusal


class _FailureTextGuard:
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
        with _FailureTextGuard():
            answer = _answer(call, custodian_of(context), message.content.get(RECORD, {}))
        # Flower's records are generic in a way that no checker can follow here.
        record: Any = ConfigRecord(answer)  # type: ignore[arg-type]
        return Message(RecordDict({RECORD: record}), reply_to=message)

    return handle


def _answer(call: Call, custodian: CustodianPort, content: Mapping[str, Any]) -> Content:
    """Carry what the table names there and back; any other answer is refused."""
    try:
        return decode_answer(call, custodian(call, encode(CALLS[call].question, content)))
    except ProtocolError as error:
        return {REFUSAL: Refusal(error.code).to_bytes()}


def decode_answer(call: Call, frame: bytes) -> Content:
    """Return what an answer says: what the table names for its call, or a refusal.

    Raises:
        ProtocolError: it says anything else.
    """
    content = decode(frame, CALLS[call].answer, CALLS[call].refused)
    refusal_in(content)
    return content
