"""The delivery: the coordinator's signed statement that binds the finished model and its card."""

from typing import ClassVar, Final

from fieldfare.shared.messages import MessageBody, RunId
from fieldfare.shared.roster import Hex32

LARGEST_MODEL: Final = 8 * 1024 * 1024  # bytes
LARGEST_CARD: Final = 5 * 1024 * 1024  # a card repeats the uses that its study prohibits


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
