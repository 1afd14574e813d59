"""This institution's comparisons of others' keys: kept per key, not per roster.

A key that was compared stays compared whatever roster comes next; another key of the same member
begins anew, unless the compared one signed that it hands over to it.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.client.home.layout import Home
from fieldfare.shared.errors import KeysError, ProtocolError, UsageError
from fieldfare.shared.protocol.comparison import KnownKeys, MemberKey, Vouching, open_vouching
from fieldfare.shared.protocol.identity import KeyRevocation, KeyRotation
from fieldfare.shared.protocol.roster import Hex32, InstitutionId, Member, Roster
from fieldfare.shared.system.private_files import folder_lock, read_at_most, replace_private

MOST_BYTES: Final = 32 * 1024 * 1024  # 400 members that vouch for 400 keys each take 20 MB
WAIT: Final = 10.0  # seconds for another command


class ComparisonMethod(Enum):
    """How people compared a key; the value is the screen's text."""

    IN_PERSON = "in person"
    CALL = "call"
    MEETING = "meeting"


class ComparisonPart(BaseModel):
    """A part of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ComparedKey(ComparisonPart):
    """A key that a person here compared with the member itself.

    Attributes:
        how: in which way they spoke.
        user: the OS user who typed what was read aloud.
        time: ISO 8601, UTC.
    """

    institution: InstitutionId
    key: Hex32
    how: ComparisonMethod
    user: str
    time: str

    @property
    def pair(self) -> tuple[str, str]:
        """Id and key."""
        return self.institution, self.key


class HandedKey(ComparisonPart):
    """A key that replaced another in a statement that both signed."""

    institution: InstitutionId
    old: Hex32
    new: Hex32


class Comparisons(ComparisonPart):
    """The whole file."""

    format: Literal[1] = 1
    compared: tuple[ComparedKey, ...] = ()
    handed: tuple[HandedKey, ...] = ()
    vouchings: tuple[Annotated[str, Field(max_length=MOST_BYTES)], ...] = ()
    lost: tuple[MemberKey, ...] = ()
    revoked: tuple[MemberKey, ...] = ()  # by their owners, for good
    said_here: int = Field(default=0, ge=0)  # number of what this institution vouched last

    @property
    def said(self) -> tuple[Vouching, ...]:
        """Members' vouchings, signatures verified again.

        Raises:
            ProtocolError: one was changed.
        """
        return tuple(open_vouching(one.encode()) for one in self.vouchings)

    @property
    def known(self) -> KnownKeys:
        """The known keys that follow.

        Raises:
            ProtocolError: a vouching was changed.
        """
        return KnownKeys(
            compared=frozenset(one.pair for one in self.compared),
            handed={(one.institution, one.new): one.old for one in self.handed},
            vouchings=self.said,
            lost=frozenset(one.pair for one in (*self.lost, *self.revoked)),
        )


def read_comparisons(home: Home) -> Comparisons:
    """Return the comparisons of others' keys; none before the first comparison.

    Raises:
        KeysError: the file is damaged.
    """
    if not home.comparisons.exists():
        return Comparisons()
    try:
        content = read_at_most(home.comparisons, MOST_BYTES, KeysError)
        found = Comparisons.model_validate_json(content)
        found.said  # noqa: B018 -- a changed signature is damage too
    except (ValidationError, ProtocolError):
        raise KeysError(
            f"{home.comparisons}: expected what was compared, found a damaged file: restore it "
            "from your backup, or move it away and compare again"
        ) from None
    return found


def _change(home: Home, change: Callable[[Comparisons], Comparisons]) -> None:
    with folder_lock(home.path, WAIT) as alone:
        if not alone:
            raise UsageError(f"{home.path}: expected one change at a time: try again")
        changed = change(read_comparisons(home))
        replace_private(home.comparisons, changed.model_dump_json(indent=1).encode())


def keep_compared(home: Home, compared: Sequence[ComparedKey]) -> None:
    """Keep that keys were compared, lost before or not; earlier comparisons of them are replaced.

    Raises:
        KeysError: what is kept is damaged.
        UsageError: another command is under way, or the owner took such a key back.
        OSError: the disk refuses it.
    """
    fresh = {one.pair: one for one in compared}

    def added(before: Comparisons) -> Comparisons:
        """Return what is known, with the fresh comparisons in it."""
        for one in before.revoked:
            if one.pair in fresh:
                raise UsageError(
                    f"{one.institution}: expected a key that holds, found one that its owner took "
                    "back: it never counts again; ask the coordinator for a roster without it"
                )
        kept = {one.pair: one for one in before.compared} | fresh
        lost = tuple(one for one in before.lost if one.pair not in fresh)
        compared = tuple(kept[pair] for pair in sorted(kept))
        return before.model_copy(update={"compared": compared, "lost": lost})

    _change(home, added)


def keep_lost(home: Home, lost: Collection[tuple[str, str]]) -> None:
    """Keep that keys, (id, key), are known no more, nor any that they sign for.

    Raises:
        KeysError, UsageError, OSError: as `keep_compared`.
    """

    def without(before: Comparisons) -> Comparisons:
        """Return what is known, with the lost keys apart."""
        gone = sorted({one.pair for one in before.lost} | set(lost))
        return before.model_copy(
            update={
                "compared": tuple(one for one in before.compared if one.pair not in lost),
                "lost": tuple(MemberKey(institution=who, key=key) for who, key in gone),
            }
        )

    if lost:
        _change(home, without)


def keep_revoked(home: Home, revocations: Collection[KeyRevocation]) -> tuple[MemberKey, ...]:
    """Keep that owners took keys back, for good; the statements were checked.

    Returns:
        Those that were not known before.

    Raises:
        KeysError, UsageError, OSError: as `keep_compared`.
    """
    found = {MemberKey(institution=one.institution, key=one.key) for one in revocations}
    fresh = found - set(read_comparisons(home).revoked)
    if fresh:
        _change(
            home,
            lambda before: before.model_copy(
                update={"revoked": tuple(sorted({*before.revoked, *fresh}, key=lambda k: k.pair))}
            ),
        )
    return tuple(sorted(fresh, key=lambda one: one.pair))


def keep_handed(home: Home, rotations: Collection[KeyRotation]) -> None:
    """Keep that keys handed over; the statements were checked.

    Raises:
        KeysError, UsageError, OSError: as `keep_compared`.
    """
    fresh = [HandedKey(institution=r.institution, old=r.old, new=r.new) for r in rotations]
    if fresh:
        _change(
            home,
            lambda before: before.model_copy(
                update={"handed": tuple(dict.fromkeys((*before.handed, *fresh)))}
            ),
        )


def next_vouching(home: Home, own: str, now: datetime) -> int:
    """Number what this institution says, above whatever it said before; returns the number.

    A home that came back from a backup does not know its last number. The seconds since 1970 are
    above it, as long as clocks go on; so is one more than the highest of its own files that
    it is given back (`keep_vouching`).

    Args:
        home: the institution's.
        own: its id.
        now: the present, with a time zone.

    Raises:
        KeysError, UsageError, OSError: as `keep_compared`.
    """

    def counted(before: Comparisons) -> Comparisons:
        """Return what is known, with the next number of what is said here."""
        said = (one.number for one in before.said if one.institution == own)
        number = max(1 + max((before.said_here, *said)), int(now.timestamp()))
        return before.model_copy(update={"said_here": number})

    _change(home, counted)
    return read_comparisons(home).said_here


def keep_vouching(home: Home, content: bytes) -> None:
    """Keep a member's vouching, in place of its earlier one under the same key.

    Raises:
        ProtocolError: not signed by the key that it names, or said before what is kept.
        KeysError, UsageError, OSError: as `keep_compared`.
    """
    fresh = open_vouching(content)

    def replaced(before: Comparisons) -> Comparisons:
        """Return what is known, with this in place of what its sayer said before."""
        others = []
        for one, said in zip(before.vouchings, before.said, strict=True):
            if (said.institution, said.key) != (fresh.institution, fresh.key):
                others.append(one)
            elif said.number > fresh.number:
                raise ProtocolError(
                    f"expected what {fresh.institution} said last, number {said.number} or later, "
                    f"found number {fresh.number}: ask it for a new file"
                )
        return before.model_copy(update={"vouchings": (*others, content.decode())})

    _change(home, replaced)


# -- how members stand ----------------------------------------------------------------------------


@dataclass(frozen=True)
class MemberStanding:
    """One member of the roster, as far as its key is known here.

    Attributes:
        verified: its key is known to be its own.
        own: it is this institution.
        how: in words: how it is known, or who vouches so far.
        when: day of the comparison; empty where there was none.
        marked: it was handed over by a compared key and was not compared itself.
    """

    id: str
    verified: bool
    own: bool
    how: str
    when: str
    marked: bool = False


def standings(
    roster: Roster, comparisons: Comparisons, own: str, tolerance: int
) -> Iterator[MemberStanding]:
    """Yield how every member stands, where `tolerance` members may lie."""
    known = comparisons.known
    verified = known.verified(roster, own, tolerance)
    compared = {one.pair: one for one in comparisons.compared}
    for member in roster.members:
        sure, found = member.id in verified, compared.get((member.id, member.key))
        if member.id == own:
            yield MemberStanding(member.id, sure, own=True, how="you", when="")
        elif found is not None:
            when = found.time[:10]
            yield MemberStanding(member.id, sure, own=False, how=found.how.value, when=when)
        else:
            handed = sure and (member.id, member.key) in known.handed
            how = "new key, signed by the old" if handed else _vouched(known, member, tolerance)
            yield MemberStanding(member.id, sure, own=False, how=how, when="", marked=handed)


def _vouched(known: KnownKeys, member: Member, tolerance: int) -> str:
    count = len(known.vouchers(member.id, member.key))
    if (member.id, member.key) in known.lost:
        return "said to be lost or taken back"
    return f"vouched by {count} of {tolerance + 1}" if count else "nobody compared it"


def own_comparisons(roster: Roster, comparisons: Comparisons) -> tuple[MemberKey, ...]:
    """Return the keys of the roster that people here compared themselves: what may be vouched."""
    compared = {one.pair for one in comparisons.compared}
    keys = (MemberKey(institution=one.id, key=one.key) for one in roster.members if one.key)
    return tuple(key for key in keys if key.pair in compared)
