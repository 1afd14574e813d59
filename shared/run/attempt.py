"""One attempt at a release: a request and its replies so far."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.protocol.messages import (
    Commitment,
    Reply,
    Request,
    VerifiedMessage,
    statements_hash,
)
from fieldfare.shared.run.mismatch import MismatchError, expect

_MANY: Final = {"commitment": "commitments", "reply": "replies"}
_EXPECTED: Final = {  # of each message; written once, not for each of n
    what: (
        f"a signature by the {what}'s institution",
        f"a {what} to the request before it",
        f"a {what} under the answer to `hello`",
    )
    for what in _MANY
}


@dataclass(frozen=True, eq=False)
class Attempt:
    """A request and its replies.

    Attributes:
        asked: the signed request.
        hash: of its body.
        commitments: by institution, in their order; vectors open once all are known.
        replies: by institution, in their order.
        before: replies to the same request from before it was asked again.
        committed: commitments from before it was asked again.
        interrupted: the run ended after it; it may be asked again, or given up.
    """

    asked: VerifiedMessage[Request]
    hash: str
    commitments: dict[str, VerifiedMessage[Commitment]] = field(default_factory=dict)
    replies: dict[str, VerifiedMessage[Reply]] = field(default_factory=dict)
    before: dict[str, VerifiedMessage[Reply]] = field(default_factory=dict)
    committed: dict[str, VerifiedMessage[Commitment]] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def request(self) -> Request:
        """The request."""
        return self.asked.body

    @cached_property
    def answers(self) -> dict[str, str]:
        """The answers to `hello` of all participants."""
        return {named.institution: named.answer for named in self.request.participants}

    @property
    def missing(self) -> list[str]:
        """Who has not answered."""
        return [name for name in self.answers if name not in self.replies]

    @property
    def opened(self) -> bool:
        """Whether vectors may be paid for and read: everybody's commitment is known."""
        return len(self.commitments) == len(self.answers)

    @cached_property
    def statements(self) -> str:
        """The hash of L, which replies name."""
        return statements_hash([one.content for one in self.commitments.values()])

    @property
    def seeds(self) -> tuple[str, ...]:
        """The seeds of the replies, in their order; they open the vectors."""
        return tuple(reply.body.seed for reply in self.replies.values())

    def again(self, asked: VerifiedMessage[Request]) -> "Attempt":
        """Return the same attempt, asked again: the same bytes come back for free."""
        return Attempt(
            asked,
            self.hash,
            before={**self.before, **self.replies},
            committed={**self.committed, **self.commitments},
        )

    def is_new(self, reply: VerifiedMessage[Reply]) -> bool:
        """Say whether a reply was not there before the same request was asked again."""
        known = self.before.get(reply.body.institution)
        return known is None or known.content != reply.content

    def with_commitment(self, opened: VerifiedMessage[Commitment]) -> "Attempt":
        """Return the attempt with one more commitment.

        Raises:
            MismatchError: not the signed commitment of a participant to this request, another
                than before, or out of order.
        """
        return self.with_commitments((opened,))

    def with_commitments(self, many: Iterable[VerifiedMessage[Commitment]]) -> "Attempt":
        """Return the attempt with more commitments, as if one came after the other.

        Raises:
            MismatchError: as `with_commitment`, of the first that does not fit.
        """
        known = dict(self.commitments)
        for opened in many:
            name = self._checked("commitment", opened, known)
            if self.replies:
                raise MismatchError("a reply, or the sum")
            before = self.committed.get(name)
            if before is not None and before.content != opened.content:
                raise MismatchError("the same commitment to the same request")
            known[name] = opened
        return self._with(commitments=known)

    def with_reply(self, opened: VerifiedMessage[Reply]) -> "Attempt":
        """Return the attempt with one more reply.

        Raises:
            MismatchError: not the signed reply of a participant to this request, not what it
                committed to, or out of order.
        """
        return self.with_replies((opened,))

    def with_replies(self, many: Iterable[VerifiedMessage[Reply]]) -> "Attempt":
        """Return the attempt with more replies, as if one came after the other.

        Raises:
            MismatchError: as `with_reply`, of the first that does not fit.
        """
        known = dict(self.replies)
        for opened in many:
            name, reply = self._checked("reply", opened, known), opened.body
            if not self.opened:
                raise MismatchError("a commitment of every participant before a reply")
            expect("a reply that names these commitments", self.statements, reply.statements)
            promised = self.commitments[name].body
            expect("the vector of the commitment", promised.vector, reply.vector)
            seed = bytes_hash(bytes.fromhex(reply.seed))
            expect("the seed of the commitment", promised.seed, seed)
            known[name] = opened
        return self._with(replies=known)

    def _with(
        self,
        *,
        commitments: dict[str, VerifiedMessage[Commitment]] | None = None,
        replies: dict[str, VerifiedMessage[Reply]] | None = None,
    ) -> "Attempt":
        """Return the attempt with one message more, and what was found out of it so far.

        Found again for each of n replies, the answers and the hash of L would cost n^2.
        """
        found = Attempt(
            self.asked,
            self.hash,
            self.commitments if commitments is None else commitments,
            self.replies if replies is None else replies,
            self.before,
            self.committed,
            self.interrupted,
        )
        found.__dict__["answers"] = self.answers
        if commitments is None:
            found.__dict__["statements"] = self.statements
        return found

    def _checked(
        self,
        what: str,
        opened: VerifiedMessage[Commitment] | VerifiedMessage[Reply],
        known: dict[str, VerifiedMessage[Commitment]] | dict[str, VerifiedMessage[Reply]],
    ) -> str:
        """Check who says something to which request; return who it is."""
        body = opened.body
        signature, request, hello = _EXPECTED[what]
        expect(signature, body.institution, opened.signer)
        answer = self.answers.get(body.institution)
        if answer is None:
            raise MismatchError(f"a {what} by a participant of the request")
        if known and body.institution <= next(reversed(known)):
            raise MismatchError(f"{_MANY[what]} in the order of institutions, one of each")
        expect(request, self.hash, body.request)
        expect(hello, answer, body.answer)
        return body.institution
