"""The check of what offers list: before custodians believe it, or a coordinator relays it.

Each message is verified once, however many offers list it: at 100 institutions every reply comes
in 99 of them.
"""

from dataclasses import dataclass, field

from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import Reply, Request, Verifier, open_envelope
from fieldfare.shared.protocol.plan import SIDES, Plan
from fieldfare.shared.protocol.remembered import RememberedMessages
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.run.request_check import check_answerable


@dataclass(frozen=True)
class OfferContents:
    """What the offers of one opening list together, each thing once.

    Attributes:
        plan: of the study.
        roster: who may have signed.
        protection: of the run.
        requests: with their cost in picomu2, by the bytes that the coordinator signed.
        by: who opened each.
        replies: by the bytes that were signed.
    """

    plan: Plan
    roster: Verifier
    protection: Protection
    requests: dict[bytes, tuple[Request, int]] = field(default_factory=dict)
    by: dict[bytes, list[str]] = field(default_factory=dict)
    replies: dict[bytes, Reply] = field(default_factory=dict)

    def add(self, sender: str, remembered: RememberedMessages) -> None:
        """Take what one offer lists.

        Raises:
            ProtocolError: something that nobody honest lists.
        """
        spent = SideCosts()
        for content in remembered.requests:
            if content not in self.requests:
                self.requests[content] = self.request(content)
            request, cost = self.requests[content]
            if not names(request, sender):
                raise ProtocolError(
                    "expected requests that their sender is part of", RefusalCode.BAD_PARTICIPANTS
                )
            spent = spent.plus(SIDES[request.kind], cost)
            self.by.setdefault(content, []).append(sender)
        if spent.total > self.plan.study_limit:
            raise ProtocolError(
                "expected requests that the study's mu^2 pays for, found more of them",
                RefusalCode.TOO_MANY_ATTEMPTS,
            )
        for content in remembered.replies:
            if content not in self.replies:
                self.replies[content] = signed_reply(content, self.roster, self.protection)
        signers = {self.replies[content].institution for content in remembered.replies}
        if len(signers) < len(remembered.replies):
            raise ProtocolError("expected the newest reply of each institution, found two of one")

    def request(self, content: bytes) -> tuple[Request, int]:
        """Read a request of the study that some custodian may have answered, and its cost.

        Raises:
            ProtocolError: not signed by the coordinator, or none that the plan has.
        """
        opened = open_envelope(content, Request, self.roster, self.protection)
        if opened.signer != COORDINATOR:
            raise ProtocolError("expected the coordinator's signature", RefusalCode.BAD_SIGNATURE)
        return opened.body, check_answerable(self.plan, opened.body).cost


def names(request: Request, institution: str) -> bool:
    """Tell whether an institution is among a request's participants."""
    return any(named.institution == institution for named in request.participants)


def signed_reply(content: bytes, roster: Verifier, protection: Protection) -> Reply:
    """Read a signed reply by the institution that it speaks for.

    Raises:
        ProtocolError: malformed, or another's signature.
    """
    opened = open_envelope(content, Reply, roster, protection)
    if opened.signer != opened.body.institution:
        raise ProtocolError("expected replies by their own signers", RefusalCode.BAD_SIGNATURE)
    return opened.body
