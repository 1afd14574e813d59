"""From a run's transcript to the facts of a pack: what whoever has the file can recompute."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from fieldfare.shared.audit.audit import AuditReport, audit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.audit.verdict import AuditVerdict, verdict_of
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.evidence.facts import EvidenceFacts, MakerRole, SoftwareFacts
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.transcript import merkle
from fieldfare.shared.transcript.file import TranscriptFile, read_transcript
from fieldfare.shared.transcript.leaves import LeafKind


@dataclass(frozen=True)
class RecomputedRun:
    """A run as its transcript holds it, verified from its first line to its last.

    Attributes:
        run: its id.
        plan: of its study.
        roster: that it ran under, and the signed file.
        report: of the audit, without a misfit.
        verdict: of the audit.
        root: of the log, hex.
    """

    run: str
    plan: Plan
    roster: Roster
    signed_roster: bytes
    signed_study: bytes
    report: AuditReport
    verdict: AuditVerdict
    root: str

    @property
    def spent_by(self) -> Mapping[str, int]:
        """What each institution spent in the run, in 1e-12 mu^2."""
        return {name: one.spent.debits for name, one in self.report.institutions.items()}

    @property
    def asked_by(self) -> Mapping[str, int]:
        """The same, had each debited every attempt that opened: answers may be lost on the way."""
        return {name: one.spent.asked.total for name, one in self.report.institutions.items()}

    @property
    def releases_by(self) -> Mapping[str, int]:
        """How many releases of each are in the run; a repeat of the same bytes counts once."""
        return {name: one.spent.releases for name, one in self.report.institutions.items()}

    @property
    def papers(self) -> dict[str, bytes]:
        """The signed roster and study, as they stand in the log."""
        return {"roster.signed": self.signed_roster, "study.signed": self.signed_study}


def recomputed_run(file: BinaryIO, trust: Trust) -> RecomputedRun:
    """Audit a transcript for a pack.

    Args:
        file: the transcript, at its start; seekable.
        trust: what is known of the coordinator.

    Raises:
        ProtocolError: something in it does not fit, or no run was opened: no pack is made of that.
    """
    report = audit(file, trust)
    if report.misfit is not None:
        raise ProtocolError(
            f"expected a transcript that fits, found at {report.misfit.place}: "
            f"{report.misfit.reason}"
        )
    if report.header is None or report.plan is None or report.roster is None:
        raise ProtocolError("expected a transcript of a run that was opened, found none")
    if not report.participants:
        raise ProtocolError("expected a run that institutions opened, found none that did")
    file.seek(0)
    read = read_transcript(file)
    return RecomputedRun(
        run=report.header.run,
        plan=report.plan,
        roster=report.roster,
        signed_roster=_first(read, LeafKind.ROSTER),
        signed_study=_first(read, LeafKind.STUDY),
        report=report,
        verdict=verdict_of(report),
        root=merkle.root([leaf.hash for leaf in read.leaves]).hex(),
    )


def _first(read: TranscriptFile, kind: LeafKind) -> bytes:
    return next(leaf.content for leaf in read.leaves if leaf.kind is kind)


def auditors_facts(
    found: RecomputedRun, digest: str, software: SoftwareFacts, made: datetime
) -> EvidenceFacts:
    """Return the facts that the transcript alone shows.

    Args:
        found: the run.
        digest: SHA-256 of the transcript's file, hex.
        software: that recomputed it.
        made: the present, with a time zone.
    """
    return EvidenceFacts(
        role=MakerRole.AUDITOR,
        maker=MakerRole.AUDITOR.value,
        made=made,
        plan=found.plan,
        roster=found.roster,
        software=software,
        run=found.run,
        participants=found.report.participants,
        report=found.report,
        verdict=found.verdict,
        root=found.root,
        transcript=digest,
        spent=max(found.asked_by.values(), default=0),
        spent_by=found.spent_by,
        asked_by=found.asked_by,
        releases_by=found.releases_by,
        papers=found.papers,
    )
