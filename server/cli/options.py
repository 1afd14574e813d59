"""Options that every coordinator command shares."""

from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import is_token
from fieldfare.server.home.roster_key import HeldRosterKey, load_roster_key
from fieldfare.shared.advice import at_home
from fieldfare.shared.cli.typed import token_pin
from fieldfare.shared.system.key_files import read_passphrase

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
        help="A private file whose one line is the online key's passphrase.",
        show_default=False,
    ),
]

RosterKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--roster-key",
        metavar="FILE",
        envvar="FIELDFARE_ROSTER_KEY",
        help="The roster key, where it lies outside the folder: on a stick.",
        show_default="keys/roster.pem",
    ),
]

RosterPassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--roster-passphrase-file",
        metavar="FILE",
        envvar="FIELDFARE_ROSTER_PASSPHRASE_FILE",
        help="A private file with the roster key's passphrase, or its token's PIN.",
        show_default="of a file: the online key's",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="For programs: JSON on stdout.")]

RosterTokenOption = Annotated[
    str,
    typer.Option(
        "--roster-token",
        metavar="URI",
        help="Make the roster key in a token: pkcs11:token=...;object=...?module-path=...",
        show_default=False,
    ),
]

DraftOption = Annotated[
    Path | None,
    typer.Option(
        "--draft",
        metavar="FILE",
        help="Write it unsigned: the roster key is on another machine (`coordinator sign`).",
        show_default=False,
    ),
]
SignedOption = Annotated[
    Path | None,
    typer.Option(
        "--signed", metavar="FILE", help="Take a draft that came back signed.", show_default=False
    ),
]


def drafted_lines(draft: Path, what: str) -> list[str]:
    """Return what to do with a draft."""
    return [
        f"wrote {draft}, unsigned. Where the roster key is:",
        f"      fieldfare coordinator sign {draft.name} --out FILE --roster-key FILE",
        at_home(f"Then here: fieldfare coordinator {what} --signed FILE"),
    ]


def roster_secret(place: Path, own: Path | None, online: Path | None = None) -> bytes | None:
    """Return what opens a roster key: of a file its own passphrase, else the online key's.

    A token never gets the online key's: wrong PINs lock it. Without a file, its PIN is typed.

    Raises:
        KeysError: as `read_passphrase`.
    """
    return token_pin(own) if is_token(place) else read_passphrase(own or online)


def opened_roster_key(
    home: CoordinatorHome, place: Path | None, own: Path | None, online: Path | None
) -> HeldRosterKey:
    """Open a home's roster key as the options say.

    Raises:
        KeysError, PackageError: as `load_roster_key`.
    """
    secret = roster_secret(place or home.roster_key, own, online)
    return load_roster_key(home, secret, place)
