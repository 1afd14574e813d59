"""In whose company a sum may leave: by known keys, and by epsilon without masks.

Asked at a run's opening, with its real participants, before any key is agreed
(docs/protocol.md, "Who vouches for keys").
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from fieldfare.shared.errors import AccountingError, PolicyRefusal, RefusalCode
from fieldfare.shared.protocol.comparison import Company
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.protocol.prospects import MASKS_FAIL_FACTOR, most_together, together_line
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.terminal.texts import listed

_NAMED: Final = 5


@dataclass(frozen=True)
class CompanyRules:
    """What an institution asks of those with whom it begins a run."""

    company: Company

    def check(self, roster: Roster, participants: Collection[str], *, own: str, plan: Plan) -> None:
        """Let a run begin whose participants are known, and which even failed masks would bound.

        *Formal Guarantees.* Among the participants that this institution has not verified may be
        only the coordinator. They count as colluders, so that `minimum_tolerance` others may
        collude beside them within the study's t; with all masks lost, the own noise alone leaves at
        most the limit.

        *Edge cases.*
            | input | answer |
            |---|---|
            | t = 1, one key not verified | refused |
            | more participants than the limit bears | refused, whoever they are |
            | no claim without masks | refused |

        Raises:
            PolicyRefusal: UNVERIFIED_KEYS or MASKS_TOO_WEAK; both depend on the roster, the study
                and people's decisions alone.
        """
        company, tolerance = self.company, plan.study.privacy.collusion_tolerance
        unknown = company.unverified(roster, participants, own, tolerance)
        if len(unknown) + company.minimum_tolerance > tolerance:
            raise PolicyRefusal(
                RefusalCode.UNVERIFIED_KEYS,
                f"expected at most {max(tolerance - company.minimum_tolerance, 0)} participants "
                f"with keys that were not compared here, found {len(unknown)}"
                f"{': ' + listed(unknown, _NAMED) if unknown else ''}; each counts as one of the "
                f"{tolerance} that may collude: compare with fieldfare institution roster compare",
            )
        limit = masks_fail_limit(company.epsilon_if_masks_fail, plan)
        remaining = _remaining(plan, len(participants))
        if not remaining <= limit:
            raise PolicyRefusal(
                RefusalCode.MASKS_TOO_WEAK,
                f"expected at most epsilon {limit:.3g} if every mask failed, found {remaining:.3g} "
                f"with {len(participants)} participants: use fewer, or a study with a larger t",
            )


def masks_fail_limit(own: float | None, plan: Plan) -> float:
    """Return the most epsilon that may remain if every mask failed, at the study's delta."""
    return MASKS_FAIL_FACTOR * plan.study.privacy.epsilon if own is None else own


def company_cautions(company: Company, roster: Roster, *, own: str, plan: Plan) -> tuple[str, ...]:
    """Return the obstacles to a run with the whole roster, one line each."""
    found, tolerance = [], plan.study.privacy.collusion_tolerance
    unknown = company.unverified(roster, roster.ids, own, tolerance)
    if len(unknown) + company.minimum_tolerance > tolerance:
        found.append(
            f"no run begins with {listed(unknown, _NAMED)}: nobody here compared their keys, and "
            f"each counts as one of t = {tolerance}, which leaves room for "
            f"{max(tolerance - company.minimum_tolerance, 0)}: fieldfare institution roster compare"
        )
    limit = masks_fail_limit(company.epsilon_if_masks_fail, plan)
    if most_together(plan, limit) < len(roster.members):
        found.append(
            f"no run begins with all {len(roster.members)} of the roster: "
            + together_line(plan, limit)
        )
    return tuple(found)


def _remaining(plan: Plan, participants: int) -> float:
    try:
        return plan.epsilon_if_masks_fail(participants)
    except AccountingError:
        return float("inf")
