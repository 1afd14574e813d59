"""This institution as a party to runs: what it signs with, and whom it believes."""

from dataclasses import dataclass
from typing import TypeVar

from fieldfare.client.custodian.ports import CompanyCheck
from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    MessageBody,
    Signer,
    VerifiedMessage,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR, Roster

Body = TypeVar("Body", bound=MessageBody)


@dataclass(frozen=True)
class Party:
    """An institution's id, the roster it pinned, its signer, and how it runs.

    Attributes:
        company: with whom a run may begin.
        rosters: every other one that was ever pinned here.
        roster_offer: the pinned one as the roster key signed it; empty in one process.
        last_answers: that members signed when they left.
    """

    institution: str
    roster: Roster
    signer: Signer
    protection: Protection
    company: CompanyCheck
    rosters: tuple[Roster, ...] = ()
    roster_offer: bytes = b""
    last_answers: tuple[bytes, ...] = ()

    def sign(self, body: MessageBody) -> bytes:
        """Sign a message as this institution."""
        return sign_envelope(body, self.institution, self.signer)

    def from_coordinator(self, content: bytes, body_type: type[Body]) -> VerifiedMessage[Body]:
        """Parse a message that only the coordinator may sign.

        Raises:
            ProtocolError: malformed, or signed by another party.
        """
        return self._from(content, body_type, COORDINATOR)

    def from_member(
        self, content: bytes, body_type: type[Body], member: str
    ) -> VerifiedMessage[Body]:
        """Parse a message that only `member` may sign.

        Raises:
            ProtocolError: malformed, or signed by another party.
        """
        return self._from(content, body_type, member)

    def _from(self, content: bytes, body_type: type[Body], signer: str) -> VerifiedMessage[Body]:
        opened = open_envelope(content, body_type, self.roster, self.protection)
        if opened.signer != signer:
            raise ProtocolError(
                "expected a message signed by the right party", RefusalCode.BAD_SIGNATURE
            )
        return opened
