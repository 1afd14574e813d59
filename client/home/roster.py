"""The roster that this institution pinned, and the changes that a newer one brings.

A roster says whose signatures count and how many institutions may know one person, so a
person looks at every fingerprint before it is pinned (docs/design.md, "The secure sum").
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from fieldfare.client.home.layout import Home
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.protocol.signed_files import open_roster, read_signed
from fieldfare.shared.system.private_files import replace_private

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
        return open_roster(read_signed(home.roster), coordinator)
    except ProtocolError as error:
        raise UsageError(
            f"{home.roster}: {error}; if the coordinator's key was changed and compared, move the "
            f"file away and accept the new roster: {ACCEPT_FIRST}"
        ) from None


def offered_roster(content: bytes, name: str, coordinator: str) -> Roster:
    """Read a roster that was sent, against the coordinator's pinned key.

    Args:
        content: the signed offer.
        name: how messages call it.
        coordinator: the pinned key, hex.

    Raises:
        UsageError: not signed by that key, no valid roster, or a member without a key.
    """
    try:
        roster = open_roster(content, coordinator)
    except ProtocolError as error:
        raise UsageError(
            f"{name}: {error} (the pinned coordinator is {fingerprint(bytes.fromhex(coordinator))})"
        ) from None
    keyless = [member.id for member in roster.members if not member.key]
    if keyless:  # a simulation's roster: no signature could be checked
        raise UsageError(f"{name}: expected a key for every member, found none for {keyless[0]!r}")
    return roster


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


def check_newer(roster: Roster, name: str, pinned: Roster | None) -> None:
    """Refuse an older roster, and another one of the same version.

    Raises:
        UsageError: a step back would bring a removed member or an old key in again.
    """
    if pinned is None or roster.version > pinned.version or roster == pinned:
        return
    expected = (
        f"another version than {pinned.version} for another content"
        if roster.version == pinned.version
        else f"version {pinned.version} or later"
    )
    raise UsageError(
        f"{name}: expected {expected}, found version {roster.version}: ask the coordinator for the "
        "newest roster"
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


def pin_roster(home: Home, content: bytes) -> None:
    """Keep a checked offer; after a crash the old or the new one is pinned.

    Raises:
        OSError: the disk says no.
    """
    replace_private(home.roster, content)


def _spoken(key: str) -> str:
    return fingerprint(bytes.fromhex(key))
