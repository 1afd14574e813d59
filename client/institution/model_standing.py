"""The evidence for a kept model: the coordinator's signature, or a recomputed transcript."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from fieldfare.client.institution.kept_models import KeptModel
from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.delivery import Delivery
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.messages import Count
from fieldfare.shared.model_card import ModelCard, Time
from fieldfare.shared.private_files import replace_private
from fieldfare.shared.roster import Hex32, Roster

RECOMPUTED_FILE: Final = "recomputed.json"
MAX_BYTES: Final = 4096


class Recomputed(BaseModel):
    """That this institution recomputed a model: step by step in the run, or from a transcript.

    Attributes:
        model: SHA-256 of the parameters that came out.
        leaves: of the transcript; 0 for the run itself.
        head: SHA-256 of the coordinator's signed head over it; empty for the run itself.
        time: when it was done here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    model: Hex32
    leaves: Count
    head: Hex32 | Literal[""]
    time: Time


class Standing(Enum):
    """How far a kept model was verified."""

    RECOMPUTED = "recomputed"
    SIGNED = "signed"
    DOUBTFUL = "doubtful"


@dataclass(frozen=True)
class ModelStanding:
    """A kept model, and what it rests on.

    Attributes:
        kept: where it is.
        standing: how far it was verified.
        words: the same for people; for a doubtful one, why and what to do.
        card: None where it is doubtful.
        recomputed: from which transcript, if from any.
    """

    kept: KeptModel
    standing: Standing
    words: str
    card: ModelCard | None = None
    recomputed: Recomputed | None = None


def standing_of_model(kept: KeptModel, roster: Roster) -> ModelStanding:
    """Check a kept model's signature and hashes again, and say what it rests on."""
    try:
        file = kept.read()
        delivery = file.open(roster)
        _check_place(kept, delivery)
        card = ModelCard.from_bytes(file.card)
    except (ProtocolError, UsageError) as error:
        return ModelStanding(kept, Standing.DOUBTFUL, f"do not use it: {error}")
    recomputed = read_recomputed(kept)
    if recomputed is None or recomputed.model != delivery.model:
        words = "signed by the coordinator, not recomputed here"
        return ModelStanding(kept, Standing.SIGNED, words, card)
    how = "from its transcript here" if recomputed.head else "here step by step in its run"
    words = f"recomputed {how} on {recomputed.time[:10]}"
    return ModelStanding(kept, Standing.RECOMPUTED, words, card, recomputed)


def _check_place(kept: KeptModel, delivery: Delivery) -> None:
    if (delivery.study, delivery.run) != (kept.study, kept.run):
        raise ProtocolError("expected the delivery of this study and run, found another")


def in_the_run(model: str, now: datetime) -> bytes:
    """Return what is kept beside a model that the custodian recomputed while the run went on.

    Args:
        model: hash of the parameters that came out.
        now: the present in UTC.
    """
    done = Recomputed(model=model, leaves=0, head="", time=now.isoformat(timespec="seconds"))
    return canonical_bytes(done)


def note_recomputed(
    kept: KeptModel, *, model: str, leaves: int, head: str, now: datetime
) -> Recomputed:
    """Write down beside a model that it was recomputed from a transcript.

    Args:
        kept: the model.
        model: hash of the parameters that came out.
        leaves: of the transcript.
        head: SHA-256 of its signed head.
        now: the present in UTC.

    Raises:
        OSError: the disk says no.
    """
    done = Recomputed(model=model, leaves=leaves, head=head, time=now.isoformat(timespec="seconds"))
    replace_private(_path(kept), canonical_bytes(done))
    return done


def read_recomputed(kept: KeptModel) -> Recomputed | None:
    """Return what was written down; None for nothing, or for what cannot be read."""
    try:
        with _path(kept).open("rb") as file:
            return Recomputed.model_validate_json(file.read(MAX_BYTES))
    except (OSError, ValidationError):
        return None


def _path(kept: KeptModel) -> Path:
    return kept.folder / RECOMPUTED_FILE
