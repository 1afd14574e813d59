"""One attempt at a release: a request and its replies so far."""

from dataclasses import dataclass, field, replace
from functools import cached_property

from fieldfare.shared.protocol.messages import Opened, Reply, Request
from fieldfare.shared.run.mismatch import MismatchError, expect


@dataclass(frozen=True, eq=False)
class Attempt:
    """A request and its replies.

    Attributes:
        asked: the signed request.
        hash: of its body.
        replies: by institution, in their order.
        before: replies to the same request from before it was asked again.
        interrupted: the run ended after it; it may be asked again, or given up.
    """

    asked: Opened[Request]
    hash: str
    replies: dict[str, Opened[Reply]] = field(default_factory=dict)
    before: dict[str, Opened[Reply]] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def request(self) -> Request:
        """What was asked."""
        return self.asked.body

    @cached_property
    def approvals(self) -> dict[str, str]:
        """The approval of everybody who is asked."""
        return {named.institution: named.approval for named in self.request.participants}

    @property
    def missing(self) -> list[str]:
        """Who has not answered."""
        return [name for name in self.approvals if name not in self.replies]

    def again(self, asked: Opened[Request]) -> "Attempt":
        """Return the same attempt, asked again: the same bytes come back for free."""
        return Attempt(asked, self.hash, before={**self.before, **self.replies})

    def is_new(self, reply: Opened[Reply]) -> bool:
        """Say whether a reply was not there before the same request was asked again."""
        known = self.before.get(reply.body.institution)
        return known is None or known.content != reply.content

    def with_reply(self, opened: Opened[Reply]) -> "Attempt":
        """Return the attempt with one more reply.

        Raises:
            MismatchError: not the signed reply of a participant to this request, or out of order.
        """
        reply = opened.body
        expect("a signature by the reply's institution", reply.institution, opened.signer)
        approval = self.approvals.get(reply.institution)
        if approval is None:
            raise MismatchError("a reply by a participant of the request")
        if self.replies and reply.institution <= next(reversed(self.replies)):
            raise MismatchError("replies in the order of institutions, one of each")
        expect("a reply to the request before it", self.hash, reply.request)
        expect("a reply under the approval", approval, reply.approval)
        return replace(self, replies={**self.replies, reply.institution: opened})
