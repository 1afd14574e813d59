"""The roster key: it signs rosters and invitations, nothing else, and may lie elsewhere.

Its place is one file: the private key itself, or the URI of a key in a token (RFC 7512). The home
keeps the public half. Beside the file lies the roster that it signed last, so that nobody makes it
sign two successors of one (docs/adr/0022-rosters-have-a-key-of-their-own.md).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import is_token, roster_public
from fieldfare.shared.errors import KeysError, ProtocolError, UsageError
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.roster import Roster, contradicts
from fieldfare.shared.protocol.signed_files import offer_roster, open_roster, read_signed
from fieldfare.shared.system.key_files import read_signing_key, signing_pem
from fieldfare.shared.system.private_files import (
    create_private,
    read_private,
    replace_private,
)
from fieldfare.shared.system.token_keys import check_token, make_token_key, open_token_key

LAST: Final = ".last"  # suffix of the roster that was signed last


@dataclass(frozen=True)
class RosterKeyPlace:
    """Where the private half is to be made.

    Attributes:
        file: of the key, or of its URI; None: in the home.
        secret: the file's passphrase, or the token's PIN; None: neither.
        uri: its place in a token; empty: the file holds the key itself.
    """

    file: Path | None = None
    secret: bytes | None = None
    uri: str = ""


@dataclass(frozen=True)
class HeldRosterKey:
    """The roster key, open.

    Attributes:
        key: its private half.
        place: the file.
    """

    key: Ed25519PrivateKey
    place: Path

    @property
    def public(self) -> str:
        """Its public half, hex."""
        return public_hex(self.key)

    @property
    def last(self) -> Path:
        """The file of the roster that it signed last."""
        return self.place.with_name(self.place.name + LAST)

    def signed_last(self) -> Roster | None:
        """Return the roster that it signed last; None before the first one.

        Raises:
            UsageError: the file is damaged, or another key's.
        """
        if not self.last.exists():
            return None
        try:
            return open_roster(read_signed(self.last), self.public)
        except ProtocolError as error:
            raise UsageError(f"{self.last}: {error}: restore it from your backup") from None

    def sign(self, roster: Roster) -> bytes:
        """Sign a roster, unless another one was signed that is no predecessor of it.

        Raises:
            UsageError: it contradicts the one that was signed last, or is older.
            OSError: that it was signed cannot be written down.
        """
        last = self.signed_last()
        stale = last is not None and roster.version <= last.version
        if last is not None and roster != last and (stale or contradicts(last, roster)):
            raise UsageError(
                f"expected a successor of version {last.version}, which this key signed last, "
                f"found another version {roster.version}: two rosters of one version are a proof "
                "against you. Publish the next one: fieldfare coordinator roster --after "
                f"{self.last}"
            )
        content = offer_roster(roster, IdentitySigner(self.key))
        replace_private(self.last, content)  # before anybody can have it
        return content


def check_place(place: RosterKeyPlace) -> None:
    """Look whether a key can be made there, and change nothing.

    Raises:
        UsageError: a file is there already; it is not replaced.
        KeysError, PackageError: the token does not open.
    """
    if place.file is not None and place.file.exists():
        raise UsageError(
            f"{place.file}: expected a new file for the roster key, found an existing one: nothing "
            "is overwritten"
        )
    if place.uri:
        check_token(place.uri, place.secret)


def make_roster_key(home: CoordinatorHome, place: RosterKeyPlace) -> HeldRosterKey:
    """Make the key at its place, and keep its public half in the home.

    Raises:
        UsageError: a file is there already; nothing is overwritten.
        KeysError: the token makes no key.
        PackageError: the extra for tokens is not installed.
        OSError: the disk refuses it.
    """
    file = place.file or home.roster_key
    if place.uri:
        key: Ed25519PrivateKey = make_token_key(place.uri, place.secret)
        create_private(file, place.uri.encode() + b"\n")
    else:
        key = Ed25519PrivateKey.generate()
        create_private(file, signing_pem(key, place.secret))
    create_private(home.roster_public, f"{public_hex(key)}\n".encode())
    return HeldRosterKey(key, file)


def open_roster_key(place: Path, secret: bytes | None) -> HeldRosterKey:
    """Open the key of a file, whoever's it is.

    Raises:
        KeysError: missing, open to others, another kind of key, or a wrong, missing or needless
            passphrase or PIN.
        PackageError: the extra for tokens is not installed.
    """
    if not place.exists():
        raise KeysError(
            f"{place}: expected the roster key, found nothing: insert the stick, or name its file "
            "(--roster-key); where it lies on another machine, write a draft (--draft), and sign "
            "that there: fieldfare coordinator sign"
        )
    if is_token(place):
        uri = read_private(place).decode(errors="replace").strip()
        return HeldRosterKey(open_token_key(uri, secret), place)
    return HeldRosterKey(read_signing_key(place, secret), place)


def load_roster_key(
    home: CoordinatorHome, secret: bytes | None, place: Path | None = None
) -> HeldRosterKey:
    """Open the home's roster key.

    Args:
        home: the coordinator's.
        secret: the passphrase of its file, or the PIN of its token.
        place: its file; None: in the home.

    Raises:
        KeysError: as `open_roster_key`, or another key than roster.pub says.
        PackageError: the extra for tokens is not installed.
    """
    held = open_roster_key(place or home.roster_key, secret)
    if held.public != roster_public(home):
        raise KeysError(
            f"{held.place}: expected the private half of {home.roster_public}, found another "
            "key: institutions pinned the public one"
        )
    return held
