"""The first setup of an institution: home, keys, policy and settings; then joining a coordinator.

The settings are written last: a home without them does not open, so none that was left half made
is taken for a whole one. Nothing of an invitation counts before a person compared the fingerprint
of the key that signed it; a later invitation counts where the pinned key signed it.
"""

from pathlib import Path
from typing import Final

import tomlkit
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tomlkit.exceptions import TOMLKitError

from fieldfare.client.home.keys import create_keys, node_public_line
from fieldfare.client.home.layout import NODE_FILE, Home
from fieldfare.client.home.policy import check_public_key, load_policy, pinned_coordinator
from fieldfare.client.home.policy_explained import policy_text
from fieldfare.client.home.settings import settings_text
from fieldfare.client.node.settings import AUTHORITY_FILE, NodeSettings
from fieldfare.shared.errors import ProtocolError, StudyError, UsageError
from fieldfare.shared.protocol.identity import (
    Enrolment,
    Invitation,
    fingerprint,
    open_invitation,
    public_hex,
    sign_enrolment,
)
from fieldfare.shared.study.toml import parse_toml
from fieldfare.shared.system.first_settings import fill_toml
from fieldfare.shared.system.private_files import create_private, read_public, replace_private
from fieldfare.shared.system.token_keys import check_token


def create_institution(
    path: Path,
    institution: str,
    *,
    passphrase: bytes | None = None,
    coordinator: str = "",
    uri: str = "",
) -> Home:
    """Make an institution's home with everything that `init` promises.

    Args:
        path: a new or an empty folder.
        institution: its id, as it will stand on the roster.
        passphrase: of the identity; None leaves it unprotected but for the file's mode. The
            token's PIN where it is in one.
        coordinator: the coordinator's public key, hex, to pin; empty: pinned later.
        uri: the identity's place in a token; empty: a file.

    Raises:
        StudyError: `institution` may not name an institution.
        KeysError: `coordinator` is no key, or the token makes none.
        UsageError: something is there already; nothing is overwritten.
        OSError: the disk or a folder refuses it.
    """
    settings = settings_text(institution)  # checked before anything is made
    if coordinator:
        check_public_key(coordinator, "coordinator's key")
    if uri:
        check_token(uri, passphrase)
    home = Home.create(path)
    create_keys(home, passphrase, uri)
    create_private(home.policy, policy_text(coordinator).encode())
    if coordinator:
        create_private(home.coordinator_key, f"{coordinator}\n".encode())
    create_private(home.settings, settings.encode())
    return home


# -- joining --------------------------------------------------------------------------------------

ENROLMENT_SUFFIX: Final = ".enrolment"  # after the id: files of several do not collide


def read_invitation(content: bytes, name: str) -> Invitation:
    """Parse an invitation; who signed it is for a person to compare.

    Raises:
        UsageError: malformed, or not signed by the key that it names.
    """
    try:
        return open_invitation(content)
    except ProtocolError as error:
        raise UsageError(f"{name}: {error}: ask the coordinator for it again") from None


def check_pinned(home: Home, invitation: Invitation, name: str) -> bool:
    """Tell whether the invitation's coordinator is pinned already; nothing pinned is no.

    Raises:
        UsageError: another coordinator is pinned; an institution follows one.
        StudyError: the policy has mistakes.
        KeysError: policy and coordinator.pub pin different keys.
    """
    policy = load_policy(home)
    if not policy.coordinator and not home.coordinator_key.exists():
        return False
    pinned = pinned_coordinator(home, policy)
    if pinned == invitation.roster_key:
        return True
    raise UsageError(
        f"{name}: expected an invitation by the pinned coordinator, {_spoken(pinned)}, found one "
        f"by {_spoken(invitation.roster_key)}: nothing was changed. An institution follows one "
        "coordinator; for another one make another home"
    )


def pin_coordinator(home: Home, invitation: Invitation) -> None:
    """Write coordinator.pub.

    Raises:
        UsageError: it exists; a pinned key is never replaced.
        OSError: the disk refuses it.
    """
    create_private(home.coordinator_key, f"{invitation.roster_key}\n".encode())


def write_node_files(home: Home, invitation: Invitation) -> None:
    """Write the authority's certificate and node.toml; other settings of node.toml stay.

    Raises:
        StudyError: node.toml exists and cannot be read or completed.
        OSError: the disk refuses it.
    """
    path = home.path / NODE_FILE
    text = _node_text(path, invitation)
    parse_toml(text, NodeSettings, str(path))
    replace_private(home.path / AUTHORITY_FILE, invitation.authority.encode())
    replace_private(path, text.encode())


def _node_text(path: Path, invitation: Invitation) -> str:
    if not path.exists():
        room, bundles = "fieldfare.client.institution", (invitation.bundle,)
        return fill_toml(room, "node.toml", superlink=invitation.address, bundles=bundles)
    try:
        document = tomlkit.parse(read_public(path).decode())
    except (TOMLKitError, UnicodeDecodeError):
        raise StudyError(
            f"{path}: expected TOML, found something else: correct it, or move it away"
        ) from None
    document["superlink"] = invitation.address
    document.pop("authority", None)  # of an earlier file; it lies beside this one
    listed = document.get("bundles")
    earlier = [str(bundle) for bundle in listed] if isinstance(listed, list) else []
    # Runs that were started with an earlier bundle may still go on.
    document["bundles"] = [invitation.bundle, *(b for b in earlier if b != invitation.bundle)]
    return tomlkit.dumps(document)


def enrolment_for(
    home: Home,
    institution: str,
    invitation: Invitation,
    identity: Ed25519PrivateKey,
    contact: str,
) -> bytes:
    """Return the signed paper that asks for a place on the roster.

    Raises:
        UsageError: a contact that is not one line of at most 200 printable characters.
        KeysError: the node's public key is missing or damaged.
    """
    node = node_public_line(home)
    try:
        body = Enrolment(
            institution=institution,
            identity=public_hex(identity),
            node=node,
            contact=contact,
            hub=invitation.hub,
            roster_key=invitation.roster_key,
        )
    except ValueError:
        raise UsageError(
            "--contact: expected one line of at most 200 printable characters, found another form"
        ) from None
    return sign_enrolment(body, identity)


def _spoken(key: str) -> str:
    return fingerprint(bytes.fromhex(key))
