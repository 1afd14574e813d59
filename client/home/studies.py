"""An institution's copy of each study that arrived: the signed offer and its decision.

Two files for each study, named by its id: the offer as it came, and a small JSON file with
who decided what and when. A custodian loads a study only where that file says `approved`.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.client.home.layout import Home
from fieldfare.client.home.roster import KnownSigners
from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import Verifier
from fieldfare.shared.protocol.roster import Hex32, Roster
from fieldfare.shared.protocol.signed_files import EarlierStudyError, open_study, read_signed
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.private_files import folder_lock, replace_private
from fieldfare.shared.terminal.texts import SHORT

LEAST_PREFIX: Final = 4
MAX_DECISION_BYTES: Final = 64 * 1024
WAIT: Final = 5.0  # seconds

_PREFIX: Final = re.compile(r"[0-9a-f]{4,64}")

Line = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]


class State(Enum):
    """A study's state at this institution."""

    RECEIVED = "received"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class RejectionDisclosure(Enum):
    """The form in which the coordinator learns of a rejection."""

    NOTHING = "nothing"  # also of decisions from before this could be chosen
    DECISION = "decision"
    REASON = "reason"


class StudyDecision(BaseModel):
    """The decision about one study.

    Attributes:
        received: when it first arrived (ISO 8601, UTC); empty where that is not known.
        user: the OS user who decided last; empty before the first decision.
        time: when.
        asked: where it was made, or one of two approvals, if not on the terminal; for notices.
        reason: of a rejection.
        told: what of it the coordinator may know.
        approval: hash of the signed approval.
        roster, epoch: under which the approval was given; under others it counts no more.
        first, first_roster: who approved first where the policy asks for two, under which roster;
            the decision stands as it was until another person does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    study: Hex32
    state: State = Field(default=State.RECEIVED, strict=False)
    received: Line = ""
    user: Line = ""
    time: Line = ""
    asked: Line = ""
    reason: Line = ""
    told: RejectionDisclosure = Field(default=RejectionDisclosure.NOTHING, strict=False)
    approval: Hex32 | Literal[""] = ""
    roster: Hex32 | Literal[""] = ""
    epoch: int = Field(default=0, ge=0, lt=2**53)
    first: Line = ""
    first_roster: Hex32 | Literal[""] = ""


@dataclass(frozen=True)
class KeptStudy:
    """A study that arrived, its offer as it came, and the decision."""

    study: Study
    offer: bytes
    decision: StudyDecision

    @property
    def short(self) -> str:
        """The id as it is shown."""
        return self.study.id[:SHORT]


def offered_study(content: bytes, name: str, roster: Verifier) -> Study:
    """Read a study that was sent, against the pinned roster.

    Raises:
        UsageError: not signed by the coordinator, or no valid study; `name` begins the message.
    """
    try:
        return open_study(content, roster, Protection.EXACT)
    except ProtocolError as error:
        raise UsageError(f"{name}: {error}") from None


def keep_study(home: Home, study: Study, content: bytes, received: datetime) -> None:
    """Keep a study that arrived; an offer that is here already keeps its decision.

    Raises:
        OSError: the disk refuses it.
    """
    replace_private(home.study(study.id), content)
    if not _decision_path(home, study.id).exists():
        write_decision(home, StudyDecision(study=study.id, received=stamp(received)))


def write_decision(home: Home, decision: StudyDecision) -> None:
    """Keep a decision; after a crash the old or the new one stands.

    Raises:
        OSError: the disk refuses it.
    """
    replace_private(_decision_path(home, decision.study), canonical_bytes(decision))


def read_decision(home: Home, study: str) -> StudyDecision:
    """Return the decision; a study without a file is only received.

    Raises:
        UsageError: a file that this program did not write.
    """
    path = _decision_path(home, study)
    if not path.exists():
        return StudyDecision(study=study)
    try:
        with path.open("rb") as file:
            found = StudyDecision.model_validate(json.loads(file.read(MAX_DECISION_BYTES)))
    except (ValidationError, ValueError, RecursionError):
        found = None
    if found is None or found.study != study:
        raise UsageError(
            f"{path}: expected this study's decision, found something else: move the file away and "
            "decide again"
        )
    return found


def kept_study(home: Home, study: str, roster: Roster) -> KeptStudy:
    """Return one study that arrived.

    Raises:
        UsageError: unknown, or its offer was never signed by the pinned coordinator.
    """
    path = home.study(study)
    if not path.is_file():
        raise UsageError(f"{study[:SHORT]}: expected a study that arrived here, found none")
    content = read_signed(path)
    try:
        opened = offered_study(content, str(path), KnownSigners.of(home, roster))
    except UsageError as error:
        raise UsageError(f"{error}; receive it again, or move the file away") from None
    if opened.id != study:
        raise UsageError(f"{path}: expected the study of that id, found another: receive it again")
    return KeptStudy(opened, content, read_decision(home, study))


def kept_ids(home: Home) -> tuple[str, ...]:
    """Return the ids of all studies that arrived, sorted."""
    paths = sorted(home.studies.glob("*.signed"))
    return tuple(path.stem for path in paths if re.fullmatch(r"[0-9a-f]{64}", path.stem))


def kept_studies(home: Home, roster: Roster) -> tuple[KeptStudy, ...]:
    """Return all studies that arrived, oldest first, but those of an earlier version.

    Raises:
        UsageError: as `kept_study`.
    """
    earlier = earlier_studies(home, roster)
    kept = [kept_study(home, study, roster) for study in kept_ids(home) if study not in earlier]
    return tuple(sorted(kept, key=lambda one: (one.decision.received, one.study.id)))


def earlier_studies(home: Home, roster: Roster) -> dict[str, str]:
    """Return why no run of a study goes on, by id: those that an earlier version was offered.

    Raises:
        UsageError: an offer cannot be read.
    """
    found, signers = dict[str, str](), KnownSigners.of(home, roster)
    for study in kept_ids(home):
        try:
            open_study(read_signed(home.study(study)), signers, Protection.EXACT)
        except EarlierStudyError as error:
            found[study] = str(error)
        except ProtocolError:
            continue  # who asks for it is told
    return found


def find_id(home: Home, text: str) -> str:
    """Return the id that a person means by its first digits.

    Raises:
        UsageError: none or several fit.
    """
    if not _PREFIX.fullmatch(text):
        raise UsageError(
            f"STUDY: expected {LEAST_PREFIX} or more of an id's hexadecimal digits, found "
            f"{_shown(text)}: see `fieldfare institution studies`"
        )
    found = [study for study in kept_ids(home) if study.startswith(text)]
    if len(found) != 1:
        raise UsageError(
            f"STUDY: expected the digits of one study that arrived, found {_shown(text)}, which "
            f"fits {len(found) or 'none'}: see `fieldfare institution studies`"
        )
    return found[0]


@contextmanager
def deciding(home: Home, wait: float = WAIT) -> Iterator[None]:
    """Keep a second decision out while one is made: two would number two approvals alike.

    Args:
        home: whose studies are decided on.
        wait: seconds to wait for another process.

    Raises:
        UsageError: another one is still under way.
    """
    with folder_lock(home.studies, wait) as alone:
        if not alone:
            raise UsageError(
                f"{home.studies}: expected one decision at a time, found another under way: repeat"
            )
        yield


def stamp(time: datetime) -> str:
    """Write a time as decisions keep it: ISO 8601 to the second."""
    return time.isoformat(timespec="seconds")


def _decision_path(home: Home, study: str) -> Path:
    return home.study(study).with_suffix(".json")


def _shown(text: str) -> str:
    return ascii(text[:SHORT] + "..." if len(text) > 64 else text)  # noqa: PLR2004 -- an id's digits
