"""`fieldfare study sign`: the coordinator's signature on a study, so that it may be approved.

Errors pass through: the root command turns them into exit codes.
"""

from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.shared.identity import fingerprint, public_hex
from fieldfare.shared.key_files import read_passphrase, read_signing_key
from fieldfare.shared.messages import IdentitySigner
from fieldfare.shared.offers import offer_study
from fieldfare.shared.plan import plan_for
from fieldfare.shared.study import load_study

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
    return read_signing_key(path, read_passphrase(passphrase_file))
