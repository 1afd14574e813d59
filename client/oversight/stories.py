"""Whether the coordinator told this institution and somebody else two stories of one run.

What was co-signed here is kept in the ledger with its leaves' hashes; heads of other members
come as files, or with a transcript.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

from fieldfare.client.custodian.cosigning import kept_head, kept_heads
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.system.private_files import read_at_most, replace_private
from fieldfare.shared.transcript.heads import (
    LARGEST_HEAD_FILE,
    SeenHead,
    ToldStories,
    TwoStories,
    two_stories,
)

PROOF_SUFFIX = ".two-stories"


class TwoStoriesError(ProtocolError):
    """The coordinator signed two logs of one run; carries the proof."""

    def __init__(self, proof: TwoStories, told: ToldStories) -> None:
        """Say which two."""
        self.proof = proof
        super().__init__(told.words)


def check_one_story(ledger: Ledger, keys: Iterable[str], seen: SeenHead) -> int:
    """Compare a head that another institution was shown with the own co-signed one of that run.

    Args:
        ledger: this institution's own.
        keys: the online keys, public, hex, that rosters which were pinned here name.
        seen: the other head, with the hashes of its leaves where they are known.

    Returns:
        How many leaves the own one has; 0 where none was co-signed here.

    Raises:
        TwoStoriesError: neither log is the other's beginning.
        ProtocolError: a head that the coordinator did not sign, or no hashes of the longer log.
        LedgerError: the ledger cannot be read.
    """
    roster = _signed_by(keys, seen)
    head = seen.opened(roster)
    own = kept_head(ledger, head.study, head.run)
    if own is None:
        return 0
    proof = two_stories(own, seen, roster)
    if proof is not None:
        raise TwoStoriesError(proof, proof.told(roster))
    size = own.opened(roster).size
    if size != head.size and not (own if size > head.size else seen).is_whole(roster):
        raise ProtocolError(
            f"expected the hashes of the {max(size, head.size)} leaves of the longer log, found "
            "others or none: this head was not compared; ask its member for the file that "
            "`fieldfare institution head RUN` writes"
        )
    return size


def check_heads(ledger: Ledger, keys: Collection[str], files: Iterable[Path]) -> int:
    """Hold other members' heads, as files, against the own ones; returns how many were compared.

    Raises:
        TwoStoriesError: of the first that contradicts.
        UsageError: a file that is no head by this coordinator, or lacks what shows its beginning.
        LedgerError: the ledger cannot be read.
    """
    sizes = []
    for path in files:
        try:
            content = read_at_most(path, LARGEST_HEAD_FILE)
            sizes.append(check_one_story(ledger, keys, SeenHead.from_bytes(content)))
        except TwoStoriesError:
            raise
        except ProtocolError as error:
            raise UsageError(f"{path}: {error}") from None
    return sum(size > 0 for size in sizes)


def own_head(ledger: Ledger, keys: Collection[str], run: str) -> SeenHead:
    """Return the head of a run that was co-signed here last, for another member.

    Raises:
        UsageError: none was.
        LedgerError: the ledger cannot be read.
    """
    for seen in kept_heads(ledger):
        if seen.opened(_signed_by(keys, seen)).run == run:
            return seen
    raise UsageError(f"RUN: expected a run whose log was co-signed here, found {run[:64]!a}")


def _signed_by(keys: Iterable[str], seen: SeenHead) -> Roster:
    """Return a roster of the one key that signed a head; the first one where none did."""
    listed = [Roster(version=1, coordinator=key, members=()) for key in keys]
    for roster in listed:
        try:
            seen.opened(roster)
        except ProtocolError:
            continue
        return roster
    return listed[0]


def keep_proof(path: Path, proof: TwoStories) -> list[str]:
    """Write a proof; returns how others check it."""
    replace_private(path, proof.to_bytes())
    return [
        f"the proof is {path}: give it to the other members; anybody checks it with",
        f"      fieldfare audit stories {path.name} --roster ROSTER",
    ]
