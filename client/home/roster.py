"""The roster that this institution pinned, and the changes that a newer one brings.

A roster says whose signatures count and how many institutions may know one person, so a
person looks at every fingerprint before it is pinned (docs/design.md, "The secure sum").
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Self

from fieldfare.client.home.layout import Home
from fieldfare.shared.canonical import claimed, claimed_type
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.protocol.identity import (
    BETWEEN_SIGNATURES,
    KeyRevocation,
    KeyRotation,
    check_rotation,
    fingerprint,
    open_enrolment,
    open_revocation,
)
from fieldfare.shared.protocol.messages import read_unverified
from fieldfare.shared.protocol.remembered import Memory
from fieldfare.shared.protocol.roster import COORDINATOR, Roster, contradicts
from fieldfare.shared.protocol.signed_files import (
    open_roster,
    read_roster,
    read_signed,
    roster_and_papers,
)
from fieldfare.shared.system.private_files import PRIVATE_FOLDER, replace_private

ACCEPT_FIRST: Final = "fieldfare institution roster accept FILE"


class MemberChange(Enum):
    """A roster's change to one member; the value is the screen's text."""

    SAME = ""
    NEW = "new"
    NEW_KEY = "KEY CHANGED"
    GONE = "no longer a member"


@dataclass(frozen=True)
class MemberLine:
    """One member as a person compares it.

    Attributes:
        id: the institution's.
        fingerprint: of its key; of the former key where it is gone.
        change: against the pinned roster.
    """

    id: str
    fingerprint: str
    change: MemberChange


def pinned_roster(home: Home, coordinator: str) -> Roster:
    """Return the pinned roster; its signature is checked again.

    Args:
        home: the institution's.
        coordinator: the coordinator's pinned key, hex.

    Raises:
        UsageError: none is pinned, or it is not this coordinator's.
    """
    if not home.roster.exists():
        raise UsageError(f"{home.roster}: expected a pinned roster, found none: {ACCEPT_FIRST}")
    try:
        return open_roster(read_roster(home.roster), coordinator)
    except ProtocolError as error:
        raise UsageError(
            f"{home.roster}: {error}; if the coordinator's key was changed and compared, move the "
            f"file away and accept the new roster: {ACCEPT_FIRST}"
        ) from None


@dataclass(frozen=True)
class OfferedRoster:
    """A roster as it was sent.

    Attributes:
        roster: the coordinator's.
        rotations: statements that a key replaces another, signed by both.
        revocations: statements that a key is never to be believed again, signed by it.
        content: the whole file.
        name: how messages call it.
    """

    roster: Roster
    rotations: tuple[KeyRotation, ...]
    content: bytes
    name: str
    revocations: tuple[KeyRevocation, ...] = ()

    @property
    def revoked(self) -> frozenset[tuple[str, str]]:
        """The keys, (id, key), that their owners took back."""
        return frozenset((one.institution, one.key) for one in self.revocations)


def offered_roster(content: bytes, name: str, coordinator: str) -> OfferedRoster:
    """Read a roster that was sent, against the coordinator's pinned key, with its members' papers.

    Args:
        content: the signed offer, and enrolments, rotations and revocations that members signed.
        name: how messages call it.
        coordinator: the pinned key, hex.

    Raises:
        UsageError: not signed by that key, no valid roster, a member without a key, or a paper
            that its member did not sign or that is of nobody on the roster; or a member under a key
            that it took back.
    """
    offer, papers = roster_and_papers(content)
    try:
        roster = open_roster(offer, coordinator)
    except ProtocolError as error:
        raise UsageError(
            f"{name}: {error} (the pinned coordinator is {fingerprint(bytes.fromhex(coordinator))})"
        ) from None
    keyless = [member.id for member in roster.members if not member.key]
    if keyless:  # a simulation's roster: no signature could be checked
        raise UsageError(f"{name}: expected a key for every member, found none for {keyless[0]!r}")
    try:
        statements = tuple(_statements(papers, roster))
    except ProtocolError as error:
        raise UsageError(f"{name}: a member's statement in it: {error}") from None
    rotations = tuple(one for one in statements if isinstance(one, KeyRotation))
    revocations = tuple(one for one in statements if isinstance(one, KeyRevocation))
    offered = OfferedRoster(roster, rotations, content, name, revocations)
    check_not_revoked(offered, offered.revoked)
    return offered


def check_not_revoked(offered: OfferedRoster, revoked: Collection[tuple[str, str]]) -> None:
    """Refuse a roster with a member under a key that its owner took back.

    Raises:
        UsageError: says which member's.
    """
    for member in offered.roster.members:
        if (member.id, member.key) in revoked:
            raise UsageError(
                f"{offered.name}: expected no key that its owner took back, found that of "
                f"{member.id!r}: speak with its people, and with the coordinator"
            )


def _statements(papers: Sequence[bytes], roster: Roster) -> Iterator[KeyRotation | KeyRevocation]:
    """Check every paper; an enrolment says only that somebody has the key in it.

    A revocation may be of a former member: what it signed before is still about.
    """
    left = list(papers)
    while left:
        paper = left.pop(0)
        if claimed_type(paper) == Memory.TYPE:  # of who left: verified where it counts
            read_unverified(paper, Memory)
            continue
        if claimed_type(paper) == KeyRevocation.TYPE:
            yield open_revocation(paper)
            continue
        claim = claimed(paper, "old")
        if claim is None:
            institution = _member_of(open_enrolment(paper).institution, roster)
            continue
        institution = _member_of(claimed(paper, "institution") or "", roster)
        both = BETWEEN_SIGNATURES.join([paper, left.pop(0) if left else b""])
        yield check_rotation(both, institution, claim)


def _member_of(institution: str, roster: Roster) -> str:
    if institution not in roster.ids:
        raise ProtocolError("expected a statement by a member of the roster, found another's")
    return institution


def check_member(roster: Roster, name: str, institution: str, key: str) -> None:
    """Check that a roster carries this institution under its present key.

    Raises:
        UsageError: it is not on it, or under another key.
    """
    keys = {member.id: member.key for member in roster.members}
    if institution not in keys:
        raise UsageError(
            f"{name}: expected a roster with this institution, {institution!r}, found one without "
            "it: ask the coordinator to enter it"
        )
    if keys[institution] != key:
        raise UsageError(
            f"{name}: expected this institution's own key {fingerprint(bytes.fromhex(key))}, found "
            f"{fingerprint(bytes.fromhex(keys[institution]))}: send the coordinator your "
            "identity.pub, or the statement of its rotation"
        )


def is_step_on_the_way(
    roster: Roster, before: Sequence[Roster | None], institution: str, key: str
) -> bool:
    """Tell whether a roster without this institution's present key follows others without it.

    A home that was restored has a new key, and every version since its backup has another one or
    none. It serves nothing before it pins one with its own key; until then it follows the others.
    """
    own = (institution, key)
    return all(
        one is not None and own not in {(member.id, member.key) for member in one.members}
        for one in (roster, *before)
    )


def check_follows(offered: OfferedRoster, pinned: Roster | None) -> None:
    """Refuse an older roster, and one that does not follow the last that was pinned.

    Raises:
        UsageError: a step back would bring a removed member or an old key in again; a gap could
            hide that the coordinator told two stories.
    """
    roster, name = offered.roster, offered.name
    if pinned is None or roster == pinned:
        return
    if roster.version <= pinned.version:
        raise UsageError(
            f"{name}: expected version {pinned.version + 1} or later, found version "
            f"{roster.version}: ask the coordinator for the newest roster"
        )
    if roster.previous != pinned.hash:
        raise UsageError(
            f"{name}: expected the successor of version {pinned.version}, which is pinned, found "
            f"version {roster.version}, which follows another one: accept every version in "
            "between, in their order; the coordinator keeps them as members/roster-VERSION.signed"
        )


def two_stories(home: Home, offered: OfferedRoster, coordinator: str) -> tuple[Path, ...]:
    """Return two files that prove that the coordinator signed two successors of one roster.

    Both are kept in the home, the one that was not pinned among the proofs. Empty: this roster and
    all that were pinned here fit together.

    Raises:
        UsageError: a roster that was kept is damaged.
        OSError: the disk refuses it.
    """
    for path, pinned in pinned_ever(home, coordinator):
        if contradicts(pinned, offered.roster):
            for folder in (home.rosters, home.roster_proofs):
                folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            other = home.roster_proofs / _file_name(offered.roster)
            replace_private(other, offered.content)
            return path, other
    return ()


def pinned_ever(home: Home, coordinator: str) -> Iterator[tuple[Path, Roster]]:
    """Yield the rosters that were pinned here, the first one first, and the files that hold them.

    Raises:
        UsageError: one is damaged.
    """
    kept = sorted(home.rosters.glob("*.signed")) if home.rosters.is_dir() else []
    for path in kept:
        try:
            yield path, open_roster(read_roster(path), coordinator)
        except ProtocolError as error:
            raise UsageError(f"{path}: {error}: move it away") from None
    if home.roster.exists():  # one that an earlier release pinned is nowhere else
        yield home.roster, pinned_roster(home, coordinator)


def last_answers(path: Path) -> tuple[bytes, ...]:
    """Return the last answers of members that left, as they came with a roster's file.

    Raises:
        ProtocolError: the file cannot be read.
    """
    _, papers = roster_and_papers(read_signed(path))
    return tuple(paper for paper in papers if claimed_type(paper) == Memory.TYPE)


def newest_pinned(home: Home, coordinator: str) -> Roster | None:
    """Return the last version that was pinned here, also where its file was moved away.

    Raises:
        UsageError: one that was pinned is damaged.
    """
    ever = (roster for _, roster in pinned_ever(home, coordinator))
    return max(ever, key=lambda roster: roster.version, default=None)


def first_multiplicity(home: Home, coordinator: str) -> int:
    """Return M of the first roster that was pinned here; 0 where none was.

    Raises:
        UsageError: it is damaged.
    """
    return next((roster.multiplicity for _, roster in pinned_ever(home, coordinator)), 0)


@dataclass(frozen=True)
class KnownSigners:
    """Who signed what an institution keeps: the pinned roster, and earlier online keys.

    For what is kept already. What arrives, and what a run rests on, is verified by the pinned
    roster alone: a replaced key may be a thief's.
    """

    roster: Roster
    online: tuple[str, ...]

    @classmethod
    def of(cls, home: Home, roster: Roster) -> Self:
        """Find the online keys of all rosters that were pinned.

        Raises:
            UsageError: a roster that was kept is damaged.
        """
        return cls(roster, online_keys(home, roster.roster_key) if roster.roster_key else ())

    def verify(self, signer: str, signature: bytes, content: bytes) -> None:
        """Check a signature by the roster, or of the coordinator by an earlier online key.

        Raises:
            ProtocolError: none of them made it.
        """
        former = self.online if signer == COORDINATOR else ()
        for key in former:
            with suppress(ProtocolError):
                one = Roster(version=1, coordinator=key, members=())
                return one.verify(signer, signature, content)
        return self.roster.verify(signer, signature, content)


def online_keys(home: Home, roster_key: str) -> tuple[str, ...]:
    """Return the coordinator's online keys, public, hex, of all rosters ever pinned; newest first.

    Raises:
        UsageError: a roster that was kept is damaged.
    """
    found = [roster.coordinator for _, roster in pinned_ever(home, roster_key)]
    return tuple(dict.fromkeys(reversed(found)))


def _file_name(roster: Roster) -> str:
    return f"{roster.version:06d}-{roster.hash[:16]}.signed"


def replaced_keys(
    offered: OfferedRoster, pinned: Roster | None, lost: Collection[tuple[str, str]] = ()
) -> tuple[str, ...]:
    """Return the members with another key than before that the key before did not sign for.

    What a key signed that its owner took back, or that is `lost`, as (id, key), counts for nothing:
    its thief signs too.
    """
    gone = offered.revoked.union(lost)
    steps = {
        (one.institution, one.old): one.new
        for one in offered.rotations
        if (one.institution, one.old) not in gone
    }
    found = []
    before = {member.id: member.key for member in pinned.members} if pinned else {}
    for member in offered.roster.members:
        key, seen = before.get(member.id, member.key), set[str]()
        while key != member.key and key not in seen:
            seen.add(key)
            key = steps.get((member.id, key), key)
        if key != member.key:
            found.append(member.id)
    return tuple(found)


def check_replaced(
    offered: OfferedRoster,
    pinned: Roster | None,
    allowed: Collection[str],
    lost: Collection[tuple[str, str]] = (),
) -> None:
    """Refuse a key that another one replaced without having signed so.

    Raises:
        UsageError: says which members' keys, and what to do.
    """
    found = [name for name in replaced_keys(offered, pinned, lost) if name not in allowed]
    if found:
        raise UsageError(
            f"{offered.name}: expected a statement that the old key signed, found none for the new "
            f"key of {', '.join(map(repr, found))}: speak with its people. Where they lost their "
            f"key: --replaced {found[0]}; the new one is then not known until it is compared"
        )


def member_lines(roster: Roster, pinned: Roster | None) -> tuple[MemberLine, ...]:
    """Return every member of the roster, then those who left, each with what changed."""
    old = {member.id: member.key for member in pinned.members} if pinned else {}
    lines = []
    for member in roster.members:
        change = MemberChange.SAME
        if pinned and member.id not in old:
            change = MemberChange.NEW
        elif pinned and old[member.id] != member.key:
            change = MemberChange.NEW_KEY
        lines.append(MemberLine(member.id, _spoken(member.key), change))
    gone = sorted(old.keys() - set(roster.ids))
    lines += [MemberLine(name, _spoken(old[name]), MemberChange.GONE) for name in gone]
    return tuple(lines)


def pin_roster(
    home: Home, content: bytes, roster: Roster | None = None, before: Roster | None = None
) -> None:
    """Pin a checked offer; after a crash the old or the new one is pinned.

    With `roster`, its content, it stays among the rosters that were pinned here ever. `before`,
    which is pinned so far, stays there too: an earlier release may have kept it nowhere else.

    Raises:
        OSError: the disk refuses it.
    """
    if roster is not None:
        home.rosters.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        if before is not None:
            replace_private(home.rosters / _file_name(before), home.roster.read_bytes())
        replace_private(home.rosters / _file_name(roster), content)
    replace_private(home.roster, content)


def _spoken(key: str) -> str:
    return fingerprint(bytes.fromhex(key))
