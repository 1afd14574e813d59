"""This institution as a party to runs: what it signs with, and whose messages it takes."""

from dataclasses import dataclass, field
from typing import TypeVar

from fieldfare.client.custodian.company import Company
from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    MessageBody,
    Opened,
    Signer,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR, Roster

Body = TypeVar("Body", bound=MessageBody)


@dataclass(frozen=True)
class Party:
    """An institution's id, the roster it pinned, its signer, how it runs and whom it knows."""

    institution: str
    roster: Roster
    signer: Signer
    protection: Protection
    company: Company = field(default_factory=Company)

    def sign(self, body: MessageBody) -> bytes:
        """Sign a message as this institution."""
        return sign_envelope(body, self.institution, self.signer)

    def from_coordinator(self, content: bytes, body_type: type[Body]) -> Opened[Body]:
        """Parse a message that only the coordinator may sign.

        Raises:
            ProtocolError: malformed, or signed by another party.
        """
        return self._from(content, body_type, COORDINATOR)

    def from_member(self, content: bytes, body_type: type[Body], member: str) -> Opened[Body]:
        """Parse a message that only `member` may sign.

        Raises:
            ProtocolError: malformed, or signed by another party.
        """
        return self._from(content, body_type, member)

    def _from(self, content: bytes, body_type: type[Body], signer: str) -> Opened[Body]:
        opened = open_envelope(content, body_type, self.roster, self.protection)
        if opened.signer != signer:
            raise ProtocolError(
                "expected a message signed by the right party", RefusalCode.BAD_SIGNATURE
            )
        return opened
