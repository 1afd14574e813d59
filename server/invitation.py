"""The invitation to a new institution: the hub's address, and the keys to verify it by.

An invitation names the bundle that runs are started with: making one brings both to what the
installed software has (bundle_file.py).
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.server.bundle_file import keep_bundle
from fieldfare.server.decisions import Decision, write_down
from fieldfare.server.home import CoordinatorHome
from fieldfare.server.settings import load_settings
from fieldfare.shared.enrolment import Invitation, open_invitation, sign_invitation
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.identity import public_hex
from fieldfare.shared.private_files import read_public, replace_private
from fieldfare.shared.sealed_files import read_sealed


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
    write_down(home, Decision.INVITATION, {"address": body.address, "bundle": body.bundle})
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
        return open_invitation(read_sealed(home.invitation))
    except ProtocolError as error:
        raise UsageError(
            f"{home.invitation}: {error}: make it anew with `fieldfare coordinator invitation`"
        ) from None
