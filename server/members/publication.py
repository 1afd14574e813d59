"""The roster that all members pin: published from the enrolments, one version after another.

The invitation to a new institution: the coordinator's address, and the keys to verify it by.

An invitation names the bundle that runs are started with: making one brings both to what the
installed software has (home/initial_setup.py).
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.home.initial_setup import keep_bundle, signing_public
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.server.members.enrolment import alone, enrolled, papers
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.protocol.identity import (
    Invitation,
    open_invitation,
    public_hex,
    sign_invitation,
)
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.roster import Member, Roster
from fieldfare.shared.protocol.signed_files import (
    offer_roster,
    open_roster,
    read_roster,
    read_signed,
)
from fieldfare.shared.system.private_files import read_public, replace_private


@dataclass(frozen=True)
class PublishedRoster:
    """A roster that institutions can pin.

    Attributes:
        roster: its content.
        content: the file: the signed offer, then the members' own papers.
        fresh: it is a new version; False: nothing had changed.
    """

    roster: Roster
    content: bytes
    fresh: bool


def published_roster(home: CoordinatorHome) -> Roster | None:
    """Return the roster that was published last, None before the first one.

    Raises:
        UsageError: damaged, or another coordinator's.
    """
    if not home.roster.exists():
        return None
    try:
        return open_roster(read_roster(home.roster), signing_public(home))
    except ProtocolError as error:
        raise UsageError(f"{home.roster}: {error}: restore it from your backup") from None


def publish(
    home: CoordinatorHome,
    key: Ed25519PrivateKey,
    *,
    multiplicity: int | None = None,
    after: Path | None = None,
) -> PublishedRoster:
    """Sign the roster of all enrolled institutions; where nothing changed, the last one again.

    It names the hash of the one before it: institutions take the successor of the one that they
    have, and two successors of one roster prove that its coordinator told two stories.

    Args:
        home: the coordinator's.
        key: its signing key.
        multiplicity: institutions that may know the same person; None: as before, at first 1.
        after: the newest roster that any institution has, where the last one here came from an old
            backup.

    Raises:
        UsageError: no institution is enrolled, a paper or the last roster is damaged, or `after` is
            no later roster of this coordinator.
        OSError: the disk says no.
    """
    with alone(home):
        last = published_roster(home)
        if after is not None:
            last = _later(home, after, last)
        made = _roster(home, public_hex(key), last, multiplicity)
        if last is not None and made == last and after is None:
            return PublishedRoster(made, read_signed(home.roster), fresh=False)
        follows = {"version": last.version + 1, "previous": last.hash} if last else {}
        made = made.model_copy(update=follows)
        content = b"\n".join([offer_roster(made, IdentitySigner(key)), *papers(home, made.ids)])
        facts: dict[str, str | int] = {
            "roster": made.hash,
            "version": made.version,
            "multiplicity": made.multiplicity,
        }
        write_down(home, DecisionKind.ROSTER, facts)
        replace_private(home.published(made.version), content)
        replace_private(home.roster, content)
    return PublishedRoster(made, content, fresh=True)


def _later(home: CoordinatorHome, file: Path, last: Roster | None) -> Roster:
    try:
        found = open_roster(read_roster(file), signing_public(home))
    except ProtocolError as error:
        raise UsageError(f"{file}: {error}") from None
    if last is not None and found.version <= last.version:
        raise UsageError(
            f"{file}: expected a later roster than the one here, version {last.version}, found "
            f"version {found.version}"
        )
    return found


def _roster(
    home: CoordinatorHome, coordinator: str, last: Roster | None, multiplicity: int | None
) -> Roster:
    listed = tuple(Member(id=one.institution, key=one.identity) for one in enrolled(home))
    if not listed:
        raise UsageError(
            "expected at least one enrolled institution, found none: fieldfare coordinator enrol "
            "FILE"
        )
    known_to = multiplicity or (last.multiplicity if last else 1)
    return Roster(
        version=last.version if last else 1,
        multiplicity=known_to,
        coordinator=coordinator,
        members=listed,
        previous=last.previous if last else "",
    )


# -- invitation -----------------------------------------------------------------------------------


def invite(home: CoordinatorHome, key: Ed25519PrivateKey) -> Invitation:
    """Write the invitation, as the settings and the installed bundle are now.

    Args:
        home: the coordinator's.
        key: its signing key.

    Raises:
        StudyError: the settings have mistakes.
        KeysError: the authority's certificate is missing.
        UsageError: the authority's certificate is damaged.
        OSError: the disk says no.
    """
    settings = load_settings(home)
    try:
        body = Invitation(
            hub=settings.name,
            address=settings.address,
            authority=read_public(home.authority).decode(errors="replace"),
            bundle=keep_bundle(home),
            coordinator=public_hex(key),
        )
    except ValueError:
        raise UsageError(
            f"{home.authority}: expected the authority's certificate in PEM and nothing else, "
            "found other text: restore it from your backup"
        ) from None
    write_down(home, DecisionKind.INVITATION, {"address": body.address, "bundle": body.bundle})
    replace_private(home.invitation, sign_invitation(body, key) + b"\n")
    return body


def present_invitation(home: CoordinatorHome) -> Invitation | None:
    """Return the invitation that was made last, None before the first one.

    Raises:
        UsageError: damaged.
    """
    if not home.invitation.exists():
        return None
    try:
        return open_invitation(read_signed(home.invitation))
    except ProtocolError as error:
        raise UsageError(
            f"{home.invitation}: {error}: make it anew with `fieldfare coordinator invitation`"
        ) from None
