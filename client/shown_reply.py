"""The last signed reply that a coordinator showed: which position of the ledger it proves."""

import json

from pydantic import ValidationError

from fieldfare.client.ledger import Position
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.messages import Reply


def position_of(reply: Reply) -> Position:
    """Return where the ledger stood when it gave this reply."""
    return Position(
        sequence=reply.ledger_sequence,
        head=reply.ledger_head,
        cumulative=reply.cumulative,
        epoch=reply.epoch,
    )


def shown_position(content: bytes | None) -> Position | None:
    """Return the position in a signed reply that a custodian kept.

    It checked the signature when it was shown: under a key that may have been replaced since.

    Raises:
        LedgerError: it is damaged.
    """
    if content is None:
        return None
    try:
        reply = Reply.model_validate_json(json.dumps(json.loads(content)["body"]))
    except (ValidationError, ValueError, KeyError, TypeError):
        raise LedgerError("expected a signed reply that was shown, found a damaged one") from None
    return position_of(reply)
