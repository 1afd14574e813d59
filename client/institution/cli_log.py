"""`fieldfare institution log verify`: check that the institution's own log is whole."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.institution.home import Home
from fieldfare.client.institution.journal_verify import Verified, verify

log_verify_app = typer.Typer(add_completion=False)


@log_verify_app.command()
def log_verify(
    home: Annotated[
        Path, typer.Option(envvar="FIELDFARE_HOME", help="The institution's folder.")
    ] = Path("institution"),
) -> None:
    """Recompute the whole log and name the first misfit."""
    typer.echo(verified_line(verify(Home(home).log_folder)))


def verified_line(verified: Verified) -> str:
    """Say in one line what was verified."""
    count = verified.last - verified.first + 1
    if count:
        text = f"log verified: {count} entries, {verified.first} to {verified.last}"
    else:
        text = "log verified: no entries"
    if verified.files:
        text += f", in {verified.files} file" + "s" * (verified.files > 1)
    if verified.first > 1:
        text += f"; {verified.first - 1} before were deleted by rule"
    if verified.incomplete:
        # The next start moves it aside.
        text += f"; then {verified.incomplete} bytes of an incomplete line"
    return text
