"""The first opening of a run, checked from its transcript: study, approvals, participants and keys.

Takes the first leaves of a transcript in order and can only go forward: leaves that were taken are
verified, and all later ones are checked against them.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from fieldfare.shared.errors import AccountingError, PackageError, ProtocolError, StudyError
from fieldfare.shared.models import check_module
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import Approval, open_envelope
from fieldfare.shared.protocol.plan import Plan, plan_for
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.protocol.signed_files import open_roster, open_study
from fieldfare.shared.run.openings import RunOpenings
from fieldfare.shared.run.request_check import AgreedRun
from fieldfare.shared.run.state import RunState
from fieldfare.shared.study.study import Study
from fieldfare.shared.transcript.file import expect
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

T = TypeVar("T")


@dataclass(frozen=True)
class Trust:
    """The auditor's own inputs; everything else is checked against it.

    Attributes:
        roster_key: the coordinator's roster key, public, hex, compared out of band; it signed the
            roster, which names the key that signed the run.
        roster: the roster that the auditor pinned, if any: then no other will do.
    """

    roster_key: str
    roster: Roster | None = None

    @classmethod
    def in_roster(cls, content: bytes) -> "Trust":
        """Trust a signed roster that the auditor knows to be right, and so its roster key.

        Raises:
            ProtocolError: no roster that its own roster key signed.
        """
        try:
            key = json.loads(json.loads(content)["body"]["roster"])["roster_key"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ProtocolError("expected a signed roster") from None
        if not isinstance(key, str) or re.fullmatch(r"[0-9a-f]{64}", key) is None:
            raise ProtocolError("expected a roster with the coordinator's roster key")
        return cls(key, open_roster(content, key))


class OpeningAudit:
    """Takes ROSTER, STUDY, APPROVALs, HELLOs, OPENING and OFFERs, in this order."""

    def __init__(self, trust: Trust, study: str, run: str) -> None:
        """Expect the run that the transcript says it is of."""
        self._trust = trust
        self._study_id = study
        self._run = run
        self.approvals: dict[str, Approval] = {}
        self.institution: str | None = None  # whose leaf is being looked at
        self.roster: Roster | None = None
        self.study: Study | None = None
        self.plan: Plan | None = None
        self.openings: RunOpenings | None = None
        self.opened: RunState | None = None
        self._takers: Mapping[LeafKind, Callable[[bytes], None]] = {
            LeafKind.ROSTER: self._take_roster,
            LeafKind.STUDY: self._take_study,
            LeafKind.APPROVAL: self._take_approval,
        }

    @property
    def allowed(self) -> frozenset[LeafKind]:
        """The kinds of which the next leaf must be, but for END; none once the run is open."""
        if self.roster is None:
            return frozenset({LeafKind.ROSTER})
        if self.study is None:
            return frozenset({LeafKind.STUDY})
        if self.openings is None:
            return frozenset({LeafKind.APPROVAL, LeafKind.HELLO})
        return self.openings.allowed if self.opened is None else frozenset()

    @property
    def participants(self) -> tuple[str, ...]:
        """Who takes part, as the newest opening says."""
        opening = self.openings and (self.openings.sent or self.openings.agreed)
        return tuple(named.institution for named in opening.participants) if opening else ()

    def take(self, kind: LeafKind, content: bytes) -> None:
        """Verify one leaf of an allowed kind.

        Raises:
            ProtocolError: the first thing that does not fit.
        """
        self.institution = None
        take = self._takers.get(kind)
        if take is not None:
            take(content)
        else:
            self._take_opening(Leaf(kind, content))

    def interrupted(self) -> None:
        """Begin again after an END: all approvals, or the opening, come once more."""
        if self.openings is None:
            self.approvals = {}
        else:
            self.openings = self.openings.interrupted()

    def _take_roster(self, content: bytes) -> None:
        roster = open_roster(content, self._trust.roster_key)
        pinned = self._trust.roster
        if pinned is not None and roster != pinned:
            raise ProtocolError(
                f"expected the given roster, version {pinned.version}, found version "
                f"{roster.version} ({roster.hash}): give the roster of that time"
            )
        keyless = [member.id for member in roster.members if not member.key]
        if keyless:
            raise ProtocolError(f"expected a key for every member, found none for {keyless[0]}")
        self.roster = roster

    def _take_study(self, content: bytes) -> None:
        roster = _known(self.roster)
        study = open_study(content, roster, Protection.EXACT)
        found = study.id
        if found != self._study_id:
            raise ProtocolError(f"expected study {self._study_id}, found study {found}")
        if study.privacy.multiplicity != roster.multiplicity:
            raise ProtocolError(
                f"expected the roster's multiplicity {roster.multiplicity}, found "
                f"{study.privacy.multiplicity} in the study"
            )
        try:
            self.plan = plan_for(study)
            check_module(study)
        except PackageError:  # the auditor's own machine: no fault of the transcript
            raise
        except (StudyError, AccountingError) as error:
            raise ProtocolError(f"expected a study with a plan: {error}") from None
        self.study = study

    def _take_approval(self, content: bytes) -> None:
        roster = _known(self.roster)
        opened = open_envelope(content, Approval, roster, Protection.EXACT)
        approval, self.institution = opened.body, opened.body.institution
        expect("a signature by the approval's institution", approval.institution, opened.signer)
        expect("an approval of the study", self._study_id, approval.study)
        expect("an approval under the roster", roster.hash, approval.roster)
        _expect_after(approval.institution, list(self.approvals))
        self.approvals[approval.institution] = approval

    def _take_opening(self, leaf: Leaf) -> None:
        roster, plan = _known(self.roster), _known(self.plan)
        self.openings = (self.openings or self._approved(roster, plan)).after(leaf)
        opening = self.openings.agreed
        if opening is not None:
            run = AgreedRun(plan=plan, roster_hash=roster.hash, opening=opening)
            self.opened = RunState.begin(run, roster, openings=self.openings)

    def _approved(self, roster: Roster, plan: Plan) -> RunOpenings:
        return RunOpenings(
            study=self._study_id,
            run=self._run,
            roster=roster,
            protection=Protection.EXACT,
            least=plan.study.aggregation.minimum_institutions,
            approvals={name: approval.hash for name, approval in self.approvals.items()},
        )


def _known(value: T | None) -> T:
    if value is None:
        raise ProtocolError("expected leaves in the transcript's order")
    return value


def _expect_after(institution: str, before: list[str]) -> None:
    if before and institution <= before[-1]:
        raise ProtocolError(
            f"expected institutions in order, found {institution} after {before[-1]}"
        )
