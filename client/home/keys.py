"""An institution's keys: made once, checked when loaded, the identity replaced by a rotation.

    identity  Ed25519: signs approvals and replies; on the roster; in a file, or in a token
    node      NIST P-384: authenticates the connection to the coordinator; opens no data
    holdout   32 bytes: which units are held out

The node key carries no passphrase: Flower's loader takes none, and it protects a
connection in the outer zone, not records.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fieldfare.client.home.layout import INVENTED, Home
from fieldfare.shared.errors import KeysError
from fieldfare.shared.protocol.identity import (
    check_rotation,
    fingerprint,
    node_key_fingerprint,
    node_key_line,
    parse_node_key,
    parse_public_hex,
    public_hex,
    state_revocation,
    state_rotation,
)
from fieldfare.shared.system.key_files import read_node_key, read_signing_key, signing_pem
from fieldfare.shared.system.late import late
from fieldfare.shared.system.private_files import (
    create_private,
    folder_lock,
    read_private,
    read_public,
    replace_private,
)

# A key lies in a file, but for a few institutions.
make_token_key: Final = late("fieldfare.shared.system.token_keys", "make_token_key")
open_token_key: Final = late("fieldfare.shared.system.token_keys", "open_token_key")

HOLDOUT_BYTES: Final = 32
SIMULATED_BYTES: Final = 64  # of a simulation's: the longest key of BLAKE2b
LOST: Final = ".lost"  # after a public key whose private half no restored home has


@dataclass(frozen=True)
class Rotation:
    """The result of a rotation of the identity.

    Attributes:
        old: former public key, hex.
        new: present public key, hex.
        statement: the file that the coordinator needs, signed by both.
    """

    old: str
    new: str
    statement: Path


def create_keys(home: Home, passphrase: bytes | None, uri: str = "") -> None:
    """Make the identity, the node key and the hold-out key in an empty home.

    Args:
        home: whose keys these are.
        passphrase: of the identity's file, or the PIN of its token.
        uri: the identity's place in a token (RFC 7512); empty: a file here.

    Raises:
        UsageError: one of the files exists; nothing is overwritten.
        KeysError: the token makes no key.
        PackageError: the extra for tokens is not installed.
    """
    create_signing_keys(home, passphrase, uri)
    create_holdout_key(home)


def create_signing_keys(home: Home, passphrase: bytes | None, uri: str = "") -> None:
    """Make the identity and the node key, where a restored home has neither.

    Raises:
        UsageError, KeysError, PackageError: as `create_keys`.
    """
    if uri:
        identity: Ed25519PrivateKey = make_token_key(uri, passphrase)
        create_private(home.identity_uri, uri.encode() + b"\n")
    else:
        identity = Ed25519PrivateKey.generate()
        create_private(home.identity_key, signing_pem(identity, passphrase))
    create_private(home.identity_public, public_hex(identity).encode() + b"\n")
    private, public = _new_node_key()
    create_private(home.node_key, private)
    create_private(home.node_public, public)


def create_holdout_key(home: Home) -> None:
    """Make the hold-out key.

    Raises:
        UsageError: it exists; nothing is overwritten.
    """
    create_private(home.holdout_key, secrets.token_bytes(HOLDOUT_BYTES))


def load_identity(home: Home, passphrase: bytes | None) -> Ed25519PrivateKey:
    """Load the identity, or open it in its token.

    Args:
        home: whose identity.
        passphrase: of its file, or the PIN of its token.

    Raises:
        KeysError: missing, open to others, another kind of key, a wrong, missing or needless
            passphrase, or a public half in identity.pub that is not this key's.
        PackageError: the extra for tokens is not installed.
    """
    if home.identity_uri.exists():
        path = home.identity_uri
        uri = read_public(path).decode(errors="replace").strip()
        key: Ed25519PrivateKey = open_token_key(uri, passphrase)
    else:
        path = home.identity_key
        key = read_signing_key(path, passphrase)
    if public_identity(home) != public_hex(key):
        raise KeysError(
            f"{home.identity_public}: expected the public half of {path}, found another: it is "
            f"{public_hex(key)}; write that into the file and compare fingerprints again"
        )
    return key


def load_node_key(home: Home) -> ec.EllipticCurvePrivateKey:
    """Load the node key.

    Raises:
        KeysError: as `read_node_key`.
    """
    return read_node_key(home.node_key)


def load_holdout_key(home: Home) -> bytes:
    """Load the hold-out key.

    Raises:
        KeysError: missing, open to others, or not 32 bytes (64 where an invented bank has its
            simulation's).
    """
    content = read_private(home.holdout_key)
    # A key of 32 bytes written down as hex has 64 too: in anybody's own home that is another key.
    invented = (home.path / INVENTED).is_file() and len(content) == SIMULATED_BYTES
    if len(content) != HOLDOUT_BYTES and not invented:
        raise KeysError(
            f"{home.holdout_key}: expected {HOLDOUT_BYTES} bytes, found {len(content)}: restore it "
            "from your backup; another one would mix held-out units into training; if it is "
            "lost for good, move it away and say so: fieldfare institution ledger holdout-key"
        )
    return content


def public_identity(home: Home) -> str:
    """Return the identity's public key, hex, from identity.pub.

    Raises:
        KeysError: missing, or not 64 hexadecimal digits.
    """
    return parse_public_hex(read_public(home.identity_public), str(home.identity_public))


def former_identities(home: Home) -> tuple[str, ...]:
    """Return the public keys, hex, that the identity had before its rotations and restores."""
    found = (*home.rotations.glob("*.signed"), *home.rotations.glob(f"*{LOST}"))
    return tuple(sorted(path.stem for path in found))


def identity_fingerprint(home: Home) -> str:
    """Return the identity's fingerprint, to compare out of band.

    Raises:
        KeysError: as `public_identity`.
    """
    return fingerprint(bytes.fromhex(public_identity(home)))


def node_fingerprint(home: Home) -> str:
    """Return the node key's fingerprint: the digest that `ssh-keygen -l -f node.pub` prints.

    Raises:
        KeysError: missing, or no NIST P-384 key in OpenSSH format.
    """
    return node_key_fingerprint(node_public_line(home))


def node_public_line(home: Home) -> str:
    """Return the node's public key as one OpenSSH line, without a comment.

    Raises:
        KeysError: missing, or no NIST P-384 key in OpenSSH format.
    """
    words = read_public(home.node_public).decode("ascii", errors="replace").split()
    line = " ".join(words[:2])  # ssh-keygen adds a comment
    try:
        parse_node_key(line)
    except ValueError:
        raise KeysError(
            f"{home.node_public}: expected a NIST P-384 OpenSSH public key, found another form"
        ) from None
    return line


def renew_node_key(home: Home) -> None:
    """Replace the node key; a coordinator knows the node again after a new enrolment.

    After a crash between the two files they do not belong together; calling this again makes
    both anew.

    Raises:
        OSError: the disk refuses it.
    """
    private, public = _new_node_key()
    replace_private(home.node_key, private)
    replace_private(home.node_public, public)


def rotate_identity(
    home: Home,
    institution: str,
    passphrase: bytes | None,
    *,
    uri: str = "",
    pin: bytes | None = None,
) -> Rotation:
    """Replace the identity; the old public key stays, with a statement that both keys signed.

    The new key keeps the old one's passphrase, or is made in a token at `uri` under `pin`. After a
    crash the identity is the old or the new one, and the new one never without its statement.

    Raises:
        KeysError: as `load_identity`, or another rotation is under way.
        OSError: the disk refuses it.
    """
    with _alone(home):
        old = load_identity(home, passphrase)
        if home.identity_uri.exists() and not uri:
            raise KeysError(
                f"{home.identity_uri}: expected a place for the new key too, found none: give the "
                "URI of a new label in the token (--key)"
            )
        new = make_token_key(uri, pin) if uri else Ed25519PrivateKey.generate()
        statement = state_rotation(institution, old, new)
        check_rotation(statement, institution, public_hex(old))
        path = home.rotations / f"{public_hex(old)}.signed"
        # One file for each former key: one left by a crash names a key that was never in use.
        replace_private(path, statement)
        replace_private(home.identity_public, public_hex(new).encode() + b"\n")
        if uri:
            replace_private(home.identity_uri, uri.encode() + b"\n")
            home.identity_key.unlink(missing_ok=True)
        else:
            replace_private(home.identity_key, signing_pem(new, passphrase))
    return Rotation(public_hex(old), public_hex(new), path)


def revoke_identity(home: Home, institution: str, passphrase: bytes | None) -> bytes:
    """Return the statement that takes the present identity back; changes nothing here.

    Raises:
        KeysError: as `load_identity`.
    """
    return state_revocation(institution, load_identity(home, passphrase))


def _new_node_key() -> tuple[bytes, bytes]:
    """Return a new private key in OpenSSH format, and its public line."""
    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return pem, f"{node_key_line(key.public_key())}\n".encode()


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Keep a second rotation out: each would sign for a key that the other throws away."""
    with folder_lock(home.keys) as alone:
        if not alone:
            raise KeysError(
                f"{home.keys}: expected one rotation at a time, found another under way"
            )
        yield
