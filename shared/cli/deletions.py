"""`fieldfare audit deletions FILE`: check signed statements of what was deleted."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fieldfare.shared.audit.deletions import ComparedDeletions, compare_deletions
from fieldfare.shared.audit.verdict import AuditVerdict
from fieldfare.shared.canonical import is_sha256
from fieldfare.shared.cli import app
from fieldfare.shared.cli.audit import in_roster_file
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.deletion import DeletionStatement, read_deletions
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.system.private_files import open_regular, read_at_most
from fieldfare.shared.terminal.screen import console, table
from fieldfare.shared.terminal.texts import counted, plain
from fieldfare.shared.transcript.file import read_transcript

LARGEST: Final = 256 * 1024 * 1024  # bytes of statements

RostersOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--roster",
        help="A signed roster that you know to be right; repeat it for earlier keys.",
        show_default=False,
    ),
]
KeysOption = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="HEX",
        help="A further public key of the party, such as a former one; repeat it.",
        show_default=False,
    ),
]
PartyOption = Annotated[
    str,
    typer.Option(
        "--party",
        metavar="ID",
        help="Whose statements they are: coordinator, or an institution's id.",
        show_default=False,
    ),
]
TranscriptOption = Annotated[
    Path | None,
    typer.Option(
        "--transcript",
        help="Of a run: which of its vectors are gone, and is each of them stated?",
        show_default=False,
    ),
]


@app.command("audit.deletions")
def audit_deletions(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The statements, a line each.")],
    roster: RostersOption = None,
    key: KeysOption = None,
    party: PartyOption = "",
    transcript: TranscriptOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Check signed statements of what was deleted: signatures, and that none before the last lacks.

    A statement is its party's word: it proves who said it, and when. Exits with 1 where something
    does not fit, or the transcript has what was stated as deleted, and with 4 where vectors are
    gone without a statement.
    """
    rosters = [in_roster_file(one).roster for one in roster or ()]
    _check_keys(key or (), party, rosters)
    believed = [one for one in rosters if one is not None]
    found = read_deletions(read_at_most(file, LARGEST), believed, key or (), party)
    compared = None if transcript is None else _compared(found, transcript)
    if as_json:
        said: dict[str, Any] = {"statements": [one.model_dump(mode="json") for one in found]}
        if compared is not None:
            said |= {name: sorted(names) for name, names in _sets(compared).items()}
        typer.echo(json.dumps(said, indent=2))
    else:
        _show(found, compared)
    if compared is not None and compared.refuted:
        raise typer.Exit(AuditVerdict.DOES_NOT_FIT.value)
    if compared is not None and compared.unstated:
        raise typer.Exit(AuditVerdict.AS_FAR_AS_KEPT.value)


def _check_keys(keys: Sequence[str], party: str, rosters: Sequence[Roster | None]) -> None:
    if not rosters and not keys:
        raise UsageError("expected --roster or --key: say whose signature you believe")
    if not all(is_sha256(one) for one in keys):
        raise UsageError("--key: expected 64 lower-case hexadecimal digits, found something else")
    if keys and not party:
        raise UsageError(
            "expected --party beside --key, found none: say whose key it is, `coordinator` or an "
            "institution's id"
        )


def _compared(found: tuple[DeletionStatement, ...], path: Path) -> ComparedDeletions:
    try:
        with open_regular(path) as content:
            return compare_deletions(found, read_transcript(content))
    except OSError as error:
        raise UsageError(f"{path}: expected a readable file, found: {error.strerror}") from None


def _sets(compared: ComparedDeletions) -> dict[str, frozenset[str]]:
    return {
        "gone": compared.gone,
        "refuted": compared.refuted,
        "unstated": compared.unstated,
        "unknown": compared.unknown,
    }


def _show(found: tuple[DeletionStatement, ...], compared: ComparedDeletions | None) -> None:
    rows = [
        (
            str(one.number),
            datetime.fromtimestamp(one.time, UTC).strftime("%Y-%m-%d"),
            one.kind,
            one.subject,
            str(len(one.hashes)) if one.hashes else "not said",
        )
        for one in found
    ]
    console().print(table(("no.", "gone by", "what", "of", "things"), rows, numbers=("things",)))
    whose = f"{counted(len(found), 'statement')} of {plain(found[0].party)}"
    typer.echo(f"{whose}, none missing before the last")
    typer.echo("each is its party's word: no signature proves that no copy is left")
    if compared is None:
        return
    typer.echo(f"run {plain(compared.run)}: {len(compared.gone)} masked vectors gone and stated")
    if compared.unknown:
        typer.echo(f"{len(compared.unknown)} more are stated that no reply of the run names")
    if compared.unstated:
        typer.echo(f"{len(compared.unstated)} are gone, and no statement says so")
    if compared.refuted:
        typer.echo(f"REFUTED: {len(compared.refuted)} stated as deleted are in the transcript")
