"""How each enrolled institution stands on the roster, in words that commands and console share."""

from dataclasses import dataclass

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public, signing_public, together
from fieldfare.server.members.enrolment import EnrolledMember, members
from fieldfare.server.members.roster import published_roster
from fieldfare.shared.protocol.identity import fingerprint, node_key_fingerprint
from fieldfare.shared.protocol.roster import Roster


@dataclass(frozen=True)
class EnrolledStanding:
    """A member, and how it stands on the roster in a few words."""

    member: EnrolledMember
    place: str

    @property
    def identity(self) -> str:
        """The fingerprint of its identity's key."""
        return spoken_key(self.member.identity)

    @property
    def node(self) -> str:
        """The fingerprint of its node's key."""
        return node_key_fingerprint(self.member.node)


@dataclass(frozen=True)
class Membership:
    """Everybody who enrolled, and the roster that was published last.

    Attributes:
        members: sorted by id.
        roster: None before the first one.
        roster_key: fingerprint of the key that signs rosters, as it is read aloud.
        behind: whether the roster is not what the enrolments ask for.
        beside: that both keys lie on this machine, where they do; else nothing.
    """

    members: tuple[EnrolledStanding, ...]
    roster: Roster | None
    roster_key: str
    behind: bool
    beside: str


def membership(home: CoordinatorHome) -> Membership:
    """Return how members and roster stand.

    Raises:
        UsageError: a paper or the roster is damaged.
        KeysError: the coordinator's own public key is missing.
    """
    roster, found = published_roster(home), members(home)
    return Membership(
        members=tuple(EnrolledStanding(one, _place(one, roster)) for one in found),
        roster=roster,
        roster_key=spoken_key(roster_public(home)),
        behind=_is_behind(home, found, roster),
        beside=together(home),
    )


def spoken_key(key: str) -> str:
    """Return the fingerprint of a public key in hex, as it is read aloud."""
    return fingerprint(bytes.fromhex(key))


def _place(member: EnrolledMember, roster: Roster | None) -> str:
    listed = {one.id: one.key for one in roster.members} if roster else {}
    on_it = listed.get(member.institution)
    if member.revoked:
        return "identity taken back, STILL ON THE ROSTER" if on_it else "identity taken back"
    if on_it is None:
        return "not on the roster yet"
    return "on the roster" if on_it == member.identity else "on the roster under its former key"


def _is_behind(
    home: CoordinatorHome, found: tuple[EnrolledMember, ...], roster: Roster | None
) -> bool:
    wanted = {one.institution: one.identity for one in found if not one.revoked}
    if not wanted or roster is None:
        return bool(wanted)
    listed = {one.id: one.key for one in roster.members}
    return wanted != listed or roster.coordinator != signing_public(home)
