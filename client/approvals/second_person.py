"""Whether a study needs a second person's approval, and the first of the two."""

from typing import Final

from fieldfare.client.home.studies import StudyDecision, deciding, read_decision, write_decision
from fieldfare.client.institution.institution import Institution
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal

DECISIONS: Final = (
    Event.FIRST_YES,
    Event.POLICY,
    Event.APPROVAL,
    Event.REJECTION,
    Event.WITHDRAWAL,
)


def asks_for_another(institution: Institution, decision: StudyDecision, user: str) -> bool:
    """Tell whether an approval of this person needs another person's before it counts."""
    said = decision.first if decision.first_roster == institution.roster.hash else ""
    return institution.policy.approvals.by_two and said.casefold() in {"", user.casefold()}


def note_first_approval(
    institution: Institution, journal: Journal, study: str, user: str, asked: str = ""
) -> StudyDecision:
    """Keep the first of two approvals that a study needs; nothing runs by it.

    Raises:
        LedgerError: the log cannot be written; nothing is kept then.
    """
    with deciding(institution.home):
        before = read_decision(institution.home, study)
        said = {"study": study, "user": user} | ({"kind": asked} if asked else {})
        since = () if before.first else DECISIONS  # whose line no decision follows was interrupted
        journal.append_once(Event.FIRST_YES, user, since, **said)
        decision = before.model_copy(
            update={"first": user, "first_roster": institution.roster.hash, "asked": asked}
        )
        write_decision(institution.home, decision)
    return decision
