"""The reply that was shown and the recall that a custodian keeps, read by who looks at a home."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fieldfare.client.ledger.budget import Position
from fieldfare.shared.errors import LedgerError, ProtocolError
from fieldfare.shared.protocol.messages import Reply, read_unverified
from fieldfare.shared.protocol.roster import Hex32, InstitutionId

T = TypeVar("T", bound="_State")


@dataclass(frozen=True)
class OpenedRehearsal:
    """The rehearsal of a run that was opened here last: its attempt, opening and signed reply."""

    attempt: int = -1
    opening: str = ""
    reply: bytes = b""

    @classmethod
    def from_bytes(cls, content: bytes | None) -> "OpenedRehearsal":
        """Read what was kept of it; None: no rehearsal was opened."""
        if content is None:
            return cls()
        attempt, opening, reply = content.split(b":", 2)
        return cls(int(attempt), opening.decode(), reply)

    def to_bytes(self) -> bytes:
        """Return what is kept of it."""
        return b"%d:%s:%s" % (self.attempt, self.opening.encode(), self.reply)


def position_of(reply: Reply) -> Position:
    """Return where the ledger stood when it gave this reply."""
    return Position(
        sequence=reply.ledger_sequence,
        head=reply.ledger_head,
        cumulative=reply.cumulative,
        epoch=reply.epoch,
        debited=reply.debited,
    )


def shown_position(content: bytes | None) -> Position | None:
    """Return the position in a signed reply that a custodian kept.

    It checked the signature when it was shown: under a key that may have been replaced since.

    Raises:
        LedgerError: it is damaged.
    """
    return None if content is None else position_in(content)


@lru_cache(maxsize=512)  # of each peer of some hundred the newest, which is read at every step
def position_in(content: bytes) -> Position:
    """Return the position in a signed reply whose signature was checked; of any version.

    Raises:
        LedgerError: it is damaged.
    """
    try:
        return position_of(read_unverified(content, Reply))  # mostly read before
    except ProtocolError:
        return _old_position(content)


def _old_position(content: bytes) -> Position:
    """Return the position in a reply from before there were sides: every debit raised the total."""
    try:
        body = json.loads(content)["body"]
        reply = Reply.model_validate_json(json.dumps({"debited": body["cumulative"]} | body))
    except (ValidationError, ValueError, KeyError, TypeError):
        raise LedgerError("expected a signed reply that was shown, found a damaged one") from None
    return position_of(reply)


class _State(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1


class RecallStanding(_State):
    """Whom this start asked and who has answered, for people here.

    Attributes:
        boot: of the start.
        asked: every member that has to answer.
        heard: who did.
        settled: whether that start needs nobody more.
    """

    boot: Hex32
    asked: tuple[InstitutionId, ...]
    heard: tuple[InstitutionId, ...] = ()
    settled: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """Who has not answered."""
        return tuple(name for name in self.asked if name not in self.heard)


class RecallDecision(_State):
    """What a person here decided about members that do not answer, for one start.

    Attributes:
        boot: of the start.
        silent: whose memory this start does without; all that the limits allowed is debited.
        honest: h: no study since the backup had fewer honest institutions than this in a run; 0:
            nobody said so.
    """

    boot: Hex32
    silent: tuple[InstitutionId, ...] = ()
    honest: int = 0

    def allows(self, missing: Iterable[str]) -> bool:
        """Tell whether an opening may go on without these members.

        A run with h honest institutions has h - 1 beside this one, so of h - 2 silent ones and
        these at least one has answered.
        """
        left = set(missing) - set(self.silent)
        return not left or len(left) <= self.honest - 2


def standing_in(content: bytes | None) -> RecallStanding | None:
    """Return whom the last start asked; None where it asked nobody.

    Raises:
        LedgerError: it is damaged.
    """
    return None if content is None else _parsed(RecallStanding, content)


def decision_in(content: bytes | None, boot: str) -> RecallDecision:
    """Return what a person decided for a start; nothing where it was for another.

    Raises:
        LedgerError: it is damaged.
    """
    found = None if content is None else _parsed(RecallDecision, content)
    return found if found is not None and found.boot == boot else RecallDecision(boot=boot)


def _parsed(kind: type[T], content: bytes) -> T:
    try:
        return kind.model_validate_json(content)
    except ValidationError:
        raise LedgerError(
            "expected the state of a recall, found a damaged one: restore the newest copy"
        ) from None
