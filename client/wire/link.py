"""The link of custodian and node over TCP: its names, its times, and the call that renews it.

The institution's own authority, in the custodian's home, signs two certificates: the custodian's,
as a server, and the node's, as a client. Each side makes its own keys; the node asks for its next
certificate over the link, under the one that it has. Nothing of a record is in that call.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.errors import ProtocolError

LINK_FORMAT: Final = 1
LINK_SERVICE: Final = "fieldfare.link.v1.Link"
RENEW_CALL: Final = "Renew"
LARGEST_LINK_FRAME: Final = 64 * 1024  # bytes: a bundle of a few certificates
LARGEST_REQUEST: Final = 4 * 1024
# The node's name in its certificate (RFC 6761 keeps .internal and the like out of the DNS).
NODE_NAME: Final = "node.fieldfare.internal"

# A node that is away for less than RENEW_BEFORE comes back by itself, whenever it went.
PAIR_LIFE: Final = timedelta(days=90)
RENEW_BEFORE: Final = timedelta(days=45)  # well above the 30 days at which an alert is raised
AUTHORITY_LIFE: Final = timedelta(days=550)
# The custodian's certificate goes on under the former authority until it is due itself, and one
# that the former authority signed last ends before it does: twice a pair's life, and some days.
AUTHORITY_RENEW_BEFORE: Final = timedelta(days=190)
LOOK_EVERY: Final = timedelta(hours=1)
ASK_EVERY: Final = timedelta(days=1)  # a node learns of a new authority within that

Pem = Annotated[str, Field(max_length=LARGEST_LINK_FRAME)]


class _Frame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = LINK_FORMAT

    def to_bytes(self) -> bytes:
        """Return canonical JSON."""
        return canonical_bytes(self)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Parse a frame.

        Raises:
            ProtocolError: something else.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            raise ProtocolError("expected a frame of the link, found something else") from None


class RenewalQuestion(_Frame):
    """What a node asks: a request for a certificate (PKCS #10, PEM), empty where none is due."""

    request: Annotated[str, Field(max_length=LARGEST_REQUEST)] = ""


class RenewalAnswer(_Frame):
    """What it is told.

    Attributes:
        certificate: PEM; empty where none was asked for, or one was signed within a day.
        trusted: the authorities that count from now on, PEM, the newest first.
    """

    certificate: Pem = ""
    trusted: Pem


def authorities_in(content: bytes) -> Iterator[x509.Certificate]:
    """Yield the authorities of a PEM file.

    Raises:
        ProtocolError: another form.
    """
    try:
        yield from x509.load_pem_x509_certificates(content)
    except ValueError:
        raise ProtocolError("expected authorities in PEM, found another form") from None
