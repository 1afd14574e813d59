"""The closed list of the coordinator's desk: what a person at its console can want done.

Each act says what its page showed (a study's hash, a price, how a run stood) and is refused where
that is not so any more. An act that was done before is not done again: what tells it is in the
question, a study's id or a run's.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.desk.asking import DeskClient
from fieldfare.shared.desk.calls import DeskCall, DeskTerm

START: Final = "fieldfare coordinator start"
MOST_QUESTIONS_TEXT: Final = 20_000  # characters
_SOCKET: Final = "desk.sock"

StudyId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Person = Annotated[str, Field(min_length=1, max_length=64)]


class ProposeForm(DeskTerm):
    """Sign a study and send it out: its text, and the hash that the page showed."""

    text: str
    study: StudyId
    person: Person


class GreetForm(DeskTerm):
    """Ask the institutions that are online for their answers to a study."""

    study: StudyId
    person: Person


class AskForm(DeskTerm):
    """Ask questions, as TOML with `[[queries]]`, at a price in 1e-12 mu^2 that the page showed."""

    study: StudyId
    questions: Annotated[str, Field(max_length=MOST_QUESTIONS_TEXT)]
    cost: int
    run: RunId
    person: Person


class StartForm(DeskTerm):
    """Start a run of an approved study under an id that the page chose."""

    study: StudyId
    run: RunId
    person: Person


class ResumeForm(DeskTerm):
    """Carry a run on; `seen` is the SuperLink's number of its last try, as the page showed it."""

    run: RunId
    seen: int | None
    person: Person


class StopForm(DeskTerm):
    """End a run after its step; `force`: without waiting for its process."""

    run: RunId
    force: bool
    person: Person


class ActNote(StrEnum):
    """What to know of an act that was done, in words that a page shows."""

    NONE = ""
    OUT = "institutions that are online get it now, others with the next run"
    SENT = "institutions that are online got it a moment ago: ask again in some seconds"
    LATER = "the SuperLink does not answer: institutions get it with the next run, or when asked"
    NO_ROSTER = "nothing was sent, for no roster is published: fieldfare coordinator roster"
    BEFORE = "this was done before: nothing was done again"
    CARRIED_ON = "another person resumed it after this page was opened: nothing was done again"
    ENDED = "it had ended already"
    STOPPING = "it stops after its current step"
    STOPPED = "it is stopped"


class ActReceipt(DeskTerm):
    """What became of an act: of which study or run, and whether it was done now."""

    of: str
    new: bool
    note: ActNote = ActNote.NONE


PROPOSE: Final = DeskCall("propose", ProposeForm, ActReceipt)
GREET: Final = DeskCall("greet", GreetForm, ActReceipt)
ASK: Final = DeskCall("ask", AskForm, ActReceipt)
START_RUN: Final = DeskCall("start run", StartForm, ActReceipt)
RESUME_RUN: Final = DeskCall("resume run", ResumeForm, ActReceipt)
STOP_RUN: Final = DeskCall("stop run", StopForm, ActReceipt)


def desk_socket(home: CoordinatorHome) -> Path:
    """Return where a coordinator's desk listens."""
    return home.run / _SOCKET


def coordinator_desk(home: CoordinatorHome) -> DeskClient:
    """Return what asks a coordinator's desk: of the user whose folder it is."""
    return DeskClient(desk_socket(home), home.path.stat().st_uid, START)
