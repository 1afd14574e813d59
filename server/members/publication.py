"""What members pin: the roster, one version after another, and the invitation to a new institution.

The roster is made of the enrolments. An invitation has the coordinator's address, and the keys to
verify it by.

An invitation names the bundle that runs are started with: making one brings both to what the
installed software has (home/initial_setup.py).

Both are signed by the roster key. Where it lies on another machine, a draft goes there: the same
file without a signature, and comes back signed.
"""

from dataclasses import dataclass
from pathlib import Path

from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.home.initial_setup import keep_bundle
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public, signing_public
from fieldfare.server.home.roster_key import HeldRosterKey
from fieldfare.server.home.settings import load_settings
from fieldfare.server.members.enrolment import alone, enrolled, papers
from fieldfare.server.members.roster import published_roster
from fieldfare.shared.canonical import claimed
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.identity import (
    Invitation,
    open_invitation,
    sign_invitation,
)
from fieldfare.shared.protocol.messages import NoSigner, open_envelope, sign_envelope
from fieldfare.shared.protocol.roster import ROSTER_SIGNER, Member, Roster, RosterKey
from fieldfare.shared.protocol.signed_files import (
    RosterOffer,
    offer_roster,
    offered,
    open_roster,
    read_roster,
    read_signed,
    roster_and_papers,
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


def publish(
    home: CoordinatorHome,
    key: HeldRosterKey,
    *,
    multiplicity: int | None = None,
    after: Path | None = None,
) -> PublishedRoster:
    """Sign the roster of all enrolled institutions; where nothing changed, the last one again.

    It names the hash of the one before it: institutions take the successor of the one that they
    have, and two successors of one roster prove that its coordinator told two stories.

    Args:
        home: the coordinator's.
        key: its roster key.
        multiplicity: institutions that may know the same person; None: as before, at first 1.
        after: the newest roster that any institution has, where the last one here came from an old
            backup.

    Raises:
        UsageError: no institution is enrolled, a paper or the last roster is damaged, `after` is
            no later roster of this coordinator, or the key signed another successor.
        OSError: the disk refuses it.
    """
    with alone(home):
        made = _next(home, multiplicity, after)
        if made == published_roster(home):
            return PublishedRoster(made, read_signed(home.roster), fresh=False)
        content = b"\n".join([key.sign(made), *papers(home, made.ids)])
        _keep(home, made, content)
    return PublishedRoster(made, content, fresh=True)


def draft_roster(
    home: CoordinatorHome, *, multiplicity: int | None = None, after: Path | None = None
) -> bytes:
    """Return what `publish` would sign, with the members' papers, for another machine to sign.

    Raises:
        UsageError: as `publish`, or nothing changed.
    """
    with alone(home):
        made = _next(home, multiplicity, after)
        if made == published_roster(home):
            raise UsageError(
                f"expected a change since version {made.version}, found none: {home.roster} stands"
            )
        return b"\n".join([offer_roster(made, NoSigner()), *papers(home, made.ids)])


def take_roster(home: CoordinatorHome, content: bytes, name: str) -> PublishedRoster:
    """Publish a roster that was signed elsewhere, if it is what `publish` would sign now.

    Args:
        home: the coordinator's.
        content: the signed roster, with the papers or without them.
        name: how messages call it.

    Raises:
        UsageError: not signed by the roster key, or members have changed since.
        OSError: the disk refuses it.
    """
    with alone(home):
        try:
            offer = roster_and_papers(content)[0]
            found = open_roster(offer, roster_public(home))
        except ProtocolError as error:
            raise UsageError(f"{name}: {error}") from None
        last = published_roster(home)
        if found == last:
            return PublishedRoster(found, read_signed(home.roster), fresh=False)
        made = _roster(home, last, found.multiplicity)
        follows = {"version": found.version, "previous": found.previous}
        later = found.version > (last.version if last else 0)
        if not later or made.model_copy(update=follows) != found:
            raise UsageError(
                f"{name}: expected the next roster of these members, found another one: members "
                "changed meanwhile, or it is an older one; write a new draft (--draft)"
            )
        whole = b"\n".join([offer, *papers(home, found.ids)])
        _keep(home, found, whole)
    return PublishedRoster(found, whole, fresh=True)


def drafted(content: bytes, name: str, roster_key: str) -> Roster | Invitation:
    """Return what a draft asks the roster key to sign; nothing of it is believed.

    Args:
        content: of `draft_roster` or `draft_invitation`.
        name: how messages call it.
        roster_key: the public half, hex, of the key that is to sign it.

    Raises:
        UsageError: no draft, or one for another key.
    """
    offer, key = roster_and_papers(content)[0], RosterKey(roster_key)
    try:
        if claimed(offer, "roster") is None:
            found: Roster | Invitation = open_envelope(
                offer, Invitation, key, Protection.SIMULATED
            ).body
        else:
            found = offered(open_envelope(offer, RosterOffer, key, Protection.SIMULATED).body)
    except ProtocolError as error:
        raise UsageError(f"{name}: {error}") from None
    if found.roster_key != roster_key:
        raise UsageError(f"{name}: expected a draft for this roster key, found one for another")
    return found


def sign_draft(content: bytes, name: str, key: HeldRosterKey) -> bytes:
    """Return a draft with the roster key's signature; the papers stay as they are.

    Raises:
        UsageError: as `drafted`, or as `HeldRosterKey.sign`.
        OSError: the disk refuses it.
    """
    found = drafted(content, name, key.public)
    if isinstance(found, Invitation):
        return sign_invitation(found, key.key)
    return b"\n".join([key.sign(found), *roster_and_papers(content)[1]])


def _next(home: CoordinatorHome, multiplicity: int | None, after: Path | None) -> Roster:
    """Return the successor of the last roster; the last one itself where nothing changed."""
    last = published_roster(home)
    newest = last if after is None else _newest(home, after, last)
    made = _roster(home, newest, multiplicity)
    if newest is None or made == newest == last:
        return made
    return made.model_copy(update={"version": newest.version + 1, "previous": newest.hash})


def _keep(home: CoordinatorHome, made: Roster, content: bytes) -> None:
    facts: dict[str, str | int] = {
        "roster": made.hash,
        "version": made.version,
        "multiplicity": made.multiplicity,
    }
    write_down(home, DecisionKind.ROSTER, facts)
    replace_private(home.published(made.version), content)
    replace_private(home.roster, content)


def _newest(home: CoordinatorHome, file: Path, last: Roster | None) -> Roster:
    """Return a member's roster: a later one than the last one here, or that one itself."""
    try:
        found = open_roster(read_roster(file), roster_public(home))
    except ProtocolError as error:
        raise UsageError(f"{file}: {error}") from None
    if last is not None and found != last and found.version <= last.version:
        raise UsageError(
            f"{file}: expected a later roster than the one here, version {last.version}, found "
            f"version {found.version}"
        )
    return found


def _roster(home: CoordinatorHome, last: Roster | None, multiplicity: int | None) -> Roster:
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
        coordinator=signing_public(home),
        members=listed,
        roster_key=roster_public(home),
        previous=last.previous if last else "",
    )


# -- invitation -----------------------------------------------------------------------------------


def invite(home: CoordinatorHome, key: HeldRosterKey) -> Invitation:
    """Write the invitation, as the settings and the installed bundle are now.

    Args:
        home: the coordinator's.
        key: its roster key.

    Raises:
        StudyError: the settings have mistakes.
        KeysError: the authority's certificate is missing.
        UsageError: the authority's certificate is damaged.
        OSError: the disk refuses it.
    """
    body = _invitation(home)
    _keep_invitation(home, body, sign_invitation(body, key.key))
    return body


def draft_invitation(home: CoordinatorHome) -> bytes:
    """Return what `invite` would sign, for another machine to sign.

    Raises:
        StudyError, KeysError, UsageError, OSError: as `invite`.
    """
    return sign_envelope(_invitation(home), ROSTER_SIGNER, NoSigner())


def take_invitation(home: CoordinatorHome, content: bytes, name: str) -> Invitation:
    """Keep an invitation that was signed elsewhere, if it is what `invite` would sign now.

    Raises:
        UsageError: not signed by the roster key, or of other settings.
        StudyError, KeysError, OSError: as `invite`.
    """
    try:
        found = open_invitation(content)
    except ProtocolError as error:
        raise UsageError(f"{name}: {error}") from None
    if found != _invitation(home):
        raise UsageError(
            f"{name}: expected an invitation as the settings are, found another: write a new draft "
            "(--draft)"
        )
    _keep_invitation(home, found, content)
    return found


def _keep_invitation(home: CoordinatorHome, body: Invitation, content: bytes) -> None:
    write_down(home, DecisionKind.INVITATION, {"address": body.address, "bundle": body.bundle})
    replace_private(home.invitation, content + b"\n")


def _invitation(home: CoordinatorHome) -> Invitation:
    settings = load_settings(home)
    try:
        return Invitation(
            hub=settings.name,
            address=settings.address,
            authority=read_public(home.authority).decode(errors="replace"),
            bundle=keep_bundle(home),
            roster_key=roster_public(home),
        )
    except ValueError:
        raise UsageError(
            f"{home.authority}: expected the authority's certificate in PEM and nothing else, "
            "found other text: restore it from your backup"
        ) from None


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
