"""Options that every institution command shares."""

from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_HOME: Final = Path("institution")
EXIT_DECLINED: Final = 1  # a person was asked and said no

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
