"""What an institution remembers of others: its part of a key offer, and its answer to a recall.

The requests that it opened, each as the coordinator signed it, and the newest signed reply that it
saw of each other institution. A peer whose ledger was restored or copied learns from it what was
debited for it (docs/protocol.md, "What peers remember").

A custodian that was started asks every member that its home knows of, whoever takes part in the
next run: the coordinator chooses participants, and must not choose who remembers.
"""

import base64
import json
import zlib
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from fieldfare.shared.canonical import json_text
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import (
    MAX_MESSAGE_BYTES,
    MAX_REMEMBERED,
    MOST_VALUES,
    MessageBody,
    Opening,
)
from fieldfare.shared.protocol.roster import Hex32, InstitutionId

MOST_REQUESTS: Final = 4096  # a study's mu^2 ends long before
MOST_REPLIES: Final = 1024  # as many as a list of signed messages may have
LONGEST: Final = 64 * 1024  # characters of one signed message
LARGEST: Final = 8 * 1024 * 1024  # bytes once they are inflated
LAST_ANSWER_ROOM: Final = 128 * 1024  # characters: it travels with every later roster
LONGEST_LAST_ANSWER: Final = LAST_ANSWER_ROOM + 4096  # bytes of the signed message
_CIPHERTEXT: Final = 1600  # characters of one in an offer, with its name
_FRAME: Final = 4096  # bytes of an offer around both
_OFFERS: Final = MAX_MESSAGE_BYTES - 512 * 1024  # bytes: all offers travel in one message

_Signed = Annotated[str, Field(max_length=LONGEST)]


class _Lists(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    requests: Annotated[tuple[_Signed, ...], Field(max_length=MOST_REQUESTS)]
    replies: Annotated[tuple[_Signed, ...], Field(max_length=MOST_REPLIES)]
    roster: str = Field(default="", max_length=LARGEST)

    @model_serializer(mode="wrap")
    def _nothing_is_left_out(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialize(self)
        return {name: one for name, one in content.items() if name in _OFFERED or one}


_OFFERED: Final = {"requests", "replies"}  # what an offer lists, also where there is nothing


class RecallQuestion(MessageBody):
    """A custodian that was started asks every member what it remembers of this institution.

    Attributes:
        boot: 32 bytes that are fresh with this start: no older answer fits.
        members: who is asked: every member whom a roster of its home ever named.
    """

    TYPE = "fieldfare.recall-question.v1"

    institution: InstitutionId
    boot: Hex32
    members: tuple[InstitutionId, ...]


class Memory(MessageBody):
    """What an institution remembers of one that asks, over all studies.

    Attributes:
        institution: who remembers.
        asker: who asked; empty in the last answer of an institution that leaves, which is for all.
        boot: of the question; empty in a last answer.
        remembered: requests that name the asker and that the signer debited, the newest reply of
            the asker that it saw, and the newest roster that it pinned.
    """

    TYPE = "fieldfare.memory.v1"

    institution: InstitutionId
    asker: InstitutionId | Literal[""]
    boot: Opening
    remembered: str = Field(max_length=MAX_REMEMBERED, pattern=r"^[A-Za-z0-9+/]*={0,2}$")


def room_for(participants: int) -> int:
    """Return how many characters of it each offer of an opening may hold, so that all travel."""
    ciphertexts = participants * (participants - 1) // 2 * _CIPHERTEXT
    return max(0, min(MAX_REMEMBERED, (_OFFERS - ciphertexts) // max(1, participants) - _FRAME))


def room_beside(others: int) -> int:
    """Return how many characters each of so many memories may hold, so that all travel at once."""
    return max(0, min(MAX_REMEMBERED, _OFFERS // max(1, others) - _FRAME))


@dataclass(frozen=True)
class RememberedMessages:
    """Signed messages as they came, each once.

    Attributes:
        requests: by the coordinator; the sender has a debit for each. In an offer, of its study.
        replies: the newest of each other institution that was seen, over all studies.
        roster: the newest that the sender pinned, as the roster key signed it; in a memory alone.
    """

    requests: tuple[bytes, ...] = ()
    replies: tuple[bytes, ...] = ()
    roster: bytes = b""

    def to_text(self) -> str:
        """Return the form that an offer holds: base64 of deflated JSON; empty for nothing.

        Requests of one run differ in some hundred bytes, so they deflate well.
        """
        if self == RememberedMessages():
            return ""
        lists = _Lists(
            requests=tuple(one.decode() for one in self.requests),
            replies=tuple(one.decode() for one in self.replies),
            roster=self.roster.decode(),
        )
        return base64.b64encode(zlib.compress(lists.model_dump_json().encode(), 9)).decode()

    def within(self, room: int) -> "RememberedMessages":
        """Return what fits into `room` characters and what `from_text` takes.

        Replies are left out where they take over half of it, then requests, the last ones first.
        """
        fits = len(replace(self, requests=()).to_text()) * 2 <= room
        rest = replace(self, requests=(), replies=self.replies if fits else ())
        kept = (*rest.replies, rest.roster)
        requests, size = list[bytes](), sum(map(_inflated, kept)) + _FRAME
        for one in self.requests[:MOST_REQUESTS]:
            size += _inflated(one)
            if size > LARGEST or len(one) > LONGEST:
                break
            requests.append(one)
        found = replace(rest, requests=tuple(requests))
        while found.requests and (taken := len(found.to_text())) > room:
            found = replace(found, requests=found.requests[: len(found.requests) * room // taken])
        return found

    @classmethod
    def from_text(cls, text: str, most: int = MAX_REMEMBERED) -> "RememberedMessages":
        """Parse it, at most `most` characters; nothing is believed of the messages in it.

        Raises:
            ProtocolError: too long once it is inflated, damaged, too many, or one twice.
        """
        if not text:
            return cls()
        if len(text) > most:
            raise ProtocolError("expected less that a participant remembers")
        try:
            inflate = zlib.decompressobj()
            content = inflate.decompress(base64.b64decode(text, validate=True), LARGEST)
            if not inflate.eof or inflate.unused_data:
                raise ProtocolError("expected what a participant remembers, whole and no longer")
            lists = _Lists.model_validate_json(json_text(content, MOST_VALUES))
            requests = tuple(one.encode() for one in lists.requests)
            replies = tuple(one.encode() for one in lists.replies)
        except (ValidationError, ValueError, zlib.error):
            raise ProtocolError("expected what a participant remembers, well-formed") from None
        if (len(set(requests)), len(set(replies))) != (len(requests), len(replies)):
            raise ProtocolError("expected every message that is remembered once")
        return cls(requests, replies, lists.roster.encode())


def _inflated(message: bytes) -> int:
    """Return how many bytes a message takes in the list; JSON escapes what is in it."""
    return len(json.dumps(message.decode())) + 1
