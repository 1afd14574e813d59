"""The delivery to every institution: the model, its card, and a signature on both."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.delivery import Delivery
from fieldfare.shared.messages import Signer, seal
from fieldfare.shared.model_card_writing import RunFacts, write_card
from fieldfare.shared.model_file import model_to_bytes
from fieldfare.shared.plan import Plan
from fieldfare.shared.roster import COORDINATOR


@dataclass(frozen=True)
class ComposedDelivery:
    """A finished model, ready to be kept and sent.

    Attributes:
        delivery: what was signed.
        envelope: the signed bytes (`delivery.sealed`).
        model: a safetensors file (`model.safetensors`).
        card: the model card's canonical JSON (`card.json`).
    """

    delivery: Delivery
    envelope: bytes
    model: bytes
    card: bytes


def compose(
    plan: Plan, parameters: NDArray[np.float64], facts: RunFacts, signer: Signer, at: datetime
) -> ComposedDelivery:
    """Write a finished model's files and sign their hashes; the same arguments, the same bytes.

    Args:
        plan: of the study.
        parameters: float64 (entries,), the averaged iterates (`TrainingState.model`).
        facts: about the run: its id, the roster's hash, how many took part, steps, what the
            institution that answered most was debited, failed attempts, what `evaluate`
            released (None: noise hid it), and size and root of the transcript.
        signer: the coordinator's.
        at: the time that the card shows, with a time zone; keep it for a repeat.

    Raises:
        ProtocolError: parameters that are no model of the study.
    """
    model = model_to_bytes(plan.study, facts.run, parameters)
    card = write_card(plan, parameters, facts, at)
    content = card.to_bytes()
    delivery = Delivery(
        study=plan.study.id,
        run=facts.run,
        model=card.model.parameters,
        file=bytes_hash(model),
        card=bytes_hash(content),
    )
    return ComposedDelivery(delivery, seal(delivery, COORDINATOR, signer), model, content)
