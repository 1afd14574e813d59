"""People's decisions about an alert, and where it stands after them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class PartyRole(StrEnum):
    """The role of a person in the suspected act. A person sets it, never the software."""

    UNKNOWN = "unknown"
    POTENTIAL_VICTIM = "potential_victim"
    CONTROLLER = "controller"
    FRONT_BUSINESS = "front_business"
    EMPLOYER = "employer"
    RECRUITER = "recruiter"
    BYSTANDER = "bystander"


class Disposition(StrEnum):
    """A person's decision."""

    BENIGN_PERSONA = "benign:known_persona"
    BENIGN_OTHER = "benign:other"
    MONITOR = "monitor"
    EDD = "edd"
    ESCALATE = "escalate"
    FILE = "file"

    @property
    def closes(self) -> bool:
        """Whether the alert is done with; the others stay in review."""
        return self in {Disposition.BENIGN_PERSONA, Disposition.BENIGN_OTHER, Disposition.FILE}

    @property
    def label(self) -> int | None:
        """The label for the next study; None while there is none."""
        if self is Disposition.FILE:
            return 1
        return 0 if self.closes else None


class Confidence(StrEnum):
    """How sure the person is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


REVIEWERS_TO_FILE = 2  # persons: one person's decision is not enough to file a report


@dataclass(frozen=True)
class Feedback:
    """One decision of one person about one alert. Nothing is ever changed or deleted.

    Attributes:
        time: when, with a time zone.
        note: free text; stays in the store.
        reviewer: whether this person's may be the second signature; in a home of one's own, those
            of every user who can open it.
        key: chosen by who asks, so that asking twice decides nothing twice; empty: none.
    """

    alert: str
    time: datetime
    user: str
    disposition: Disposition
    party_role: PartyRole
    confidence: Confidence
    note: str = ""
    reviewer: bool = True
    key: str = ""


@dataclass(frozen=True)
class AlertStatus:
    """Where an alert stands after some decisions.

    Attributes:
        state: `new`, `in_review`, `second_review` (one person would file), `closed`.
        disposition: the last one.
        party_role: the last one that a person set.
        label: 1, 0, or None while nothing is settled.
        since: when the label was settled.
    """

    state: str
    disposition: Disposition | None
    party_role: PartyRole
    label: int | None
    since: datetime | None
    confidence: Confidence = Confidence.MEDIUM


NEW = AlertStatus("new", None, PartyRole.UNKNOWN, None, None)


def alert_status(decisions: Sequence[Feedback]) -> AlertStatus:
    """Return where an alert stands after its decisions, in the order of time.

    Filing needs two different people who decided on it last, one of them with a reviewer's
    right: until then it is no label, and no report may be finished.
    """
    if not decisions:
        return NEW
    last = decisions[-1]
    disposition, role = last.disposition, last.party_role
    if disposition is Disposition.FILE:
        filing: set[str] = set()
        reviewed = False
        for one in reversed(decisions):
            if one.disposition is not Disposition.FILE:
                break
            filing.add(one.user)
            reviewed |= one.reviewer
        if len(filing) < REVIEWERS_TO_FILE or not reviewed:
            return AlertStatus("second_review", disposition, role, None, None, last.confidence)
    state = "closed" if disposition.closes else "in_review"
    since = last.time if disposition.closes else None
    return AlertStatus(state, disposition, role, disposition.label, since, last.confidence)
