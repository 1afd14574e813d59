"""Finished models in an institution's home: one folder for each run, written whole or not at all.

Each folder holds the delivery as it was signed, the model, its card and the card as a page.
What is read later is checked again: the disk is no better witness than the network.

A kept model has evidence: the coordinator's signature, or a recomputed transcript.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from fieldfare.client.custodian.ports import ModelEvidence
from fieldfare.client.home.layout import DELIVERY_FILE, Home
from fieldfare.shared.canonical import content_bytes
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.finished_model.card import ModelCard, Time
from fieldfare.shared.finished_model.card_page import NOTHING, STATED, CardChecks, card_page
from fieldfare.shared.finished_model.card_writing import check_card
from fieldfare.shared.finished_model.file import model_from_bytes
from fieldfare.shared.protocol.delivery import (
    LARGEST_CARD,
    LARGEST_ENVELOPE,
    LARGEST_MODEL,
    Delivery,
    DeliveryFile,
)
from fieldfare.shared.protocol.messages import Count, Verifier, parameters_hash, parameters_to_bytes
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.roster import Hex32
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.private_files import (
    PRIVATE_FOLDER,
    create_private,
    exchange,
    replace_private,
    sync_folder,
)

ENVELOPE: Final = DELIVERY_FILE
MODEL: Final = "model.safetensors"
CARD: Final = "card.json"
PAGE: Final = "card.html"
LEAST_PREFIX: Final = 4
UNFINISHED: Final = ".new"  # run ids do not begin with a dot, so no run is called this
REPLACED: Final = ".old"

_STUDY: Final = re.compile(r"[0-9a-f]{64}")
_LIMITS: Final = {ENVELOPE: LARGEST_ENVELOPE, MODEL: LARGEST_MODEL, CARD: LARGEST_CARD}


@dataclass(frozen=True)
class KeptModel:
    """The place of one run's model in the home."""

    study: str
    run: str
    folder: Path

    @property
    def page(self) -> Path:
        """The card as a page."""
        return self.folder / PAGE

    def read(self) -> DeliveryFile:
        """Return the three files as they are on the disk; nothing is checked.

        Raises:
            UsageError: one is missing, unreadable or too large.
        """
        envelope, model, card = (_read(self.folder / name, _LIMITS[name]) for name in _LIMITS)
        return DeliveryFile(envelope, model, card)


@dataclass(frozen=True, eq=False)
class CheckedModel:
    """A delivered model that fits its study, and its card.

    Attributes:
        parameters: float64 (entries,).
        card: recomputed from study and parameters, and found right.
    """

    parameters: NDArray[np.float64]
    card: ModelCard


def check_model(study: Study, delivery: Delivery, model: bytes, card: bytes) -> CheckedModel:
    """Read a delivery's files and compare them with the study; hashes were compared before.

    Raises:
        ProtocolError: no model of this study and run, or a card that misstates it.
    """
    parameters = model_from_bytes(model, study, delivery.run)
    if parameters_hash(parameters_to_bytes(parameters)) != delivery.model:
        raise ProtocolError("expected a model of the hash that the delivery binds, found another")
    read = ModelCard.from_bytes(card)
    if read.run != delivery.run:
        raise ProtocolError("expected a card of the delivered run, found another run's")
    check_card(read, plan_for(study), parameters)
    return CheckedModel(parameters, read)


def kept_models(home: Home) -> tuple[KeptModel, ...]:
    """Return every model that arrived, by study and run."""
    return tuple(
        KeptModel(folder.parent.name, folder.name, folder)
        for folder in sorted(home.models.glob("*/[!.]*"))
        if _STUDY.fullmatch(folder.parent.name) and folder.is_dir()
    )


def kept_model(home: Home, study: str, run: str) -> KeptModel | None:
    """Return where a run's model is, if it arrived.

    Raises:
        UsageError: ids that are none.
    """
    folder = home.model(study, run)
    return KeptModel(study, run, folder) if folder.exists() else None


def find_model(home: Home, text: str) -> KeptModel:
    """Return the model that a person means by its run, or by its study's first digits.

    Raises:
        UsageError: none or several fit.
    """
    models = kept_models(home)
    found = [one for one in models if one.run == text]
    if not found and len(text) >= LEAST_PREFIX:
        found = [one for one in models if one.run.startswith(text) or one.study.startswith(text)]
    if len(found) == 1:
        return found[0]
    raise UsageError(
        f"STUDY|RUN: expected a run's id or {LEAST_PREFIX} or more first digits of one model's "
        f"study, found {text[:64]!a}, which fits {len(found) or 'none'}: see `fieldfare "
        "institution models`"
    )


def keep_files(home: Home, study: str, run: str, files: Mapping[str, bytes]) -> None:
    """Write a run's folder, in place of one that is there; after a crash it is the old or the new.

    Where the file system cannot let two folders change places, a crash may leave none: what was
    delivered is then delivered or imported once more.

    Raises:
        OSError: the disk refuses it.
    """
    folder = home.model(study, run)
    for outer in (home.models, folder.parent):
        if not outer.is_dir():
            outer.mkdir(PRIVATE_FOLDER)
            outer.chmod(PRIVATE_FOLDER)  # an odd umask may have taken the owner's rights too
            sync_folder(outer.parent)
    fresh, old = folder.parent / UNFINISHED, folder.parent / REPLACED
    for left in (fresh, old):  # left behind by a crash, never in use
        if left.exists():
            shutil.rmtree(left)
    fresh.mkdir(PRIVATE_FOLDER)
    fresh.chmod(PRIVATE_FOLDER)
    for name, content in files.items():
        create_private(fresh / name, content)
    if not folder.exists():
        fresh.rename(folder)
    elif not exchange(fresh, folder):
        folder.rename(old)
        fresh.rename(folder)
    sync_folder(folder.parent)
    for left in (fresh, old):
        if left.exists():
            shutil.rmtree(left)


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise UsageError(
            f"{path}: expected a delivered file, found: {error.strerror}; import the delivery "
            "again after moving its folder away"
        ) from None
    if len(content) > limit:
        raise UsageError(f"{path}: expected at most {limit} bytes, found more: it was changed")
    return content


# -- model provenance -----------------------------------------------------------------------------

RECOMPUTED_FILE: Final = "recomputed.json"
FINISHED_FILE: Final = "finished.json"  # the same note: the run was, too large to be recomputed
MAX_BYTES: Final = 4096
WORD_ALONE: Final = "its figures are the coordinator's word"
UNVERIFIED_WORDS: Final = (
    "UNVERIFIED: the coordinator's word alone, of a run that did not finish here: recompute it "
    "with `fieldfare institution verify FILE`"
)


class RecomputationNote(BaseModel):
    """That this institution recomputed a model: step by step in the run, or from a transcript.

    Attributes:
        model: SHA-256 of the parameters that came out.
        leaves: of the transcript; 0 for the run itself.
        head: SHA-256 of the coordinator's signed head over it; empty for the run itself.
        time: when it was done here.
        metrics: the card's metrics were read off the evaluation's sum here too.
        cosigned: institutions that recomputed the run and signed the log with the card's metrics,
            where enough did and the sum was not added up here.
        cards: that came for this model, this one included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    model: Hex32
    metrics: bool = False
    leaves: Count
    head: Hex32 | Literal[""]
    time: Time
    cosigned: Count = 0
    cards: Count = 1

    @property
    def figures(self) -> bool:
        """Whether the card's metrics are more than the coordinator's word."""
        return self.metrics or self.cosigned > 0

    def to_bytes(self) -> bytes:
        """Return what is kept; earlier versions read a note that says nothing new."""
        later = {"cosigned": self.cosigned == 0, "cards": self.cards == 1}
        usual = {name for name, one in later.items() if one}
        return content_bytes(self.model_dump(mode="json", exclude=usual))


class ModelProvenance(Enum):
    """The degree to which a kept model was verified."""

    RECOMPUTED = "recomputed"
    FINISHED = "finished"
    UNVERIFIED = "unverified"
    DOUBTFUL = "doubtful"


@dataclass(frozen=True)
class ModelStanding:
    """A kept model, and the evidence for it.

    Attributes:
        kept: where it is.
        provenance: how far it was verified.
        words: the same for people; for a doubtful one, why and what to do.
        card: None where it is doubtful.
        recomputed: from which transcript, if from any.
    """

    kept: KeptModel
    provenance: ModelProvenance
    words: str
    card: ModelCard | None = None
    recomputed: RecomputationNote | None = None

    @property
    def figures(self) -> bool:
        """Whether the card's metrics are more than the coordinator's word."""
        return self.recomputed is not None and self.recomputed.figures


def model_provenance(kept: KeptModel, roster: Verifier) -> ModelStanding:
    """Check a kept model's signature and hashes again, and return the evidence for it."""
    try:
        file = kept.read()
        delivery = file.open(roster)
        _check_place(kept, delivery)
        card = ModelCard.from_bytes(file.card)
    except (ProtocolError, UsageError) as error:
        return ModelStanding(kept, ModelProvenance.DOUBTFUL, f"do not use it: {error}")
    recomputed = read_recomputed(kept)
    if recomputed is None or recomputed.model != delivery.model:
        finished = _read_note(kept, FINISHED_FILE)
        if finished is None or finished.model != delivery.model:
            return ModelStanding(kept, ModelProvenance.UNVERIFIED, UNVERIFIED_WORDS, card)
        words = f"of a run finished here on {finished.time[:10]}, not recomputed: too large"
        words += _doubt(card, finished)
        return ModelStanding(kept, ModelProvenance.FINISHED, words, card)
    how = "from its transcript here" if recomputed.head else "here step by step in its run"
    words = f"recomputed {how} on {recomputed.time[:10]}{_doubt(card, recomputed)}"
    return ModelStanding(kept, ModelProvenance.RECOMPUTED, words, card, recomputed)


def _doubt(card: ModelCard, note: RecomputationNote) -> str:
    return "" if card.metrics is None or note.figures else f"; {WORD_ALONE}"


def _check_place(kept: KeptModel, delivery: Delivery) -> None:
    if (delivery.study, delivery.run) != (kept.study, kept.run):
        raise ProtocolError("expected the delivery of this study and run, found another")


def in_the_run(
    model: str, now: datetime, *, metrics: bool = False, cards: int = 1
) -> RecomputationNote:
    """Return the note that is kept beside a model that the custodian knows from the run itself.

    Args:
        model: hash of the parameters that came out.
        now: the present in UTC.
        metrics: the card's metrics follow from the evaluation's sum as it was added up here.
        cards: that came for it, with the one that is kept now.
    """
    time = now.isoformat(timespec="seconds")
    return RecomputationNote(
        model=model, metrics=metrics, leaves=0, head="", time=time, cards=cards
    )


def note_recomputed(
    kept: KeptModel, *, model: str, leaves: int, head: str, now: datetime, metrics: bool = False
) -> RecomputationNote:
    """Write down beside a model that it was recomputed from a transcript.

    Args:
        kept: the model.
        model: hash of the parameters that came out.
        leaves: of the transcript.
        head: SHA-256 of its signed head.
        now: the present in UTC.
        metrics: the card's metrics follow from it too.

    Raises:
        OSError: the disk refuses it.
    """
    done = RecomputationNote(
        model=model,
        metrics=metrics,
        leaves=leaves,
        head=head,
        time=now.isoformat(timespec="seconds"),
    )
    replace_private(kept.folder / RECOMPUTED_FILE, done.to_bytes())
    return done


def note_cosigned(kept: KeptModel, model: str, cosigned: int) -> None:
    """Write down beside a model that was recomputed here who else answers for its card's metrics.

    Args:
        kept: the model; without a note about it nothing is written.
        model: hash of the parameters.
        cosigned: institutions that recomputed the run and signed its log; enough of them.

    Raises:
        OSError: the disk refuses it.
    """
    note = read_recomputed(kept)
    if note is not None and note.model == model:
        done = note.model_copy(update={"cosigned": cosigned})
        replace_private(kept.folder / RECOMPUTED_FILE, done.to_bytes())


def card_checks(
    by: str, recomputed: RecomputationNote | None, *, finished: bool = False
) -> CardChecks:
    """Say for a card's page what this institution knows itself of the model.

    Args:
        by: its id.
        recomputed: the note beside the model, if there is one.
        finished: without one: it evaluated this very model in a run that it finished.
    """
    if recomputed is None:
        large = f"not recomputed: too large; {by} finished the run, and evaluated this very model"
        return CardChecks(model=large) if finished else NOTHING
    day, told = recomputed.time[:10], bool(recomputed.head)
    how = "from the run's transcript" if told else "step by step in the run"
    measured = f"read off their sum again by {by} {how}, on {day}"
    others = f"{recomputed.cosigned} institutions that recomputed the run"
    signed = f"in a log signed by {others}; not read off their sum by {by}"
    stated = signed if recomputed.cosigned else STATED
    return CardChecks(
        model=f"recomputed by {by} {how}, on {day}, bit for bit",
        metrics=measured if recomputed.metrics else stated,
        groups=measured if recomputed.metrics and told else STATED,
    )


def redraw_page(kept: KeptModel, study: Study, roster: Verifier, by: str) -> None:
    """Draw a kept model's page anew, once more of it was recomputed here.

    Args:
        kept: the model.
        study: of the model.
        roster: whose coordinator signed its delivery.
        by: this institution's id.

    Raises:
        ProtocolError, UsageError: what is kept is no model of the study.
        OSError: the disk refuses it.
    """
    file = kept.read()
    checked = check_model(study, file.open(roster), file.model, file.card)
    checks = card_checks(by, read_recomputed(kept))
    page = card_page(checked.card, study, checked.parameters, checks)
    replace_private(kept.page, page.encode())


def read_recomputed(kept: KeptModel) -> RecomputationNote | None:
    """Return the note; None where there is none, or where it cannot be read."""
    return _read_note(kept, RECOMPUTED_FILE)


def evidence_of(kept: KeptModel) -> ModelEvidence:
    """Return the evidence in the notes beside a kept model; the model is not read."""
    recomputed = read_recomputed(kept)
    if recomputed is not None:
        return ModelEvidence.MEASURED if recomputed.figures else ModelEvidence.RECOMPUTED
    finished = _read_note(kept, FINISHED_FILE)
    return ModelEvidence.UNVERIFIED if finished is None else ModelEvidence.FINISHED


def cards_of(kept: KeptModel) -> int:
    """Return how many cards came for a kept model; 0 without a note beside it."""
    note = read_recomputed(kept) or _read_note(kept, FINISHED_FILE)
    return 0 if note is None else note.cards


def _read_note(kept: KeptModel, name: str) -> RecomputationNote | None:
    try:
        with (kept.folder / name).open("rb") as file:
            return RecomputationNote.model_validate_json(file.read(MAX_BYTES))
    except (OSError, ValidationError):
        return None


# -- should we join? ------------------------------------------------------------------------------

JOINING_FILE: Final = "joining.json"
_MOST_FIGURES: Final = 1024 * 1024


class JoinAnswer(BaseModel):
    """The last answer to "Should we join?" with a model: figures from own records, for people here.

    Attributes:
        figures: as `shared.joining.figures` makes them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    time: Time
    figures: dict[str, Any]


def keep_joining(kept: KeptModel, figures: dict[str, Any], now: datetime) -> None:
    """Keep an answer beside its model, in place of the last one.

    Raises:
        OSError: the disk refuses it.
    """
    done = JoinAnswer(time=now.isoformat(timespec="seconds"), figures=figures)
    replace_private(kept.folder / JOINING_FILE, done.model_dump_json().encode())


def read_joining(kept: KeptModel) -> JoinAnswer | None:
    """Return the last answer; None where there is none, or where it cannot be read."""
    try:
        with (kept.folder / JOINING_FILE).open("rb") as file:
            found = JoinAnswer.model_validate_json(file.read(_MOST_FIGURES))
    except (OSError, ValidationError):
        return None
    return found if found.figures.get("study_id") == kept.study else None
