"""An institution's check of a transcript: the audit, its own replies, and its own model.

The audit has verified every signature first; then the institution compares the replies with what
only it knows: what its own ledger says left.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from fieldfare.client.home.keys import public_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import (
    KeptModel,
    kept_model,
    note_cosigned,
    note_recomputed,
    read_recomputed,
    redraw_page,
)
from fieldfare.client.home.roster import OfferedRoster, online_keys, pinned_ever, two_stories
from fieldfare.client.institution.institution import Institution
from fieldfare.client.ledger.budget import LedgerEntry, StoredReply
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.oversight.stories import TwoStoriesError, check_one_story
from fieldfare.shared.audit.audit import AuditReport, audit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.audit.verdict import (
    AuditVerdict,
    RequiredCosigners,
    answerable,
    verdict_of,
)
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.finished_model.card_writing import check_card_facts
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import ReleaseKind, Reply, Request, open_envelope
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.run.card_facts import card_facts
from fieldfare.shared.transcript import merkle
from fieldfare.shared.transcript.file import (
    Header,
    Misfit,
    MisfitError,
    TranscriptFile,
    read_transcript,
)
from fieldfare.shared.transcript.heads import SeenHead
from fieldfare.shared.transcript.leaves import Leaf, LeafKind, SumRecord

FIRST_LEAF_LINE = 2


@dataclass(frozen=True)
class RecordedReply:
    """A reply that left, as the ledger holds it."""

    entry: LedgerEntry
    stored: StoredReply


@dataclass(frozen=True, kw_only=True)
class OwnReplies:
    """The result of the check.

    Attributes:
        recorded: replies that ledger and transcript both hold, byte for byte.
        rehearsals: signed replies over zeros, which no ledger records.
        lost: signed replies of an ended epoch that the restored ledger does not hold.
        unseen: entries of the ledger whose replies are not in the transcript: they came too
            late for their attempt, or were left out. No sum counts them.
    """

    recorded: int
    rehearsals: int
    lost: int
    unseen: tuple[LedgerEntry, ...]


def compare_replies(
    leaves: Sequence[Leaf],
    roster: Roster,
    institution: str,
    recorded: Mapping[str, RecordedReply],
    epoch: int,
) -> OwnReplies:
    """Compare a transcript with a ledger.

    Args:
        leaves: of an audited transcript, in order.
        roster: that it ran under.
        institution: whose replies.
        recorded: what the ledger holds of this run, by the request's hash.
        epoch: of the ledger now.

    Raises:
        MisfitError: a reply in this institution's name that its ledger does not hold or that
            is another one; or a sum that counts one that is not there.
    """
    comparison = _Comparison(roster, institution, recorded, epoch)
    for index, leaf in enumerate(leaves):
        comparison.take(index, leaf)
    return comparison.finished()


class _Comparison:
    def __init__(
        self,
        roster: Roster,
        institution: str,
        recorded: Mapping[str, RecordedReply],
        epoch: int,
    ) -> None:
        self._roster = roster
        self._institution = institution
        self._recorded = recorded
        self._epoch = epoch
        self._requests: dict[str, Request] = {}
        self._answered: set[str] = set()
        self._rehearsals = 0
        self._lost = 0

    def take(self, index: int, leaf: Leaf) -> None:
        """Take one leaf of the log, in order."""
        if leaf.kind is LeafKind.REQUEST:
            request = open_envelope(leaf.content, Request, self._roster, Protection.EXACT).body
            self._requests[request.hash] = request
        elif leaf.kind is LeafKind.REPLY:
            opened = open_envelope(leaf.content, Reply, self._roster, Protection.EXACT)
            if self._institution in {opened.signer, opened.body.institution}:
                self._take_reply(index, opened.body, leaf.content)
        elif leaf.kind is LeafKind.SUM:
            self._take_sum(index, SumRecord.from_bytes(leaf.content))

    def _take_reply(self, index: int, reply: Reply, content: bytes) -> None:
        request = self._requests.get(reply.request)
        again = reply.request in self._answered  # a resumed run may ask for the same bytes again
        self._answered.add(reply.request)
        if request is not None and request.kind is ReleaseKind.REHEARSAL:
            self._rehearsals += not again
            return
        own = self._recorded.get(reply.request)
        if own is None:
            if reply.epoch >= self._epoch:
                reason = (
                    "expected a reply that your ledger recorded, found one in your name that it "
                    "does not hold: another party may have your key; revoke it"
                )
                raise self._misfit(index, LeafKind.REPLY, reply.request, reason)
            self._lost += not again
        elif own.stored.reply != content:
            reason = (
                "expected the reply that you sent, found another in your name: another party "
                "may have your key; revoke it"
            )
            raise self._misfit(index, LeafKind.REPLY, reply.request, reason)

    def _take_sum(self, index: int, record: SumRecord) -> None:
        counted = self._institution in record.participants
        if counted and record.request not in self._answered:
            reason = (
                "expected a sum of replies that are in the transcript, found one that counts "
                "yours, which is not in it"
            )
            raise self._misfit(index, LeafKind.SUM, record.request, reason)

    def finished(self) -> OwnReplies:
        """Return what the log says of this institution's replies."""
        unseen = [r.entry for name, r in self._recorded.items() if name not in self._answered]
        return OwnReplies(
            recorded=len(self._recorded) - len(unseen),
            rehearsals=self._rehearsals,
            lost=self._lost,
            unseen=tuple(sorted(unseen, key=lambda entry: entry.position.sequence)),
        )

    def _misfit(self, index: int, kind: LeafKind, request: str, reason: str) -> MisfitError:
        asked = self._requests.get(request)
        return MisfitError(
            Misfit(
                line=FIRST_LEAF_LINE + index,
                leaf=index,
                kind=kind.value,
                institution=self._institution,
                step=asked.step if asked else None,
                reason=reason,
            )
        )


def check_own_key(roster: Roster, institution: str, keys: Iterable[str]) -> None:
    """Refuse a roster that has a key for this institution that it never had.

    Args:
        roster: of the transcript.
        institution: this one.
        keys: its public keys, the present one and former ones, hex.

    Raises:
        ProtocolError: not on the roster, or under a key that is none of them.
    """
    listed = {member.id: member.key for member in roster.members}
    if institution not in listed:
        raise ProtocolError(
            f"expected a transcript of a run that {institution} may take part in, found one whose "
            "roster does not name it"
        )
    if listed[institution] not in set(keys):
        raise ProtocolError(
            f"expected {institution}'s own key on the transcript's roster, found one that it never "
            "had: another party signs in your name; tell the other institutions"
        )


# -- transcript check -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TranscriptCheck:
    """A transcript that fits.

    Attributes:
        header: its study and run.
        report: what the audit verified.
        own: the check of this institution's replies.
        cosigned: leaves that this institution co-signed; 0 for none.
        model: the delivered model that it was compared with, if one is here.
        roster_version: of the roster that the run ran under.
        known: leaves of the log that this institution co-signed last; the file is its beginning
            where it has fewer.
        strangers: participants whose keys nobody here compared, where they are more than the
            study withstands: the run may be invented.
    """

    header: Header
    report: AuditReport
    own: OwnReplies
    cosigned: int
    model: KeptModel | None
    roster_version: int
    known: int = 0
    strangers: tuple[str, ...] = ()

    def verdict(self, required: RequiredCosigners) -> AuditVerdict:
        """Return the verdict; a check of less than the whole log is never clean.

        Co-signatures by keys that may be anybody's are none, however few are required.
        """
        if self.strangers:
            return AuditVerdict.NOT_COSIGNED
        found = verdict_of(self.report, required)
        if found is AuditVerdict.FITS and self.known > self.report.leaves:
            return AuditVerdict.AS_FAR_AS_KEPT
        return found


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
        TwoStoriesError: it contradicts the head that this institution co-signed.
        TwoRostersError: its roster contradicts one that was pinned here.
        MisfitError: the first thing that does not fit.
        ProtocolError: a roster with a key that is not this institution's, or one that was never
            pinned here; or a delivered model that is not the transcript's.
        UsageError: a delivered model whose files are gone.
        LedgerError: the ledger cannot be read.
        OSError: the file cannot be read, or the home not be written.
    """
    transcript = read_transcript(file)
    known = _known_head(institution, ledger, transcript)
    file.seek(0)
    report = audit(file, Trust(institution.roster_key))
    if report.misfit is not None:
        raise MisfitError(report.misfit)
    roster = _known_roster(institution, transcript, report)
    strangers = _strangers(institution, roster, report)
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
        model=_compare_model(institution, transcript, report, None if strangers else now),
        roster_version=roster.version,
        known=known,
        strangers=strangers,
    )


def _known_head(institution: Institution, ledger: Ledger, transcript: TranscriptFile) -> int:
    """Hold the file's head against the own co-signed one; returns how many leaves that has."""
    seen = SeenHead.of(transcript.head, [leaf.hash for leaf in transcript.leaves])
    try:
        keys = online_keys(institution.home, institution.roster_key)
        return check_one_story(ledger, keys, seen)
    except TwoStoriesError:
        raise
    except ProtocolError:  # no head by the coordinator: the audit names the line
        return 0


def recorded_replies(ledger: Ledger, study: str, run: str) -> dict[str, RecordedReply]:
    """Return the ledger's replies of a run, by the request's hash.

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
    for path in home.rotations.glob("*.signed"):
        yield path.stem


class TwoRostersError(ProtocolError):
    """The coordinator signed two rosters that cannot be of one history; carries both files."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Say that the transcript's is one of them."""
        self.files = tuple(files)
        super().__init__(
            "the coordinator signed two rosters that cannot both be of one history, the "
            "transcript's and one that was pinned here"
        )


def _known_roster(
    institution: Institution, transcript: TranscriptFile, report: AuditReport
) -> Roster:
    """Return the transcript's roster, if this institution agreed to it.

    A run names the roster that it ran under, and a newer one may be pinned since. That it was
    pinned here once, the files say that were kept; or this institution's own signature in the
    run's opening, which its key alone can have made.
    """
    roster = report.roster
    if roster is None:
        raise ProtocolError("expected a transcript with a roster, found one without")
    home, coordinator = institution.home, institution.roster_key
    sent = next(leaf.content for leaf in transcript.leaves if leaf.kind is LeafKind.ROSTER)
    if files := two_stories(home, OfferedRoster(roster, (), sent, "transcript"), coordinator):
        raise TwoRostersError(files)
    check_own_key(roster, institution.settings.id, own_keys(home))
    pinned = roster in [one for _, one in pinned_ever(home, coordinator)]
    if not pinned and institution.settings.id not in report.participants:
        raise ProtocolError(
            f"expected a roster that was pinned here, found another of version {roster.version}: "
            "accept the newest roster first, if it is newer"
        )
    return roster


def _strangers(institution: Institution, roster: Roster, report: AuditReport) -> tuple[str, ...]:
    """Return the participants with unknown keys, where they are too many; as at an opening."""
    if report.plan is None:
        return ()
    company, own = institution.company, institution.settings.id
    tolerance = report.plan.study.privacy.collusion_tolerance
    unknown = company.unverified(roster, report.participants, own, tolerance)
    return unknown if len(unknown) + company.minimum_tolerance > tolerance else ()


def _compare_model(
    institution: Institution, transcript: TranscriptFile, report: AuditReport, now: datetime | None
) -> KeptModel | None:
    """Compare a delivered model; with a time, it is written down that it was recomputed."""
    header = transcript.header
    kept = kept_model(institution.home, header.study, header.run)
    if kept is None or not report.model:
        return None
    delivered = kept.read().open(institution.signers_ever).model
    if delivered != report.model:
        raise ProtocolError(
            f"{kept.folder}: expected the transcript's model {report.model[:16]}, found "
            f"{delivered[:16]}: do not use it; ask the coordinator which of the two is the run's"
        )
    _compare_card(kept, transcript, report)
    if now is None or report.plan is None:
        return kept
    own, study, cosigned = institution.settings.id, report.plan.study, answerable(report)
    if not report.purged:
        note_recomputed(
            kept,
            model=report.model,
            metrics=report.measured,
            leaves=report.leaves,
            head=bytes_hash(transcript.head),
            now=now,
        )
    elif read_recomputed(kept) is not None and cosigned:
        note_cosigned(kept, report.model, cosigned)
    else:
        return kept
    redraw_page(kept, study, institution.signers_ever, own)
    return kept


def _compare_card(kept: KeptModel, transcript: TranscriptFile, report: AuditReport) -> None:
    """Compare what the delivered card says of the run with the log up to the size that it names."""
    card = ModelCard.from_bytes(kept.read().card)
    size = card.verification.size
    if report.final is None or size > report.leaves:
        raise ProtocolError(
            f"{kept.folder}: expected a transcript of the {size} leaves that the model's card "
            f"names, found {report.leaves}: ask for a newer one"
        )
    root = merkle.root([leaf.hash for leaf in transcript.leaves[:size]]).hex()
    check_card_facts(card, card_facts(report.final, size=size, root=root))
