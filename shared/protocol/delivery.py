"""The delivery: the coordinator's signed statement that binds the finished model and its card.

A delivery as one file, for institutions that were absent when a run ended.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.shared.canonical import bytes_hash, canonical_bytes
from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import MessageBody, RunId, Verifier, open_envelope
from fieldfare.shared.protocol.roster import COORDINATOR, Hex32

LARGEST_MODEL: Final = 8 * 1024 * 1024  # bytes
LARGEST_CARD: Final = 2 * 1024 * 1024  # bytes; 1,000 features of long names come to 1 million


class Delivery(MessageBody):
    """A run's model and its card, by their hashes.

    Attributes:
        study: the study's id.
        run: the run that made it.
        model: SHA-256 of the averaged parameters as little-endian float64.
        file: SHA-256 of the safetensors file that holds them.
        card: SHA-256 of the model card, canonical JSON.
    """

    TYPE: ClassVar[str] = "fieldfare.delivery.v1"

    study: Hex32
    run: RunId
    model: Hex32
    file: Hex32
    card: Hex32


# -- delivery file --------------------------------------------------------------------------------

DELIVERY_FILE_TYPE: Final = "fieldfare.delivery-file.v1"
LARGEST_ENVELOPE: Final = 16 * 1024  # bytes


def _base64_of(size: int) -> int:
    return 4 * (-(-size // 3))


_FRAME: Final = 1024  # bytes around the three
LARGEST_DELIVERY_FILE: Final = _FRAME + sum(
    map(_base64_of, (LARGEST_ENVELOPE, LARGEST_MODEL, LARGEST_CARD))
)


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    type: Literal["fieldfare.delivery-file.v1"] = DELIVERY_FILE_TYPE
    delivery: str = Field(max_length=_base64_of(LARGEST_ENVELOPE))
    model: str = Field(max_length=_base64_of(LARGEST_MODEL))
    card: str = Field(max_length=_base64_of(LARGEST_CARD))


@dataclass(frozen=True)
class DeliveryFile:
    """A signed delivery and the two files that it binds; nothing here is checked yet.

    Attributes:
        envelope: the signed `Delivery`.
        model: a safetensors file.
        card: canonical JSON.
    """

    envelope: bytes
    model: bytes
    card: bytes

    def to_bytes(self) -> bytes:
        """Return the file: RFC 8785 JSON with the three in base64."""
        parts = (self.envelope, self.model, self.card)
        delivery, model, card = (base64.b64encode(part).decode() for part in parts)
        return canonical_bytes(_Form(delivery=delivery, model=model, card=card))

    @classmethod
    def from_bytes(cls, content: bytes) -> "DeliveryFile":
        """Parse a file; only the bytes that `to_bytes` writes are one.

        Raises:
            ProtocolError: too large, no delivery file, or not canonical.
        """
        if len(content) > LARGEST_DELIVERY_FILE:
            raise ProtocolError(
                f"expected a delivery file of at most {LARGEST_DELIVERY_FILE} bytes, found more"
            )
        try:
            form = _Form.model_validate(json.loads(content))
            parts = (form.delivery, form.model, form.card)
            file = cls(*(base64.b64decode(part, validate=True) for part in parts))
            canonical = file.to_bytes()
        except (ValidationError, ValueError, RecursionError, binascii.Error):
            raise ProtocolError("expected a delivery file of format 1, found another") from None
        if canonical != content:
            raise ProtocolError("expected the canonical form of a delivery file: it was changed")
        return file

    def open(self, roster: Verifier) -> Delivery:
        """Check the coordinator's signature, and that it is on these very files.

        Raises:
            ProtocolError: not signed by the roster's coordinator, or other files.
        """
        opened = open_envelope(self.envelope, Delivery, roster, Protection.EXACT)
        if opened.signer != COORDINATOR:
            raise ProtocolError("expected the coordinator's signature", RefusalCode.BAD_SIGNATURE)
        bound = (opened.body.file, opened.body.card)
        if bound != (bytes_hash(self.model), bytes_hash(self.card)):
            raise ProtocolError("expected the model and the card that the delivery binds")
        return opened.body
