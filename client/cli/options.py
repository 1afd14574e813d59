"""Options that every institution command shares."""

import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.home.layout import Home
from fieldfare.shared.cli.typed import token_pin
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.key_files import read_passphrase

DEFAULT_HOME: Final = Path("institution")
EXIT_DECLINED: Final = 1  # a person was asked and said no


def ask(question: str, option: str, default: str = "") -> str:
    """Ask a person for one line, or read it where answers are piped in.

    Raises:
        UsageError: there is no answer; the message names the option to give instead.
    """
    typer.echo(f"{question}{f' [{default}]' if default else ''}: ", nl=False)
    line = sys.stdin.readline()
    if not line:
        typer.echo("")
        raise UsageError(
            f"{option}: expected an answer, found no terminal and no piped line: give {option}"
        )
    return line.strip() or default


def agreed(question: str) -> bool:
    """Ask a person for yes or no; anything but yes is no.

    Raises:
        UsageError: there is no answer; the message says to give --yes.
    """
    return ask(f"{question} [y/N]", "--yes").lower() in {"y", "yes"}


def refuse_options(given: Mapping[str, object], expected: str) -> None:
    """Refuse options that mean nothing in a call.

    Raises:
        UsageError: one of them was given.
    """
    for name, value in given.items():
        if value:
            raise UsageError(f"{name}: expected {expected}")


def day_given(text: str, option: str, example: str = "2026-03-31") -> date:
    """Read a day.

    Raises:
        UsageError: it is none; the message names the option.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option}: expected a date such as {example}, found {text}") from None


HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="FIELDFARE_HOME",
        help="The institution's folder.",
        show_default="./institution",
    ),
]

QueueOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="FIELDFARE_HOME",
        help="The institution's folder, or the casework folder of its analysts.",
        show_default="./institution",
    ),
]


def identity_secret(home: Home, file: Path | None) -> bytes | None:
    """Return the passphrase of an identity, or the PIN of its token: from a file, or typed.

    Raises:
        KeysError: as `read_passphrase`.
    """
    return token_pin(file) if home.identity_uri.exists() else read_passphrase(file)


KeyOption = Annotated[
    str,
    typer.Option(
        "--key",
        metavar="URI",
        help="Make the identity in a token: pkcs11:token=LABEL;object=LABEL?module-path=LIBRARY",
        show_default=False,
    ),
]

# A file, never the passphrase itself: arguments and environments can be read by others.
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        envvar="FIELDFARE_PASSPHRASE_FILE",
        help="A private file whose one line is the identity's passphrase, or its token's PIN.",
        show_default=False,
    ),
]

ModelOption = Annotated[
    str, typer.Option("--model", metavar="STUDY|RUN", help="A run, or first digits of its study.")
]
ProofOption = Annotated[
    Path | None,
    typer.Option("--proof", help="Where a proof of two stories is written.", show_default=False),
]
UnverifiedOption = Annotated[
    bool,
    typer.Option(
        "--unverified", help="Also a model, or a card's figures, that are the coordinator's word."
    ),
]
RecordsOption = Annotated[
    list[Path] | None,
    typer.Option(help="A file or folder instead of what institution.toml names."),
]
MappingOption = Annotated[Path | None, typer.Option(help="With --records: a mapping file for it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Everything, as JSON.")]
ProgramsOption = Annotated[bool, typer.Option("--json", help="Everything, for programs.")]
