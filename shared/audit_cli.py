"""`fieldfare audit transcript FILE`: check a run without trusting its coordinator.

Errors pass through: the root command turns them into exit codes.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from fieldfare.shared.audit import audit
from fieldfare.shared.audit_opening import Trust
from fieldfare.shared.audit_screen import report_json, report_screen
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.sealed_files import read_sealed

WIDTH: Final = 100  # where the terminal's is not known
EXIT_MISFIT: Final = 1

audit_transcript_app = typer.Typer(add_completion=False)


@audit_transcript_app.command("transcript")
def audit_transcript(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As the coordinator exported it.")],
    roster: Annotated[
        Path | None,
        typer.Option(help="The signed roster that you know to be right.", show_default=False),
    ] = None,
    coordinator_key: Annotated[
        str | None,
        typer.Option(
            metavar="HEX|FILE",
            help="The coordinator's public key, compared out of band; the roster is then the one "
            "that it signed.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Check every signature, sum and step of a run, and what it spent; name what does not fit."""
    trust = trusted(roster, coordinator_key)
    try:
        with file.open("rb") as content:
            if not content.seekable():
                raise UsageError(f"{file}: expected a file, found a stream: save it first")
            report = audit(content, trust)
    except OSError as error:
        raise UsageError(f"{file}: expected a readable file, found: {error.strerror}") from None
    if as_json:
        typer.echo(json.dumps(report_json(report, trust), indent=2))
    else:
        _console().print(report_screen(report, trust))
    if report.misfit is not None:
        raise typer.Exit(EXIT_MISFIT)


def trusted(roster: Path | None, coordinator_key: str | None) -> Trust:
    """Read what the auditor trusts: a roster, or the coordinator's key.

    Raises:
        UsageError: neither or both, or something that is no roster or no key.
    """
    if (roster is None) == (coordinator_key is None):
        raise UsageError("expected either --roster or --coordinator-key: say which one you trust")
    if roster is None:
        return Trust(_key(coordinator_key or ""))
    try:
        return Trust.in_roster(read_sealed(roster))
    except ProtocolError as error:
        raise UsageError(f"{roster}: {error}: give the roster as it was published") from None


def _key(text: str) -> str:
    """Read a public key: 64 hexadecimal digits, or a file that holds them."""
    path = Path(text)
    found = text if _is_key(text) or not path.is_file() else _line_of(path)
    if not _is_key(found):
        raise UsageError(
            "--coordinator-key: expected 64 hexadecimal digits, or a file that holds them: the "
            "coordinator's signing.pub"
        )
    return found.strip().lower()


def _is_key(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{64}", text.strip()) is not None


def _line_of(path: Path) -> str:
    return read_sealed(path).decode("ascii", errors="replace")


def _console() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH)
