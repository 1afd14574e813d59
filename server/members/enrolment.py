"""The enrolled institutions and their keys: signed papers, each checked again when read.

    <id>.enrolment          who asks to be a member
    <id>.<key>.rotation     a key that was replaced; signed by it and by the new one
    <id>.<key>.revocation   a key that is never believed again; signed by it
    <id>.last-answer        what a member that left remembers of the others; signed by it

Nothing here is what others go by: that is the roster, which is published from it
(publication.py).
"""

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public, signing_public
from fieldfare.server.home.settings import load_settings
from fieldfare.shared.canonical import bytes_hash, claimed_type
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.identity import (
    BETWEEN_SIGNATURES,
    Enrolment,
    KeyRevocation,
    KeyRotation,
    check_revocation,
    check_rotation,
    fingerprint,
    open_enrolment,
)
from fieldfare.shared.protocol.messages import open_envelope
from fieldfare.shared.protocol.remembered import LONGEST_LAST_ANSWER, Memory
from fieldfare.shared.protocol.roster import Member, Roster, is_institution_id
from fieldfare.shared.protocol.signed_files import read_signed
from fieldfare.shared.system.private_files import replace_private

ENROLMENT: Final = ".enrolment"
ROTATION: Final = ".rotation"
REVOCATION: Final = ".revocation"
LAST_ANSWER: Final = ".last-answer"


@dataclass(frozen=True)
class EnrolledMember:
    """An enrolled institution with its present keys.

    Attributes:
        institution: its id.
        identity: its present Ed25519 public key, hex.
        node: its node's public key, one OpenSSH line.
        contact: how to reach its people.
        revoked: its identity was taken back; it is on no new roster.
    """

    institution: str
    identity: str
    node: str
    contact: str
    revoked: bool = False


class MembershipChange(Enum):
    """A paper's effect; the value is the screen's text."""

    NONE = "is enrolled already; nothing changed"
    NEW = "a new member"
    RETURN = "enrols again after its identity was taken back"
    DETAILS = "another node key or contact"
    ROTATION = "a new identity"
    REVOCATION = "takes its identity back"


_DECISIONS: Final = {
    MembershipChange.ROTATION: DecisionKind.ROTATION,
    MembershipChange.REVOCATION: DecisionKind.REVOCATION,
}


@dataclass(frozen=True)
class Paper:
    """A signed paper of an institution, checked against the enrolments.

    Attributes:
        change: its effect.
        institution: whose it is.
        identity: the identity's public key after it, hex; before it, of a revocation.
        node: the node's public key after it, one OpenSSH line; empty where it says none.
        contact: after it.
        path: where it is kept.
        content: its bytes.
    """

    change: MembershipChange
    institution: str
    identity: str
    node: str
    contact: str
    path: Path
    content: bytes


def members(home: CoordinatorHome) -> tuple[EnrolledMember, ...]:
    """Return every institution that enrolled and was not removed, sorted by id.

    Raises:
        UsageError: a paper in the folder is damaged or was not made for this coordinator.
        KeysError: the coordinator's own public key is missing.
    """
    roster_key = roster_public(home)
    found = (
        _standing(home, _read_enrolment(home, path, roster_key))
        for path in home.members.iterdir()
        if path.name.endswith(ENROLMENT)
    )
    return tuple(sorted(found, key=lambda member: member.institution))


def enrolled(home: CoordinatorHome) -> tuple[EnrolledMember, ...]:
    """Return the members whose identity holds: those of the next roster, sorted by id.

    Raises:
        UsageError: as `members`.
    """
    return tuple(member for member in members(home) if not member.revoked)


def examine(home: CoordinatorHome, content: bytes, name: str) -> Paper:
    """Check an enrolment, a rotation or a revocation against the known members; changes nothing.

    Args:
        home: the coordinator's.
        content: as it was sent.
        name: how messages call it.

    Raises:
        UsageError: no such paper, a signature that does not verify, made for another
            coordinator, or an id or a key that another institution has.
    """
    try:
        kind = claimed_type(content.partition(BETWEEN_SIGNATURES)[0])
        if kind == KeyRotation.TYPE:
            return _rotation(home, content)
        if kind == KeyRevocation.TYPE:
            return _revocation(home, content)
        return _enrolment(home, content)
    except ProtocolError as error:
        raise UsageError(f"{name}: {error}") from None
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def keep(home: CoordinatorHome, paper: Paper) -> None:
    """Keep a paper that `examine` let pass and a person agreed to.

    Raises:
        UsageError: the enrolments changed meanwhile, so that it does not pass any more.
        OSError: the disk refuses it.
    """
    with alone(home):
        if examine(home, paper.content, paper.path.name) != paper:
            raise UsageError(
                f"{paper.institution}: its standing changed meanwhile: look at it again with "
                "`fieldfare coordinator members`, then repeat"
            )
        if paper.change is not MembershipChange.NONE:
            write_down(home, _DECISIONS.get(paper.change, DecisionKind.ENROLMENT), _facts(paper))
            replace_private(paper.path, paper.content)


def remove(home: CoordinatorHome, institution: str, last_answer: bytes = b"") -> EnrolledMember:
    """Take an institution's enrolment away; statements about its keys stay.

    Args:
        home: the coordinator's.
        institution: its id.
        last_answer: that it signed when it left, for the members' next rosters; may be empty.

    Raises:
        UsageError: none of that id is enrolled, or another's last answer.
        OSError: the disk refuses it.
    """
    with alone(home):
        found = member_called(home, institution)
        if last_answer:
            check_last_answer(found, last_answer)
        facts = {"institution": institution, "identity": found.identity}
        write_down(home, DecisionKind.REMOVAL, facts)
        if last_answer:
            replace_private(home.members / f"{institution}{LAST_ANSWER}", last_answer)
        home.enrolment(institution).unlink()
    return found


def check_last_answer(member: EnrolledMember, content: bytes) -> None:
    """Check that a member that leaves signed its last answer, by the key that it has now.

    Raises:
        UsageError: another's, or none.
    """
    roster = Roster(
        version=1,
        coordinator=member.identity,
        members=(Member(id=member.institution, key=member.identity),),
    )
    if len(content) > LONGEST_LAST_ANSWER:
        raise UsageError(
            f"--last-answer: expected at most {LONGEST_LAST_ANSWER:,} bytes, found {len(content):,}"
        )
    try:
        memory = open_envelope(content, Memory, roster, Protection.EXACT)
        found = (memory.signer, memory.body.institution, memory.body.asker)
    except ProtocolError as error:
        raise UsageError(f"--last-answer: {error}") from None
    if found != (member.institution, member.institution, ""):
        raise UsageError(
            f"--last-answer: expected that of {member.institution!r}, found another file"
        )


def member_called(home: CoordinatorHome, institution: str) -> EnrolledMember:
    """Return one member.

    Raises:
        UsageError: none of that id is enrolled.
    """
    for member in members(home):
        if member.institution == institution:
            return member
    raise UsageError(
        f"expected an enrolled institution, found {institution!r}, which is none: see `fieldfare "
        "coordinator members`"
    )


def papers(home: CoordinatorHome, institutions: Collection[str]) -> Iterator[bytes]:
    """Yield members' own signed papers: enrolments, and rotations of their keys.

    Then every revocation that was ever taken in: whoever vouched or signed by such a key may be a
    member no more. Last of all, what members that left remember of the others.

    Raises:
        UsageError: a paper cannot be read.
    """
    for institution in sorted(institutions):
        yield read_signed(home.enrolment(institution))
        for old in sorted(_rotations(home, institution)):
            yield read_signed(home.rotation(institution, old))
    for path in sorted(home.members.glob(f"*{REVOCATION}")):
        yield read_signed(path)
    for path in sorted(home.members.glob(f"*{LAST_ANSWER}")):
        if path.name.removesuffix(LAST_ANSWER) not in institutions:  # who came back is asked itself
            yield read_signed(path)


@contextmanager
def alone(home: CoordinatorHome) -> Iterator[None]:
    """Keep other commands from changing members and roster at the same time."""
    descriptor = os.open(home.members, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _facts(paper: Paper) -> dict[str, str | int]:
    return {
        "institution": paper.institution,
        "identity": paper.identity,
        "node": paper.node,
        "paper": bytes_hash(paper.content),
    }


# ---- what is on the disk ---------------------------------------------------------------------


def _read_enrolment(home: CoordinatorHome, path: Path, roster_key: str) -> Enrolment:
    try:
        body = open_enrolment(read_signed(path))
    except ProtocolError as error:
        raise UsageError(f"{path}: {error}: restore it from your backup") from None
    if body.roster_key != roster_key:
        raise UsageError(f"{path}: expected an enrolment at this coordinator, found one at another")
    if path != home.enrolment(body.institution):  # a copy under another name
        raise UsageError(f"{path}: {body.institution!r} belongs in another file: remove this one")
    return body


def _standing(home: CoordinatorHome, body: Enrolment) -> EnrolledMember:
    steps = _rotations(home, body.institution)
    key = body.identity
    seen = {key}
    while key in steps and steps[key] not in seen:
        key = steps[key]
        seen.add(key)
    # A thief can rotate a key too, so what came of a key that was taken back is not believed.
    revoked = any(
        home.revocation(body.institution, former).exists() for former in _line_of(key, steps)
    )
    return EnrolledMember(body.institution, key, body.node, body.contact, revoked)


def _line_of(key: str, steps: Mapping[str, str]) -> set[str]:
    """Return a key and every key that it came of."""
    line, fresh = {key}, {key}
    while fresh:
        fresh = {old for old, new in steps.items() if new in fresh} - line
        line |= fresh
    return line


def _rotations(home: CoordinatorHome, institution: str) -> dict[str, str]:
    """Return which key replaced which, of one institution."""
    steps = {}
    for path in home.members.iterdir():
        old = path.name.removesuffix(ROTATION)[-64:]
        if not path.name.endswith(ROTATION) or not _is_hex(old):
            continue
        if path == home.rotation(institution, old):
            try:
                steps[old] = check_rotation(read_signed(path), institution, old).new
            except ProtocolError as error:
                raise UsageError(f"{path}: {error}: restore it from your backup") from None
    return steps


def _is_hex(text: str) -> bool:
    return len(text) == 64 and not text.strip("0123456789abcdef")  # noqa: PLR2004 -- 32 bytes


# ---- what is sent ----------------------------------------------------------------------------


def _institution_in(content: bytes) -> str:
    """Return whose statement this says it is, to look up the key that must have signed it."""
    found = json.loads(content.partition(BETWEEN_SIGNATURES)[0])
    body = found.get("body")
    name = body.get("institution") if isinstance(body, dict) else None
    if not isinstance(name, str) or not is_institution_id(name):
        raise ProtocolError(
            "expected a statement that names its institution, found none or another"
        )
    return name


def _enrolment(home: CoordinatorHome, content: bytes) -> Paper:
    body = open_enrolment(content)
    _check_coordinator(home, body)
    known = {member.institution: member for member in members(home)}
    before = known.get(body.institution)
    path = home.enrolment(body.institution)
    if before is not None and not before.revoked and read_signed(path) == content:
        return _paper(MembershipChange.NONE, before, path, content)
    _check_keys(home, body, known)
    asked = EnrolledMember(body.institution, body.identity, body.node, body.contact)
    if before is None:
        return _paper(MembershipChange.NEW, asked, path, content)
    if before.revoked:
        return _paper(MembershipChange.RETURN, asked, path, content)
    if before.identity != body.identity:
        raise UsageError(
            f"the id {body.institution!r} is taken by the identity {_spoken(before.identity)}: if "
            "this is the same institution, it sends the statement of its rotation; if its key is "
            "lost, remove it first"
        )
    return _paper(MembershipChange.DETAILS, asked, path, content)


def _paper(change: MembershipChange, after: EnrolledMember, path: Path, content: bytes) -> Paper:
    names = (after.institution, after.identity, after.node, after.contact)
    return Paper(change, *names, path, content)


def _check_coordinator(home: CoordinatorHome, body: Enrolment) -> None:
    ours, named = roster_public(home), load_settings(home).name
    if body.roster_key != ours:
        raise UsageError(
            f"expected an enrolment at this coordinator ({_spoken(ours)}), found one at "
            f"{body.hub!r} ({_spoken(body.roster_key)}): send the institution your invitation"
        )
    if body.hub != named:
        raise UsageError(
            f"expected an enrolment at {named!r}, found one at {body.hub!r}: "
            "was the coordinator renamed? "
            "send the institution a new invitation"
        )


def _check_keys(
    home: CoordinatorHome, body: Enrolment, known: Mapping[str, EnrolledMember]
) -> None:
    for path in home.members.iterdir():
        if path.name.endswith(f".{body.identity}{REVOCATION}"):
            raise UsageError(
                "expected a key that was not taken back, found one that was: the institution makes "
                "a new one"
            )
        if path.name.endswith(f".{body.identity}{ROTATION}"):
            raise UsageError("expected the present key, found one that was replaced by a rotation")
    if body.identity == signing_public(home):
        raise UsageError("expected an identity of its own, found the coordinator's online key")
    for other in known.values():
        if other.institution == body.institution:
            continue
        if other.identity == body.identity:
            raise UsageError(
                f"expected an identity of its own, found that of {other.institution!r}"
            )
        if other.node == body.node:
            raise UsageError(f"expected a node key of its own, found that of {other.institution!r}")


def _rotation(home: CoordinatorHome, content: bytes) -> Paper:
    institution = _institution_in(content)
    before = member_called(home, institution)
    steps = _rotations(home, institution)
    done = [old for old in steps if read_signed(home.rotation(institution, old)) == content]
    if done:
        return _paper(MembershipChange.NONE, before, home.rotation(institution, done[0]), content)
    body = check_rotation(content, institution, before.identity)
    _check_successor(home, before, body.new, steps)
    after = replace(before, identity=body.new)
    return _paper(MembershipChange.ROTATION, after, home.rotation(institution, body.old), content)


def _check_successor(
    home: CoordinatorHome, before: EnrolledMember, new: str, steps: Mapping[str, str]
) -> None:
    if before.revoked:
        raise UsageError(
            "expected a rotation of a key that holds, found one of a key that was taken back"
        )
    own = {signing_public(home), roster_public(home)}
    taken = {member.identity for member in members(home)} | set(steps) | own
    if new in taken or any(
        path.name.endswith((f".{new}{ROTATION}", f".{new}{REVOCATION}"))
        for path in home.members.iterdir()
    ):
        raise UsageError("expected a new key that no party has or had, found another one")


def _revocation(home: CoordinatorHome, content: bytes) -> Paper:
    institution = _institution_in(content)
    before = member_called(home, institution)
    line = _line_of(before.identity, _rotations(home, institution))
    for key in sorted(line):
        try:
            body = check_revocation(content, institution, key)
        except ProtocolError:
            continue
        path = home.revocation(institution, body.key)
        change = MembershipChange.NONE if path.exists() else MembershipChange.REVOCATION
        return _paper(change, replace(before, identity=body.key), path, content)
    raise UsageError(
        f"expected a revocation signed by a key that {institution!r} has or had here, found another"
    )


def _spoken(key: str) -> str:
    return fingerprint(bytes.fromhex(key))
