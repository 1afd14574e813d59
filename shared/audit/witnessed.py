"""Whether parties outside the federation saw a transcript's head, and no other one of its run.

What they signed is a checkpoint of the coordinator's log of heads. That log names this run's heads
by their label, so that two stories of one run stand in it side by side.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.roster import Roster, contradicts
from fieldfare.shared.protocol.signed_files import open_roster
from fieldfare.shared.transcript import merkle
from fieldfare.shared.transcript.head_log import HeadEntry, WitnessedHeads, head_label, origin_of
from fieldfare.shared.transcript.leaves import TreeHead
from fieldfare.shared.transcript.notes import SIGNED, NoteKey, cosigners_of


@dataclass(frozen=True)
class WitnessClaim:
    """What an auditor was given beside a transcript, and whom it believes.

    Attributes:
        content: of the file of witnessed heads.
        witnesses: their keys, compared with the witnesses themselves.
        log: which of the coordinator's logs of heads; another than 1 has to be explained.
        later: signed rosters after the run's; the newest checkpoint may be by a key of these.
    """

    content: bytes
    witnesses: tuple[NoteKey, ...]
    log: int = 1
    later: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class WitnessedFindings:
    """What was found.

    Attributes:
        origin: name of the log of heads.
        size: heads in it, of all runs.
        heads: of this run among them.
        times: seconds since 1970 at which each of the auditor's witnesses cosigned, by name.
        others: signature lines of keys that the auditor did not name; nothing was checked there.
        contradicting: a head of this run that is not the beginning of this transcript.
    """

    origin: str
    size: int
    heads: int
    times: Mapping[str, int] = field(default_factory=dict)
    others: int = 0
    contradicting: HeadEntry | None = None


def check_witnessed(
    claim: WitnessClaim, roster_key: str, roster: Roster, head: TreeHead, hashes: Sequence[bytes]
) -> WitnessedFindings:
    """Check the log of heads against a transcript whose head was verified.

    Args:
        claim: the file, and whom to believe.
        roster_key: the coordinator's, hex: the log's name follows from it.
        roster: the run's, which names the coordinator's online key of that time.
        head: the transcript's.
        hashes: of the transcript's leaves.

    Raises:
        ProtocolError: another file, another coordinator's or run's, a signature that is not valid,
            a head that is missing, or a newer one than the transcript's.
    """
    found = WitnessedHeads.from_bytes(claim.content)
    note, checkpoint = found.opened()
    expected = origin_of(roster_key, claim.log)
    if checkpoint.origin != expected:
        raise ProtocolError(f"expected the log {expected}, found {checkpoint.origin}")
    keys = [
        NoteKey(expected, SIGNED, bytes.fromhex(one))
        for one in dict.fromkeys(_online_keys(claim.later, roster_key, roster))
    ]
    signed = sum(note.is_signed_by(key) for key in keys)
    if not signed:
        raise ProtocolError(
            f"expected a checkpoint signed by the online key {keys[0].text} of the run's roster, "
            "found none: give a later roster that names the key (--later-roster)"
        )
    times = cosigners_of(note, claim.witnesses)
    mine = [one for one in found.entries if one.label == head_label(head.study, head.run)]
    contradicting = next(_contradicting(mine, head, hashes), None)
    if contradicting is None and HeadEntry.of(head) not in mine:
        raise ProtocolError("expected the transcript's head among the witnessed ones, found none")
    known = len(times) + signed
    return WitnessedFindings(
        *(expected, checkpoint.size, len(mine), times),
        others=len(note.signatures) - known,
        contradicting=contradicting,
    )


def _online_keys(later: Sequence[bytes], roster_key: str, roster: Roster) -> list[str]:
    """Return the online keys that may have signed the log since a run, hex; the run's own first.

    A coordinator signs its whole log of heads anew as it grows. Its online key may change between
    two runs; the roster key, which names each, stays.

    Raises:
        ProtocolError: a roster that the roster key did not sign, one from before the run, or one
            that cannot be of one history with the run's or another.
    """
    rosters = [open_roster(content, roster_key) for content in later]
    for one in rosters:
        if one.version < roster.version:
            raise ProtocolError(
                f"expected later rosters than the run's, version {roster.version}, found version "
                f"{one.version}"
            )
    for one, other in combinations((roster, *rosters), 2):
        if contradicts(one, other):
            raise ProtocolError(
                f"expected rosters of one history, found versions {one.version} and "
                f"{other.version} that contradict each other: see `audit stories`"
            )
    return [one.coordinator for one in (roster, *rosters)]


def _contradicting(
    entries: Sequence[HeadEntry], head: TreeHead, hashes: Sequence[bytes]
) -> Iterator[HeadEntry]:
    """Yield heads that are of another log.

    Raises:
        ProtocolError: the run went on after this transcript, so that one cannot tell.
    """
    for entry in entries:
        if entry.size > head.size:
            raise ProtocolError(
                f"expected the newest head of the run, of {entry.size} leaves, found a transcript "
                f"of {head.size}: ask for the newer one"
            )
        if merkle.root(hashes[: entry.size]).hex() != entry.root:
            yield entry
