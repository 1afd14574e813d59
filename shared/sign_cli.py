"""`fieldfare study sign`: the coordinator's signature on a study, so that it may be approved.

Errors pass through: the root command turns them into exit codes.
"""

import stat
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fieldfare.shared.errors import KeysError
from fieldfare.shared.identity import fingerprint, public_hex
from fieldfare.shared.messages import IdentitySigner
from fieldfare.shared.offers import offer_study
from fieldfare.shared.plan import plan_for
from fieldfare.shared.study import load_study

MAX_KEY_BYTES: Final = 64 * 1024
OTHERS: Final = 0o077

study_sign_app = typer.Typer(add_completion=False)


@study_sign_app.command("sign")
def study_sign(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")],
    key: Annotated[Path, typer.Option(help="The coordinator's Ed25519 key, PKCS8 PEM, 0600.")],
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="A private file whose one line is its passphrase.", show_default=False),
    ] = None,
) -> None:
    """Check a study and sign it as the coordinator; the sealed study goes to stdout."""
    signed = load_study(study)
    plan_for(signed).check_noise(signed.aggregation.minimum_institutions)
    signer = coordinator_key(key, passphrase_file)
    typer.echo(offer_study(signed, IdentitySigner(signer)))
    public = fingerprint(bytes.fromhex(public_hex(signer)))
    typer.echo(f"signed {signed.id} as coordinator {public}", err=True)


def coordinator_key(path: Path, passphrase_file: Path | None) -> Ed25519PrivateKey:
    """Load the coordinator's key.

    Raises:
        KeysError: unreadable, open to others, another kind of key, or a wrong, missing or
            needless passphrase.
    """
    passphrase = None
    if passphrase_file is not None:
        passphrase = _read_private(passphrase_file).rstrip(b"\r\n")
    try:
        found = load_pem_private_key(_read_private(path), passphrase)
    except TypeError:  # the library's answer where exactly one of file and caller has one
        raise KeysError(
            f"{path}: a passphrase where the key has one, and none where it has none, expected: "
            "see --passphrase-file"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeysError(
            f"{path}: an Ed25519 key in PKCS8 PEM and its passphrase expected, another or a "
            "damaged file found"
        ) from None
    if not isinstance(found, Ed25519PrivateKey):
        raise KeysError(f"{path}: an Ed25519 key expected, another kind found")
    return found


def _read_private(path: Path) -> bytes:
    """Read a file with a secret; a pipe is taken as it is."""
    try:
        mode = path.stat().st_mode
        exposed = stat.S_ISREG(mode) and mode & OTHERS
        if exposed:
            raise KeysError(
                f"{path}: mode 0600 expected, {stat.S_IMODE(mode):04o} found, so others may have "
                f"read it: replace it if they may, then chmod 600 {path}"
            )
        with path.open("rb") as file:
            content = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise KeysError(f"{path}: a readable file expected, found: {error.strerror}") from None
    if len(content) > MAX_KEY_BYTES:
        raise KeysError(f"{path}: at most {MAX_KEY_BYTES} bytes expected, more found")
    return content
