"""An institution's check of a transcript: the audit, its own replies, and its own model."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from fieldfare.client.institution.building import Institution
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.kept_models import KeptModel, kept_model
from fieldfare.client.institution.keys import public_identity
from fieldfare.client.institution.model_standing import note_recomputed
from fieldfare.client.institution.own_replies import (
    OwnReplies,
    RecordedReply,
    check_own_key,
    compare_replies,
)
from fieldfare.client.ledger import Ledger
from fieldfare.shared.audit import AuditReport, audit
from fieldfare.shared.audit_opening import Trust
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.misfit import MisfitError
from fieldfare.shared.roster import Roster
from fieldfare.shared.transcript_file import Header, TranscriptFile, read_transcript


@dataclass(frozen=True, kw_only=True)
class TranscriptCheck:
    """A transcript that fits.

    Attributes:
        header: its study and run.
        report: what the audit verified.
        own: what was found of this institution's replies.
        cosigned: leaves that this institution co-signed; 0 for none.
        model: the delivered model that it was compared with, if one is here.
        roster_version: of the roster that the run ran under.
    """

    header: Header
    report: AuditReport
    own: OwnReplies
    cosigned: int
    model: KeptModel | None
    roster_version: int


def check_transcript(
    institution: Institution, ledger: Ledger, file: BinaryIO, now: datetime
) -> TranscriptCheck:
    """Verify a transcript, and write down beside a delivered model that it was recomputed.

    Args:
        institution: this one.
        ledger: its own.
        file: the transcript, at its start; seekable.
        now: the present in UTC.

    Raises:
        MisfitError: the first thing that does not fit.
        ProtocolError: a roster with a key that is not this institution's, or other than the
            pinned one of the same version; or a delivered model that is not the transcript's.
        UsageError: a delivered model whose files are gone.
        LedgerError: the ledger cannot be read.
        OSError: the file cannot be read, or the home not be written.
    """
    report = audit(file, Trust(institution.coordinator))
    if report.misfit is not None:
        raise MisfitError(report.misfit)
    file.seek(0)
    transcript = read_transcript(file)
    roster = _known_roster(institution, report.roster)
    own_id = institution.settings.id
    header = transcript.header
    own = compare_replies(
        transcript.leaves,
        roster,
        own_id,
        recorded_replies(ledger, header.study, header.run),
        ledger.position().epoch,
    )
    return TranscriptCheck(
        header=header,
        report=report,
        own=own,
        cosigned=report.cosigned.get(own_id, 0),
        model=_compare_model(institution, transcript, report, now),
        roster_version=roster.version,
    )


def recorded_replies(ledger: Ledger, study: str, run: str) -> dict[str, RecordedReply]:
    """Return what the ledger holds of a run's replies, by the request's hash.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    found = {}
    for entry in ledger.entries():
        if (entry.debit.study, entry.debit.run) == (study, run):
            stored = ledger.stored(entry.debit.request)
            if stored is not None:
                found[entry.debit.request] = RecordedReply(entry, stored)
    return found


def own_keys(home: Home) -> Iterable[str]:
    """Return the identity's public keys, hex: the present one and those that it replaced."""
    yield public_identity(home)
    for path in home.rotations.glob("*.sealed"):
        yield path.stem


def _known_roster(institution: Institution, roster: Roster | None) -> Roster:
    """Return the transcript's roster, if this institution can have agreed to it.

    A run names the roster that it ran under, and a newer one may be pinned since. That it was
    pinned here once follows from this institution's signature on the approval under it.
    """
    if roster is None:
        raise ProtocolError("expected a transcript with a roster, found one without")
    pinned = institution.roster
    if roster.version >= pinned.version and roster != pinned:
        raise ProtocolError(
            f"expected the pinned roster (version {pinned.version}) or an earlier one, found "
            f"another of version {roster.version}: accept the newest roster first, if it is newer"
        )
    check_own_key(roster, institution.settings.id, own_keys(institution.home))
    return roster


def _compare_model(
    institution: Institution, transcript: TranscriptFile, report: AuditReport, now: datetime
) -> KeptModel | None:
    header = transcript.header
    kept = kept_model(institution.home, header.study, header.run)
    if kept is None or not report.model:
        return None
    delivered = kept.read().open(institution.roster).model
    if delivered != report.model:
        raise ProtocolError(
            f"{kept.folder}: expected the transcript's model {report.model[:16]}, found "
            f"{delivered[:16]}: do not use it; ask the coordinator which of the two is the run's"
        )
    if not report.purged:
        head = bytes_hash(transcript.head)
        note_recomputed(kept, model=report.model, leaves=report.leaves, head=head, now=now)
    return kept
