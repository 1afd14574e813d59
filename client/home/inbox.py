"""Messages from the coordinator that the home keeps: offered studies, finished models.

Both wait for a person: a study until somebody decides, a model until somebody uses it.
Whatever is kept is logged first, as `decisions` does, and what a coordinator can fill the
disk with is bounded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from fieldfare.client.custodian.ports import ModelEvidence, ReportedRejection
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import (
    CARD,
    ENVELOPE,
    FINISHED_FILE,
    MODEL,
    PAGE,
    RECOMPUTED_FILE,
    KeptModel,
    card_checks,
    cards_of,
    check_model,
    evidence_of,
    in_the_run,
    keep_files,
    kept_model,
    kept_models,
)
from fieldfare.client.home.settings import load_settings
from fieldfare.client.home.studies import (
    RejectionDisclosure,
    State,
    deciding,
    keep_study,
    kept_ids,
    kept_study,
    read_decision,
)
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.records.settings import check_unit
from fieldfare.shared.errors import (
    LedgerError,
    PackageError,
    PolicyRefusal,
    ProtocolError,
    RefusalCode,
    StudyError,
    UsageError,
)
from fieldfare.shared.finished_model.card_page import card_page
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.roster import COORDINATOR, Roster
from fieldfare.shared.protocol.signed_files import read_signed
from fieldfare.shared.study.study import MAX_STUDY_BYTES, Study, check_deployable

MOST_UNDECIDED: Final = 64  # studies
MOST_MODELS: Final = 256  # of one study
MOST_CARDS: Final = 16  # of one model: each is logged, and a coordinator could send them for ever
EVER_APPROVED: Final = frozenset({State.APPROVED, State.WITHDRAWN})

Clock = Callable[[], datetime]


class HomeInbox:
    """An `Inbox` in an institution's home."""

    def __init__(self, home: Home, roster: Roster, journal: Journal, clock: Clock) -> None:
        """Keep arrivals in `home` under the pinned `roster`, and log them in `journal`."""
        self._home = home
        self._roster = roster
        self._journal = journal
        self._clock = clock

    def study_offered(self, offer: bytes, study: Study) -> None:
        """Keep a study for a person to decide on; one that is here already changes nothing.

        Raises:
            PolicyRefusal: it is too large to come by itself, or too many wait already.
            ProtocolError: a study that names no unit or another than ours, or has no plan.
            LedgerError: it cannot be kept or logged.
        """
        with _faults(self._home), deciding(self._home):
            if self._home.study(study.id).exists():
                if read_signed(self._home.study(study.id)) != offer:  # by a former online key
                    keep_study(self._home, study, offer, self._clock())
                return
            self._check_room(offer)
            try:
                check_deployable(study)
                self._check_unit(study)
                plan_for(study)
            except PackageError:
                pass  # its people may yet read and list the package
            except StudyError as error:
                raise ProtocolError(f"expected a study that can run, found: {error}") from None
            self._journal.append(Event.STUDY_RECEIVED, COORDINATOR, study=study.id)
            keep_study(self._home, study, offer, self._clock())

    def said_no(self, study: str) -> ReportedRejection | None:
        """Return the no that a person gave to a study, as far as they let it be told.

        Raises:
            LedgerError: the decision cannot be read.
        """
        with _faults(self._home):
            decision = read_decision(self._home, study)
        if decision.told is RejectionDisclosure.NOTHING:
            return None
        reason = decision.reason if decision.told is RejectionDisclosure.REASON else ""
        if decision.state is State.REJECTED:
            return ReportedRejection("rejected", reason)
        return ReportedRejection("withdrawn", reason) if decision.state is State.WITHDRAWN else None

    def _check_unit(self, study: Study) -> None:
        """Refuse a study of other units, where this institution has said which are its own."""
        unit = load_settings(self._home).unit
        if unit is not None:
            check_unit(study, unit)

    def _check_room(self, offer: bytes) -> None:
        """Refuse what could fill the disk; the refusal is the one that any unknown study gets."""
        if len(offer) > MAX_STUDY_BYTES:
            raise PolicyRefusal(
                RefusalCode.UNKNOWN_STUDY,
                f"expected a study offer of at most {MAX_STUDY_BYTES} bytes over the network, "
                "found a larger one: take it as a file: fieldfare institution import",
            )
        decisions = (read_decision(self._home, study) for study in kept_ids(self._home))
        waiting = sum(decision.state is State.RECEIVED for decision in decisions)
        if waiting >= MOST_UNDECIDED:
            raise PolicyRefusal(
                RefusalCode.UNKNOWN_STUDY,
                f"expected fewer than {MOST_UNDECIDED} undecided studies, found {waiting}: approve "
                "or reject those that wait",
            )

    def delivered(
        self,
        delivery: Delivery,
        envelope: bytes,
        model: bytes,
        card: bytes,
        evidence: ModelEvidence,
    ) -> None:
        """Keep a finished model; the same delivery again changes nothing.

        A model that is known to be the run's takes the place of one that is the coordinator's word
        alone, and another card of the same model that of one whose figures nobody here read off
        their sum: a false one that came first locks nothing out.

        Raises:
            PolicyRefusal: another model of the same run is here, with no less evidence; the study
                was never approved here; or too many of its models, or cards, came.
            ProtocolError: no model of this study, or a card that misstates it.
            LedgerError: it cannot be kept or logged.
        """
        with _faults(self._home), deciding(self._home):
            study = self._study(delivery.study)
            checked = check_model(study, delivery, model, card)
            kept = self._kept(delivery)
            if self._is_here(kept, model, card, evidence):
                return
            self._journal.append(
                Event.MODEL_RECEIVED,
                COORDINATOR,
                study=delivery.study,
                run=delivery.run,
                fingerprint=delivery.file,
            )
            files = {ENVELOPE: envelope, MODEL: model, CARD: card}
            recomputed, finished = None, evidence is ModelEvidence.FINISHED
            if evidence is not ModelEvidence.UNVERIFIED:
                measured = evidence is ModelEvidence.MEASURED
                cards = 1 if kept is None else cards_of(kept) + 1
                note = in_the_run(delivery.model, self._clock(), metrics=measured, cards=cards)
                files[FINISHED_FILE if finished else RECOMPUTED_FILE] = note.to_bytes()
                recomputed = None if finished else note
            checks = card_checks(load_settings(self._home).id, recomputed, finished=finished)
            page = card_page(checked.card, study, checked.parameters, checks)
            files[PAGE] = page.encode()
            keep_files(self._home, delivery.study, delivery.run, files)

    def _study(self, study: str) -> Study:
        here = self._home.study(study).exists()
        if not here or read_decision(self._home, study).state not in EVER_APPROVED:
            raise PolicyRefusal(
                RefusalCode.UNKNOWN_STUDY,
                "expected a model of a study that was approved here, found another: receive and "
                "approve the study first",
            )
        return kept_study(self._home, study, self._roster).study

    def _kept(self, delivery: Delivery) -> KeptModel | None:
        """Return the model that a run delivered before.

        Raises:
            PolicyRefusal: there is none, and room for no more.
        """
        try:
            kept = kept_model(self._home, delivery.study, delivery.run)
        except UsageError as error:
            raise ProtocolError(str(error)) from None
        if kept is None:
            self._check_number(delivery.study)
        return kept

    def _is_here(
        self, kept: KeptModel | None, model: bytes, card: bytes, evidence: ModelEvidence
    ) -> bool:
        """Tell whether this very model is kept, with as much evidence.

        Raises:
            PolicyRefusal: another of the same run is.
        """
        if kept is None:
            return False
        known = evidence_of(kept)
        found_model, found_card = _files(kept)
        if (found_model, found_card) == (model, card):
            return known.value >= evidence.value
        if known.value < evidence.value:
            return False
        # Which of two cards is true nobody here knows before the sum was read; neither is used.
        unread = known is evidence and known is not ModelEvidence.MEASURED
        if unread and found_model == model and cards_of(kept) < MOST_CARDS:
            return False
        raise PolicyRefusal(
            RefusalCode.REPLAY_CHANGED,
            "expected the model that this run delivered before, found another: ask the "
            "coordinator; one run makes one model",
        )

    def _check_number(self, study: str) -> None:
        number = sum(one.study == study for one in kept_models(self._home))
        if number >= MOST_MODELS:
            raise PolicyRefusal(
                RefusalCode.TOO_MANY_ATTEMPTS,
                f"expected fewer than {MOST_MODELS} models of one study, found {number}: move "
                f"those that you do not need away from {self._home.models / study}",
            )


def _files(kept: KeptModel) -> tuple[bytes, bytes]:
    """Return a kept model and its card."""
    try:
        found = kept.read()
    except UsageError:  # incomplete or changed: not what is delivered now
        return b"", b""
    return found.model, found.card


@contextmanager
def _faults(home: Home) -> Iterator[None]:
    """Turn what disk and home say into what a custodian can answer."""
    try:
        yield
    except OSError as error:
        raise LedgerError(
            f"expected to write into {home.path}, found: {error.strerror or error}; free some "
            "space or give this user access, then repeat"
        ) from error
    except UsageError as error:
        raise LedgerError(str(error)) from error
    except PackageError as error:  # taken off the policy's list after the approval
        raise PolicyRefusal(RefusalCode.UNKNOWN_STUDY, str(error)) from error
