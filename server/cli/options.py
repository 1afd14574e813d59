"""Options that every coordinator command shares."""

from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_HOME: Final = Path("coordinator")
EXIT_DECLINED: Final = 1  # a person was asked and said no

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="FIELDFARE_COORDINATOR",
        help="The coordinator's folder.",
        show_default="./coordinator",
    ),
]

# A file, never the passphrase itself: arguments and environments can be read by others.
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        envvar="FIELDFARE_PASSPHRASE_FILE",
        help="A private file whose one line is the signing key's passphrase.",
        show_default=False,
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="For programs: JSON on stdout.")]
