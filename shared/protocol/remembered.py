"""What a participant of an opening remembers of a study: its part of a key offer.

The requests that it opened, each as the coordinator signed it, and the newest signed reply that it
saw of each other institution. A peer whose ledger was restored or copied learns from it what was
debited for it (docs/protocol.md, "What peers remember").
"""

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import MAX_MESSAGE_BYTES, MAX_REMEMBERED

MOST_REQUESTS: Final = 4096  # a study's mu^2 ends long before
MOST_REPLIES: Final = 1024  # as many as a list of signed messages may have
LONGEST: Final = 64 * 1024  # characters of one signed message
LARGEST: Final = 8 * 1024 * 1024  # bytes once they are inflated
_CIPHERTEXT: Final = 1600  # characters of one in an offer, with its name
_FRAME: Final = 4096  # bytes of an offer around both
_OFFERS: Final = MAX_MESSAGE_BYTES - 512 * 1024  # bytes: all offers travel in one message

_Signed = Annotated[str, Field(max_length=LONGEST)]


class _Lists(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    requests: Annotated[tuple[_Signed, ...], Field(max_length=MOST_REQUESTS)]
    replies: Annotated[tuple[_Signed, ...], Field(max_length=MOST_REPLIES)]


def room_for(participants: int) -> int:
    """Return how many characters of it each offer of an opening may hold, so that all travel."""
    ciphertexts = participants * (participants - 1) // 2 * _CIPHERTEXT
    return max(0, min(MAX_REMEMBERED, (_OFFERS - ciphertexts) // max(1, participants) - _FRAME))


@dataclass(frozen=True)
class Remembered:
    """Signed messages as they came, each once.

    Attributes:
        requests: by the coordinator, of this study; the sender has a debit for each.
        replies: the newest of each other institution that was seen.
    """

    requests: tuple[bytes, ...] = ()
    replies: tuple[bytes, ...] = ()

    def to_text(self) -> str:
        """Return the form that an offer holds: base64 of deflated JSON; empty for nothing.

        Requests of one run differ in some hundred bytes, so they deflate well.
        """
        if not self.requests and not self.replies:
            return ""
        lists = _Lists(
            requests=tuple(one.decode() for one in self.requests),
            replies=tuple(one.decode() for one in self.replies),
        )
        return base64.b64encode(zlib.compress(lists.model_dump_json().encode(), 9)).decode()

    def within(self, room: int) -> "Remembered":
        """Return what fits into `room` characters and what `from_text` takes.

        Replies are left out where they take over half of it, then requests, the last ones first.
        """
        fits = len(Remembered((), self.replies).to_text()) * 2 <= room
        replies = self.replies if fits else ()
        requests, size = list[bytes](), sum(map(_inflated, replies)) + _FRAME
        for one in self.requests[:MOST_REQUESTS]:
            size += _inflated(one)
            if size > LARGEST or len(one) > LONGEST:
                break
            requests.append(one)
        found = Remembered(tuple(requests), replies)
        while found.requests and (taken := len(found.to_text())) > room:
            found = Remembered(found.requests[: len(found.requests) * room // taken], replies)
        return found

    @classmethod
    def from_text(cls, text: str, most: int = MAX_REMEMBERED) -> "Remembered":
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
            lists = _Lists.model_validate_json(content)
            requests = tuple(one.encode() for one in lists.requests)
            replies = tuple(one.encode() for one in lists.replies)
        except (ValidationError, ValueError, zlib.error):
            raise ProtocolError("expected what a participant remembers, well-formed") from None
        if (len(set(requests)), len(set(replies))) != (len(requests), len(replies)):
            raise ProtocolError("expected every message that is remembered once")
        return cls(requests, replies)


def _inflated(message: bytes) -> int:
    """Return how many bytes a message takes in the list; JSON escapes what is in it."""
    return len(json.dumps(message.decode())) + 1
