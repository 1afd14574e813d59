"""`fieldfare audit deletions FILE`: check signed statements of what was deleted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fieldfare.shared.audit.deletions import ComparedDeletions, compare_deletions, left_out
from fieldfare.shared.audit.verdict import AuditVerdict
from fieldfare.shared.canonical import is_sha256
from fieldfare.shared.cli import app
from fieldfare.shared.cli.audit import in_roster_file
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.deletion import (
    DeletionStatement,
    deletion_key,
    read_deletions,
)
from fieldfare.shared.protocol.roster import COORDINATOR, Roster
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
        help="The party that signed them: coordinator, or an institution's id.",
        show_default=False,
    ),
]
TranscriptOption = Annotated[
    Path | None,
    typer.Option(
        "--transcript",
        help="A run's transcript: which vectors are gone, and is each of them stated?",
        show_default=False,
    ),
]
EarlierOption = Annotated[
    Path | None,
    typer.Option(
        "--earlier",
        help="A file of the same party that you kept: is each of its statements in this one?",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class KeptStatements:
    """What a file of statements that somebody kept has, and a later one of that party lacks.

    Attributes:
        kept: statements in the earlier file.
        lacking: those of them that are not in the later one.
        twice: the first number of which the later one has another, which the same key signed.
    """

    kept: int
    lacking: tuple[DeletionStatement, ...]
    twice: int | None

    @property
    def two_stories(self) -> bool:
        """Tell whether one key signed two of one number."""
        return self.twice is not None


@app.command("audit.deletions")
def audit_deletions(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The statements, a line each.")],
    roster: RostersOption = None,
    key: KeysOption = None,
    party: PartyOption = "",
    transcript: TranscriptOption = None,
    earlier: EarlierOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Check signed statements of what was deleted: signatures, and that no earlier one is missing.

    A statement is its party's word: it proves who said it, and when. Exits with 1 where something
    does not fit, or the transcript has what was stated as deleted, with 4 where vectors are gone
    without a statement or statements that you kept are in it no more, and with 6 where one key
    signed two of one number.
    """
    rosters = [in_roster_file(one).roster for one in roster or ()]
    _check_keys(key or (), party, rosters)
    believed = [one for one in rosters if one is not None]
    content = read_at_most(file, LARGEST)
    found = read_deletions(content, believed, key or (), party)
    kept = None
    if earlier is not None:
        held = read_at_most(earlier, LARGEST)
        before = read_deletions(held, believed, key or (), found[0].party)
        keys = _keys_of(found[0].party, believed, key or ())
        kept = _kept(found, before, (content, held), keys)
    bound = (*found, *(kept.lacking if kept else ()))
    compared = None if transcript is None else _compared(bound, transcript)
    if as_json:
        said: dict[str, Any] = {"statements": [one.model_dump(mode="json") for one in found]}
        if compared is not None:
            said |= {name: sorted(names) for name, names in _sets(compared).items()}
        if kept is not None:
            said["left_out"] = [one.model_dump(mode="json") for one in kept.lacking]
            said["two_stories"] = kept.two_stories
        typer.echo(json.dumps(said, indent=2))
    else:
        _show(found, compared)
        _show_kept(kept, found[0].party)
    raise typer.Exit(_verdict(compared, kept).value)


def _verdict(compared: ComparedDeletions | None, kept: KeptStatements | None) -> AuditVerdict:
    if compared is not None and compared.refuted:
        return AuditVerdict.DOES_NOT_FIT
    if kept is not None and kept.two_stories:
        return AuditVerdict.TWO_STORIES
    if (compared is not None and compared.unstated) or (kept is not None and kept.lacking):
        return AuditVerdict.AS_FAR_AS_KEPT
    return AuditVerdict.FITS


def _keys_of(party: str, rosters: Sequence[Roster], keys: Sequence[str]) -> list[str]:
    named = [one for one in rosters if party in {COORDINATOR, *one.ids}]
    return sorted({*keys, *(one.key_of(party) for one in named)})


def _kept(
    found: tuple[DeletionStatement, ...],
    before: tuple[DeletionStatement, ...],
    files: tuple[bytes, bytes],
    keys: Sequence[str],
) -> KeptStatements:
    """Compare two files of a party: a restore gives it another key, so a key tells one story."""
    lacking = left_out(found, before)
    there, kept = (text.splitlines() for text in files)
    both = (one.number for one in lacking if one.number < len(found))
    twice = (
        number
        for number in both
        if deletion_key(there[number], keys) == deletion_key(kept[number], keys)
    )
    return KeptStatements(len(before), lacking, next(twice, None))


def _show_kept(kept: KeptStatements | None, party: str) -> None:
    if kept is None:
        return
    if not kept.lacking:
        typer.echo(f"all {counted(kept.kept, 'statement')} that you kept are in it")
        return
    number, whose = kept.lacking[0].number, plain(party)
    typer.echo(f"{len(kept.lacking)} that you kept, from no. {number} on, are not in it; they bind")
    if kept.two_stories:
        typer.echo(f"TWO STORIES: {whose} signed two statements no. {kept.twice} with one key")
    else:
        typer.echo(f"{whose} left them out, or restored a backup: its log says which, and why")


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
