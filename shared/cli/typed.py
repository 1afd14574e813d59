"""Secrets that a person types, where no file has them."""

import sys
from pathlib import Path

import typer

from fieldfare.shared.system.key_files import LEAST_PIN, read_passphrase


def token_pin(file: Path | None) -> bytes | None:
    """Return a token's PIN: from a private file or a descriptor, or typed where somebody is there.

    Raises:
        KeysError: as `read_passphrase`.
    """
    if file is None and sys.stdin.isatty():
        typed: str = typer.prompt("PIN of the token", hide_input=True, err=True)
        return typed.encode()
    return read_passphrase(file, LEAST_PIN)
