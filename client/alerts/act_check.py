"""May a person act on an alert as it stands, and if not, why?

Who acts says how much of the history was seen. Where somebody else acted since, the second person
is told what, and nothing happens: a decision is made on an alert as it is. Every act has a key of
its own, so that a form sent twice, or again after a crash, does nothing twice.
"""

from dataclasses import dataclass
from typing import Final

from fieldfare.client.alerts.acts import CaseAct, CaseActKind, History, holder_of, may_undo
from fieldfare.client.alerts.feedback import Disposition, Feedback, PartyRole
from fieldfare.client.alerts.store import AlertStore, StoredAlert
from fieldfare.shared.features.media_gate import prose_problem

MOST_NOTE: Final = 4000  # characters
VICTIM_WORDS: Final = (
    "A possible victim is never the subject of a report: what is known of this person belongs into "
    "its narrative. A draft marks this person as protected and not suspected; name the suspected "
    "parties apart."
)
"""Said beside the choice of a role, before a draft's first field, and at its check."""


@dataclass(frozen=True)
class ActOutcome:
    """What became of an act.

    Attributes:
        problem: why it was not done; empty: it was.
        repeated: an act with this key was done before; nothing happened now.
        since: what others did since the person looked, where that is the problem.
    """

    problem: str = ""
    repeated: bool = False
    since: History = ()


def judge_act(
    store: AlertStore, kept: StoredAlert, one: Feedback | CaseAct, seen: int | None
) -> ActOutcome:
    """Return whether an act may be done; the store must be held from here to its end.

    Args:
        store: of the alert.
        kept: the alert as it is.
        one: the act.
        seen: how many acts the person saw; None: whoever types a command looks at it as it is.
    """
    if store.knows(one.key, one.user):
        return ActOutcome(repeated=True)
    if seen is not None and seen != kept.version:
        since = kept.history[seen:] if seen < kept.version else kept.history
        return ActOutcome(_describe_change(since), since=since)
    problem = note_problem(one.note)
    if isinstance(one, CaseAct):
        return ActOutcome(problem or _act_problem(kept, one))
    return ActOutcome(problem or ("" if seen is None else _decision_problem(kept, one)))


def note_problem(note: str) -> str:
    """Return why a text may not stand beside an alert; empty: it may (harm rule 6)."""
    if len(note) > MOST_NOTE:
        return f"note: expected at most {MOST_NOTE} characters, found more"
    problem = prose_problem(note)
    return f"note: expected words, {problem}; keep it where it came from" if problem else ""


def _describe_change(since: History) -> str:
    who = ", ".join(dict.fromkeys(one.user for one in since)) or "somebody"
    return (
        f"expected the alert as you saw it, found that {who} acted on it since: read what changed, "
        "then do it again if it still stands"
    )


def _act_problem(kept: StoredAlert, one: CaseAct) -> str:
    match one.kind:
        case CaseActKind.UNDO if not may_undo(kept.decisions, one.user, one.time):
            return (
                "expected your own last decision of today to undo, found another one or none: "
                "decide anew, and say why"
            )
        case CaseActKind.RELEASE if holder_of(kept.history) != one.user:
            return "expected an alert that you took, found one that you did not take"
        case CaseActKind.COMMENT if not one.note.strip():
            return "note: expected words, found none"
    return ""


def _decision_problem(kept: StoredAlert, one: Feedback) -> str:
    last = kept.decisions[-1] if kept.decisions else None
    again = last is not None and last.user == one.user and last.disposition is one.disposition
    if one.disposition is Disposition.FILE and again and kept.status.state == "second_review":
        return "expected a second person to sign the filing, found the first person again"
    if one.disposition is Disposition.FILE and one.party_role is PartyRole.UNKNOWN:
        return (
            "party role: expected who this is before it is filed, found unknown: a possible "
            "victim must not become a subject"
        )
    return ""
