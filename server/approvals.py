"""The institutions' approvals of a study; an approval counts only if it still verifies."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fieldfare.server.run_view import UNHEARD
from fieldfare.server.store import ApprovalRow
from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.messages import Approval, Assurance, Rejection, unseal
from fieldfare.shared.plan import Plan
from fieldfare.shared.prospects import budget_obstacle, obstacles
from fieldfare.shared.roster import Roster

APPROVED: Final = "approved"
PENDING: Final = "has it, not approved yet"  # a study that is not approved is not known there
OUTDATED: Final = "approved under an older roster: has to approve again"
ELSEWHERE: Final = "an approval of something else"
OFF_ROSTER: Final = "not on the roster"


@dataclass(frozen=True)
class Heard:
    """What an institution says to a study.

    Attributes:
        text: in words.
        approval: hash of an approval that counts under the present roster, hex; or nothing.
        at: when it was last heard; None if never.
        no: whether a person there said no.
    """

    text: str
    approval: str
    at: datetime | None
    no: bool = False


def heard_of(
    roster: Roster | None, study: str, rows: Mapping[str, ApprovalRow]
) -> dict[str, Heard]:
    """Return what every institution of the roster, and others that were heard, say to a study.

    Args:
        roster: the published one; without one, nobody's approval counts.
        study: the study's id.
        rows: what the run store holds.
    """
    members = roster.ids if roster else ()
    names = sorted({*members, *rows})
    return {name: _heard(roster, study, name, rows.get(name)) for name in names}


def given(heard: Mapping[str, Heard]) -> int:
    """Return how many approvals count."""
    return sum(bool(said.approval) for said in heard.values())


def start_obstacles(plan: Plan, heard: Mapping[str, Heard], spent: int) -> tuple[str, ...]:
    """Return why a run that is started now could not finish, or not give anything; one line each.

    Args:
        plan: of the study.
        heard: what the institutions say to it.
        spent: by earlier runs of the study, in 1e-12 mu^2.
    """
    least, approved = plan.study.aggregation.minimum_institutions, given(heard)
    found = list(obstacles(plan, max(approved, least)))
    if left := budget_obstacle(plan, spent):
        found.append(left)
    if approved < least:
        others = "; ".join(f"{name}: {one.text}" for name, one in heard.items() if not one.approval)
        found.append(
            f"approvals: expected {least} or more that count, found {approved} ({others or '-'})"
        )
    return tuple(found)


def _said_no(roster: Roster, study: str, name: str, row: ApprovalRow) -> Heard | None:
    """Return what an institution's own signed rejection says; None where it is none of its own."""
    try:
        opened = unseal(row.envelope, Rejection, roster, Assurance.EXACT)
    except ProtocolError:
        return None
    if (opened.signer, opened.body.institution, opened.body.study) != (name, name, study):
        return None
    return Heard(opened.body.text, "", row.at, no=True)


def _heard(roster: Roster | None, study: str, name: str, row: ApprovalRow | None) -> Heard:
    if row is None:
        return Heard(UNHEARD, "", None)
    if roster is None or name not in roster.ids:
        return Heard(OFF_ROSTER, "", row.at)
    if not row.envelope:
        text = PENDING if RefusalCode.UNKNOWN_STUDY.value in row.text else row.text
        return Heard(text, "", row.at)
    try:
        opened = unseal(row.envelope, Approval, roster, Assurance.EXACT)
    except ProtocolError:  # its key is another one now, or it is no approval
        return _said_no(roster, study, name, row) or Heard(OUTDATED, "", row.at)
    approval = opened.body
    if (opened.signer, approval.institution, approval.study) != (name, name, study):
        text, counted = ELSEWHERE, ""
    elif approval.roster != roster.hash:
        text, counted = OUTDATED, ""
    else:
        text, counted = APPROVED, approval.hash
    return Heard(text, counted, row.at)
