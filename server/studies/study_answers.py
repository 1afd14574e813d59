"""What institutions say to a study; an approval counts only if it still verifies."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fieldfare.server.store.rows import ApprovalRow
from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import Approval, Rejection, open_envelope
from fieldfare.shared.protocol.roster import Roster

UNHEARD: Final = "not heard yet"
APPROVED: Final = "approved"
PENDING: Final = "has it, not approved yet"  # a study that is not approved is not known there
OUTDATED: Final = "approved under an older roster: has to approve again"
ELSEWHERE: Final = "an approval of another study"
OFF_ROSTER: Final = "not on the roster"


@dataclass(frozen=True)
class StudyAnswer:
    """An institution's answer to a study.

    Attributes:
        text: in words.
        approval: hash of an approval that counts under the present roster, hex; or nothing.
        at: when it was last heard; None if never.
        no: whether a person there rejected it.
    """

    text: str
    approval: str
    at: datetime | None
    no: bool = False


def heard_of(
    roster: Roster | None, study: str, rows: Mapping[str, ApprovalRow]
) -> dict[str, StudyAnswer]:
    """Return what every institution of the roster, and others that were heard, say to a study.

    Args:
        roster: the published one; without one, no approval counts.
        study: the study's id.
        rows: what the run store holds.
    """
    members = roster.ids if roster else ()
    names = sorted({*members, *rows})
    return {name: _heard(roster, study, name, rows.get(name)) for name in names}


def given(heard: Mapping[str, StudyAnswer]) -> int:
    """Return how many approvals count."""
    return sum(bool(said.approval) for said in heard.values())


def _said_no(roster: Roster, study: str, name: str, row: ApprovalRow) -> StudyAnswer | None:
    """Return what an institution's own signed rejection says; None where it is none of its own."""
    try:
        opened = open_envelope(row.envelope, Rejection, roster, Protection.EXACT)
    except ProtocolError:
        return None
    if (opened.signer, opened.body.institution, opened.body.study) != (name, name, study):
        return None
    return StudyAnswer(opened.body.text, "", row.at, no=True)


def _heard(roster: Roster | None, study: str, name: str, row: ApprovalRow | None) -> StudyAnswer:
    if row is None:
        return StudyAnswer(UNHEARD, "", None)
    if roster is None or name not in roster.ids:
        return StudyAnswer(OFF_ROSTER, "", row.at)
    if not row.envelope:
        text = PENDING if RefusalCode.UNKNOWN_STUDY.value in row.text else row.text
        return StudyAnswer(text, "", row.at)
    try:
        opened = open_envelope(row.envelope, Approval, roster, Protection.EXACT)
    except ProtocolError:  # its key is another one now, or it is no approval
        return _said_no(roster, study, name, row) or StudyAnswer(OUTDATED, "", row.at)
    approval = opened.body
    if (opened.signer, approval.institution, approval.study) != (name, name, study):
        text, counted = ELSEWHERE, ""
    elif approval.roster != roster.hash:
        text, counted = OUTDATED, ""
    else:
        text, counted = APPROVED, approval.hash
    return StudyAnswer(text, counted, row.at)
