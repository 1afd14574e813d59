"""A call of a desk: its name, what is asked and answered, how long that may take; and errors.

A call is one JSON object each way over one connection, which each end closes for writing when it
has said all. So no length has to be told, and nothing of one question is left for another.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from fieldfare.shared.errors import (
    AccountingError,
    FieldfareError,
    KeysError,
    LedgerError,
    NoticeError,
    PackageError,
    PolicyRefusal,
    ProtocolError,
    RecordsError,
    RefusalCode,
    RunError,
    StudyError,
    UsageError,
)

LARGEST_ASKED: Final = 64 * 1024  # bytes: a form of a page
LARGEST_ANSWER: Final = 16 * 1024 * 1024
QUICK_SECONDS: Final = 30.0
_LONGEST_ERROR: Final = 64 * 1024  # characters
# An error that is told keeps its kind; one of a kind that is not here becomes a RunError.
_KINDS: Final[Mapping[str, type[FieldfareError]]] = {
    one.__name__: one
    for one in (
        *(UsageError, StudyError, PackageError, RecordsError, KeysError, AccountingError),
        *(LedgerError, RunError, NoticeError),
    )
}


@dataclass(frozen=True)
class DeskWords:
    """What messages for people call the process that answers, and what they advise to do."""

    name: str = "the desk"
    again: str = "open this page again"


DESK_WORDS: Final = DeskWords()


class DeskTerm(BaseModel):
    """What is asked or answered: closed, strict, and checked at both ends."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Nothing(DeskTerm):
    """A question that needs no words, or an answer that has none."""


Asked = TypeVar("Asked", bound=DeskTerm)
Answered = TypeVar("Answered", bound=DeskTerm)


@dataclass(frozen=True)
class DeskCall(Generic[Asked, Answered]):
    """One line of the closed list.

    Attributes:
        name: of the call; no other has it.
        asked: type of the question.
        answered: type of the answer.
        seconds: after which whoever asked stops to wait; an act goes on all the same.
    """

    name: str
    asked: type[Asked]
    answered: type[Answered]
    seconds: float = QUICK_SECONDS


class _Frame(DeskTerm):
    """A question as it travels."""

    call: str
    asked: dict[str, Any]


class _Reply(DeskTerm):
    """An answer as it travels: one of both."""

    answered: dict[str, Any] | None = None
    error: str = ""
    text: str = ""
    code: str = ""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.answered is None) != bool(self.error):
            raise ValueError("expected an answer or an error, found none or both")
        return self


def question_bytes(call: str, asked: DeskTerm) -> bytes:
    """Return a question as it travels.

    Raises:
        UsageError: it is too large.
    """
    content = _Frame(call=call, asked=asked.model_dump(mode="json")).model_dump_json().encode()
    if len(content) > LARGEST_ASKED:
        raise UsageError(
            f"expected a question of at most {LARGEST_ASKED} bytes, found a larger one: shorten it"
        )
    return content


def read_question(content: bytes) -> tuple[str, bytes]:
    """Return a question's call, and its words as JSON.

    Raises:
        ProtocolError: no question.
    """
    try:
        frame = _Frame.model_validate_json(content)
    except ValidationError:
        raise ProtocolError("expected a question of a desk, found something else") from None
    return frame.call, json.dumps(frame.asked).encode()


def answer_bytes(answered: DeskTerm) -> bytes:
    """Return an answer as it travels; one that is too large becomes an error."""
    content = _Reply(answered=answered.model_dump(mode="json")).model_dump_json().encode()
    if len(content) > LARGEST_ANSWER:
        return error_bytes(RunError("expected an answer that fits on a page, found a larger one"))
    return content


def error_bytes(error: FieldfareError) -> bytes:
    """Return an error as it travels."""
    kind = type(error).__name__
    code = error.code.value if isinstance(error, PolicyRefusal | ProtocolError) else ""
    if not code and kind not in _KINDS:
        kind = RunError.__name__
    reply = _Reply(error=kind, text=str(error)[:_LONGEST_ERROR], code=code)
    return reply.model_dump_json().encode()


def read_answer(content: bytes, answered: type[Answered]) -> Answered:
    """Return an answer, or raise the error that was answered.

    Raises:
        FieldfareError: as the other end raised it.
        ProtocolError: no answer of this version.
    """
    try:
        reply = _Reply.model_validate_json(content)
        if reply.answered is not None:
            return answered.model_validate_json(json.dumps(reply.answered))
        error = _error(reply)
    except ValidationError:
        raise ProtocolError(
            "expected an answer of this version's desk, found another: start the desk again"
        ) from None
    raise error


def _error(reply: _Reply) -> FieldfareError:
    codes = {one.value: one for one in RefusalCode}
    if reply.error == PolicyRefusal.__name__ and reply.code in codes:
        return PolicyRefusal(codes[reply.code], reply.text)
    if reply.error == ProtocolError.__name__ and reply.code in codes:
        return ProtocolError(reply.text, codes[reply.code])
    return _KINDS.get(reply.error, RunError)(reply.text)
