"""Finished models in an institution's home: one folder for each run, written whole or not at all.

Each folder holds the delivery as it was signed, the model, its card and the card as a page.
What is read later is checked again: the disk is no better witness than the network.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.institution.home import Home
from fieldfare.shared.delivery import LARGEST_CARD, LARGEST_MODEL, Delivery
from fieldfare.shared.delivery_file import LARGEST_ENVELOPE, DeliveryFile
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.messages import parameters_hash, parameters_to_bytes
from fieldfare.shared.model_card import ModelCard
from fieldfare.shared.model_card_writing import check_card
from fieldfare.shared.model_file import model_from_bytes
from fieldfare.shared.plan import plan_for
from fieldfare.shared.private_files import PRIVATE_FOLDER, create_private, sync_folder
from fieldfare.shared.study import Study

ENVELOPE: Final = "delivery.sealed"
MODEL: Final = "model.safetensors"
CARD: Final = "card.json"
PAGE: Final = "card.html"
LEAST_PREFIX: Final = 4
UNFINISHED: Final = ".new"  # run ids do not begin with a dot, so no run is called this

_STUDY: Final = re.compile(r"[0-9a-f]{64}")
_LIMITS: Final = {ENVELOPE: LARGEST_ENVELOPE, MODEL: LARGEST_MODEL, CARD: LARGEST_CARD}


@dataclass(frozen=True)
class KeptModel:
    """Where one run's model is kept."""

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
    """Read what a delivery binds and compare it with the study; its hashes were compared before.

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
    """Write a run's folder, which is not there yet; after a crash it is whole or not there.

    Raises:
        OSError: the disk says no, or the folder is there.
    """
    folder = home.model(study, run)
    for outer in (home.models, folder.parent):
        if not outer.is_dir():
            outer.mkdir(PRIVATE_FOLDER)
            outer.chmod(PRIVATE_FOLDER)  # an odd umask may have taken the owner's rights too
            sync_folder(outer.parent)
    fresh = folder.parent / UNFINISHED
    if fresh.exists():  # left behind by a crash, never in use
        shutil.rmtree(fresh)
    fresh.mkdir(PRIVATE_FOLDER)
    fresh.chmod(PRIVATE_FOLDER)
    for name, content in files.items():
        create_private(fresh / name, content)
    fresh.rename(folder)
    sync_folder(folder.parent)


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
