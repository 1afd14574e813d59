"""What a new institution is sent: where the hub is, and what to know it by.

The bundle that runs are started with is kept when an invitation is made, since institutions
list its hash: an upgrade here changes neither before somebody invites anew.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.server.bundle import build_bundle, bundle_hash
from fieldfare.server.home import CoordinatorHome
from fieldfare.server.settings import load_settings
from fieldfare.shared.enrolment import Invitation, open_invitation, sign_invitation
from fieldfare.shared.errors import KeysError, ProtocolError, UsageError
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
    settings, bundle = load_settings(home), build_bundle()
    try:
        body = Invitation(
            hub=settings.name,
            address=settings.address,
            authority=read_public(home.authority).decode(errors="replace"),
            bundle=bundle_hash(bundle),
            coordinator=public_hex(key),
        )
    except ValueError:
        raise UsageError(
            f"{home.authority}: the authority's certificate in PEM and nothing else expected: "
            "restore it from your backup"
        ) from None
    replace_private(home.bundle_file, bundle)
    replace_private(home.bundle_hash, f"{body.bundle}\n".encode())
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


def kept_bundle(home: CoordinatorHome) -> bytes:
    """Return the bundle that runs are started with, the one that institutions list.

    Raises:
        KeysError: missing, or another one than its hash says.
    """
    content = read_public(home.bundle_file)
    listed = read_public(home.bundle_hash).strip().decode(errors="replace")
    if bundle_hash(content) != listed:
        raise KeysError(
            f"{home.bundle_file}: the bundle with the hash in {home.bundle_hash.name} expected, "
            "another one found: restore both from your backup, or invite every institution anew "
            "with `fieldfare coordinator invitation`"
        )
    return content
