"""Finished models that arrived, for people who look at them: the evidence, a card, an answer.

Everything is checked anew from the files of the home; no record is read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markupsafe import Markup

from fieldfare.client.home.models import (
    ModelProvenance,
    ModelStanding,
    card_checks,
    check_model,
    kept_model,
    kept_models,
    model_provenance,
    read_joining,
)
from fieldfare.client.home.studies import kept_study
from fieldfare.client.institution.open import Institution, open_institution
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.finished_model.card_page import card_sections
from fieldfare.shared.joining.page import join_part


@dataclass(frozen=True, kw_only=True)
class ArrivedModel:
    """A model that arrived, and the evidence for it.

    Attributes:
        name, finished: as its card says; empty where the card must not be read.
        words: how far it was verified, for people.
        trusted: whether it is more than the coordinator's word.
        compared: the day of the last answer to "Should we join?"; empty: there is none.
    """

    study: str
    run: str
    name: str
    finished: str
    words: str
    trusted: bool
    compared: str


@dataclass(frozen=True)
class ModelOnDesk:
    """One model: its card between head and end of a page; or why there is none."""

    model: ArrivedModel
    card: Markup
    problem: str


@dataclass(frozen=True)
class JoiningOnDesk:
    """One model, and the last answer to "Should we join?" with it; empty: there is none."""

    model: ArrivedModel
    answer: Markup


_TRUSTED: Final = frozenset({ModelProvenance.RECOMPUTED, ModelProvenance.FINISHED})


def arrived_models(home: Path) -> tuple[ArrivedModel, ...]:
    """Look at the models of a home, the newest first; nothing is written.

    Raises:
        FieldfareError: as `open_institution`.
    """
    institution = open_institution(home)
    signers = institution.signers_ever
    found = [_arrived(model_provenance(one, signers)) for one in kept_models(institution.home)]
    return tuple(sorted(found, key=lambda one: (one.finished, one.run), reverse=True))


def model_on_desk(home: Path, study: str, run: str) -> ModelOnDesk | None:
    """Look at one model of a home, its card drawn anew; None: no such model arrived.

    Raises:
        FieldfareError: as `open_institution`.
    """
    institution = open_institution(home)
    standing = _standing(institution, study, run)
    if standing is None:
        return None
    arrived = _arrived(standing)
    if standing.card is None:
        return ModelOnDesk(arrived, Markup(), standing.words)
    try:
        return ModelOnDesk(arrived, _drawn(institution, standing), "")
    except FieldfareError as error:
        return ModelOnDesk(arrived, Markup(), str(error))


def joining_on_desk(home: Path, study: str, run: str) -> JoiningOnDesk | None:
    """Return the last answer to "Should we join?" with one model; None: no such model arrived.

    Raises:
        FieldfareError: as `open_institution`.
    """
    standing = _standing(open_institution(home), study, run)
    if standing is None:
        return None
    found = read_joining(standing.kept)
    return JoiningOnDesk(_arrived(standing), join_part(found.figures) if found else Markup())


def _standing(institution: Institution, study: str, run: str) -> ModelStanding | None:
    try:
        kept = kept_model(institution.home, study, run)
    except UsageError:  # ids that are none
        return None
    return model_provenance(kept, institution.signers_ever) if kept else None


def _arrived(found: ModelStanding) -> ArrivedModel:
    card, joining = found.card, read_joining(found.kept)
    return ArrivedModel(
        study=found.kept.study,
        run=found.kept.run,
        name=card.name if card else "",
        finished=card.finished if card else "",
        words=found.words,
        trusted=found.provenance in _TRUSTED,
        compared=joining.time[:10] if joining else "",
    )


def _drawn(institution: Institution, found: ModelStanding) -> Markup:
    """Draw a card from the model itself, checked against its study."""
    kept = found.kept
    study = kept_study(institution.home, kept.study, institution.roster).study
    file = kept.read()
    delivery = file.open(institution.signers_ever)
    checked = check_model(study, delivery, file.model, file.card)
    finished = found.provenance is ModelProvenance.FINISHED
    checks = card_checks(institution.settings.id, found.recomputed, finished=finished)
    return card_sections(checked.card, study, checked.parameters, checks)
