"""Options that every institution command shares."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.shared.errors import UsageError

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


HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="FIELDFARE_HOME",
        help="The institution's folder.",
        show_default="./institution",
    ),
]

DeskOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="FIELDFARE_HOME",
        help="The institution's folder, or the casework folder of its analysts.",
        show_default="./institution",
    ),
]

# A file, never the passphrase itself: arguments and environments can be read by others.
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        envvar="FIELDFARE_PASSPHRASE_FILE",
        help="A private file whose one line is the identity's passphrase.",
        show_default=False,
    ),
]

ModelOption = Annotated[
    str, typer.Option("--model", metavar="STUDY|RUN", help="A run, or first digits of its study.")
]
RecordsOption = Annotated[
    list[Path] | None,
    typer.Option(help="A file or folder instead of what institution.toml names."),
]
MappingOption = Annotated[Path | None, typer.Option(help="With --records: a mapping file for it.")]
