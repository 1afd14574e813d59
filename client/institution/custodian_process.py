"""The process in which a custodian runs as a child of `institution start`; ends with its parent.

The passphrase comes as the first line of the standard input, so that it stands in no argument
and no environment, and can be given again to a custodian that is started again.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import typer

from fieldfare.client.institution.cli_custodian import guard_home
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.supervision import end_with_parent

STOP_SECONDS: Final = 40.0  # a sum in work is finished, as client/service.py gives it time to
MOST_GIVEN: Final = 4096
EXIT_FAILED: Final = 1


def main(arguments: Sequence[str]) -> int:
    """Guard the home that is named; returns the status to end with."""
    passphrase = read_given()
    end_with_parent(STOP_SECONDS)
    try:
        guard_home(Path(arguments[0]), passphrase)
    except FieldfareError as error:
        _complain(str(error))
        return error.exit_code
    except OSError as error:
        _complain(f"{error.filename or 'file'}: {error.strerror or error}")
        return EXIT_FAILED
    return 0


def given_line(passphrase: bytes | None) -> bytes:
    """Return what a parent gives its child: one line, empty without a passphrase."""
    return (passphrase or b"") + b"\n"


def read_given() -> bytes | None:
    """Return the passphrase that a parent gave, or None; reads no further than its line."""
    line = bytearray()
    while len(line) < MOST_GIVEN:
        sign = os.read(0, 1)
        if sign in {b"", b"\n"}:
            break
        line += sign
    return bytes(line) or None


def _complain(message: str) -> None:
    for line in message.split("\n"):
        typer.echo(f"fieldfare: custodian: {line}", err=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
