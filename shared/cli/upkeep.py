"""`fieldfare recovery`, `backup`, `restore`, `delete`, `deletions`, `notices`, at either home.

What differs between the parties stands in the `PartyUpkeep` of each.
"""

import secrets
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.shared.cli import app
from fieldfare.shared.cli.parties import (
    HomeOption,
    PassphraseFileOption,
    parties,
    party_of,
    party_table,
    usual_home,
)
from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.backup_archive import BackupHeader
from fieldfare.shared.party.file_deletion import OwnFile, examined
from fieldfare.shared.party.home_copies import BackupSource, WrittenBackup
from fieldfare.shared.party.recovery_key import PUBLIC_SUFFIX, RecoveryPrivate
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import create_private, read_public
from fieldfare.shared.system.whole_files import new_file
from fieldfare.shared.terminal.texts import counted
from fieldfare.shared.watch import notice_screen
from fieldfare.shared.watch.dispatch import NoticesHome

MOST_STRANGERS: Final = 8
_FAILED: Final = 1  # a notice was not sent
_DECLINED: Final = 1  # a person was asked and did not agree

ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; it stays in the log, and no statement holds it.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Ask nothing.")]


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """What was typed beside a backup that is restored.

    Attributes:
        reason: why.
        passphrase_file: of the new key.
        spent, as_planned, study, witness, witness_here: what is known of a lost ledger.
        token: the place of the new key in a token.
    """

    reason: str
    passphrase_file: Path | None
    spent: float | None
    as_planned: bool
    study: str
    witness: Path | None
    witness_here: bool
    token: str

    def check_no_ledger(self) -> None:
        """Refuse words about a ledger or a token.

        Raises:
            UsageError: one was given.
        """
        given = (self.as_planned, self.study, self.witness, self.witness_here, self.token)
        if self.spent is not None or any(given):
            raise UsageError(
                "expected none of --spent, --as-planned, --study, --witness, --witness-here and "
                "--key beside a coordinator's backup, found one: it has no ledger; leave it out"
            )


@dataclass(frozen=True, kw_only=True)
class PartyUpkeep:
    """How a party keeps its home; each function opens the home that it is given.

    Attributes:
        take_recovery_key: keeps a public half, under the name of its file; returns its fingerprint.
        back_up: writes a backup into a new file.
        stood: says where the party stood, of a backup's header.
        rehearse: checks a backup beside a place for a home, and leaves nothing.
        restore: makes a home from a backup; returns what to say.
        check_not_needed: refuses a file that the home needs.
        delete: deletes files for a reason, with a file of the passphrase; yields what to say.
        statements: makes or reads the signed statements of what was deleted.
        notices: says where the home keeps what belongs to notices.
    """

    take_recovery_key: Callable[[Path, bytes, str], str]
    back_up: Callable[[Path, Path], WrittenBackup]
    stood: Callable[[BackupHeader], str]
    rehearse: Callable[[BackupSource, Path], BackupHeader]
    restore: Callable[[BackupSource, Path, RestoreOptions], list[str]]
    check_not_needed: Callable[[Path, OwnFile], None]
    delete: Callable[[Path, Sequence[OwnFile], str, Path | None], Iterable[str]]
    statements: Callable[[Path, Path | None], Sequence[bytes]]
    notices: Callable[[Path], NoticesHome]


def _upkeep(home: Path | None) -> tuple[PartyUpkeep, Path]:
    party, path = party_of(home)
    return party_table(party, PartyUpkeep), path


# -- recovery key --------------------------------------------------------------------------------


@app.command("recovery.key")
def recovery_key(
    file: Annotated[Path, typer.Argument(help="A new file for the private half.")],
) -> None:
    """Make a recovery key, offline: FILE opens backups, FILE.pub is for homes that write them."""
    made = RecoveryPrivate.generate()
    public = file.parent / (file.name + PUBLIC_SUFFIX)  # of a folder too, which is refused next
    create_private(file, made.content)
    create_private(public, made.public.content)
    typer.echo(
        "\n".join(
            [
                f"wrote {file}: it opens every backup; keep it where no home is, on paper too",
                f"wrote {public}: take it to the home",
                *_key_lines(made.public.spoken),
            ]
        )
    )


@app.command("recovery.take")
def take_recovery_key(
    file: Annotated[Path, typer.Argument(help="The public half: FILE.pub.")],
    home: HomeOption = None,
) -> None:
    """Take the public half of a recovery key: backups are encrypted to it from now on."""
    upkeep, path = _upkeep(home)
    spoken = upkeep.take_recovery_key(path, read_public(file), str(file))
    typer.echo("\n".join(_key_lines(spoken)))


def _key_lines(spoken: str) -> list[str]:
    """Return a recovery key's fingerprint as people compare it."""
    return [f"recovery key  {spoken[:39]}", f"              {spoken[40:]}"]


# -- backup ---------------------------------------------------------------------------------------


@app.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(help="A new file.")], home: HomeOption = None
) -> None:
    """Write a backup of the folder, also while it runs, that only the recovery key opens."""
    upkeep, path = _upkeep(home)
    done = upkeep.back_up(path, file)
    typer.echo("\n".join([*_backup_lines(file, done), upkeep.stood(done.header)]))


def _backup_lines(file: Path, done: WrittenBackup) -> list[str]:
    """Return what was written, and what was not."""
    header, megabytes = done.header, file.stat().st_size / 1e6
    lines = [
        f"wrote {file}",
        f"{len(header.files)} files of {header.name}, {megabytes:.1f} MB, as of {header.made}",
    ]
    if done.strangers:
        more = len(done.strangers) - MOST_STRANGERS
        lines.append("not in it, as they are no files of a home (back up records too):")
        lines += [f"  {name}" for name in done.strangers[:MOST_STRANGERS]]
        lines += [f"  and {more} more"] if more > 0 else []
    return lines


RecoveryKeyOption = Annotated[
    Path, typer.Option("--recovery-key", metavar="FILE", help="The recovery key's private half.")
]
NewHomeOption = Annotated[
    Path | None, typer.Option("--home", help="A new folder.", show_default="as of every command")
]
WhyOption = Annotated[
    str, typer.Option("--reason", help="Why; it stays in the log, and in a ledger.")
]
WhoseOption = Annotated[
    str, typer.Option("--name", help="The owner it must have: an id, or the coordinator's name.")
]
SpentOption = Annotated[
    float | None,
    typer.Option(
        metavar="MU2",
        help="An institution's sum of all debits ever, as its last signed reply says.",
    ),
]
AsPlannedOption = Annotated[
    bool,
    typer.Option(
        "--as-planned", help="No study was approved since; earlier ones are spent in full."
    ),
]
StudyOption = Annotated[
    str, typer.Option(help="The study whose spend was lost, the whole id; otherwise every study.")
]
WitnessOption = Annotated[Path | None, typer.Option(help="A rescued copy of the witness.")]
WitnessHereOption = Annotated[
    bool, typer.Option("--witness-here", help="The witness's place is gone: keep it here.")
]
TokenOption = Annotated[
    str,
    typer.Option(
        "--key",
        metavar="URI",
        help="Make the new identity in a token: "
        "pkcs11:token=LABEL;object=LABEL?module-path=LIBRARY",
    ),
]
RehearseOption = Annotated[
    bool, typer.Option("--rehearse", help="Check the backup, and leave nothing of it.")
]


@app.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    key: RecoveryKeyOption,
    home: NewHomeOption = None,
    reason: WhyOption = "",
    name: WhoseOption = "",
    spent: SpentOption = None,
    as_planned: AsPlannedOption = False,
    study: StudyOption = "",
    witness: WitnessOption = None,
    witness_here: WitnessHereOption = False,
    passphrase_file: PassphraseFileOption = None,
    token: TokenOption = "",
    rehearsal: RehearseOption = False,
) -> None:
    """Make a new folder from a backup, under new keys; earlier spending counts, and no run goes on.

    An institution begins a new epoch, and releases nothing until the coordinator entered its new
    key, members compared it, and studies are approved again. A coordinator gets a new online key.
    """
    source = BackupSource(file, RecoveryPrivate.read(key), name)
    whose = source.party()
    party = next(one for one in parties() if one.name == whose)
    upkeep, path = party_table(party, PartyUpkeep), home or usual_home(party)
    if rehearsal:
        header = upkeep.rehearse(source, path)
        typer.echo(
            f"{file}: whole, of {header.name}, made {header.made}, and everything in it verifies\n"
            f"{upkeep.stood(header)}\nnothing of it was kept"
        )
        return
    if not reason.strip():
        raise UsageError("--reason: expected why you restore it, found nothing: the log keeps it")
    options = RestoreOptions(
        reason=reason,
        passphrase_file=passphrase_file,
        spent=spent,
        as_planned=as_planned,
        study=study,
        witness=witness,
        witness_here=witness_here,
        token=token,
    )
    typer.echo("\n".join(upkeep.restore(source, path, options)))


# -- deletion -------------------------------------------------------------------------------------


@app.command("delete")
def delete(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Packs, transcripts or backups.")
    ],
    reason: ReasonOption = "",
    home: HomeOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Delete evidence packs, exported transcripts and backups; a signed statement says so.

    Never another file, and never the newest backup. A coordinator signs at once, with its online
    key; an institution when `fieldfare deletions` is typed.
    """
    (upkeep, path), found = _upkeep(home), [examined(one) for one in files]
    for file in found:
        upkeep.check_not_needed(path, file)
        of = f" of run {file.run}" if file.run else ""
        typer.echo(f"{file.path}: {file.kind.value}{of}, {file.size:,} bytes")
        typer.echo(f"  SHA-256 {file.digest}")
    if goes(reason, dry_run=dry_run, yes=yes):
        for line in upkeep.delete(path, found, reason, passphrase_file):
            typer.echo(line)


def goes(reason: str, *, dry_run: bool, yes: bool) -> bool:
    """Tell whether it shall go; a dry run deletes nothing.

    Args:
        reason: why, as it was typed.
        dry_run: nothing is asked and nothing goes.
        yes: nothing is asked.

    Raises:
        UsageError: no reason was given.
        Exit: the person does not confirm it.
    """
    if dry_run:
        typer.echo("a dry run: nothing was deleted")
        return False
    if not reason.strip():
        raise UsageError("--reason: expected why you delete it, found nothing: the log keeps it")
    if not yes and not typer.confirm("Delete it for good?"):
        typer.echo("nothing was deleted")
        raise typer.Exit(_DECLINED)
    return True


@app.command("deletions")
def deletions(
    out: Annotated[Path, typer.Option("--out", help="A new file, a line for each statement.")],
    home: HomeOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Write signed statements of what was deleted here, for auditors.

    They name rules, days and hashes of keys; no person, no record, and not how many alerts. An
    institution's are made of its log and signed now, a coordinator's were signed at the time.
    """
    upkeep, path = _upkeep(home)
    made = upkeep.statements(path, passphrase_file)
    if not made:
        raise UsageError("expected deletions, found none: nothing was deleted yet")
    with new_file(out) as file:
        file.writelines(one + b"\n" for one in made)
    typer.echo(f"{out}: {counted(len(made), 'statement')} of deletion")
    typer.echo(f"Next: fieldfare audit deletions {shlex.quote(str(out))} --roster roster.signed")


# -- notices --------------------------------------------------------------------------------------


@app.command("notices.test")
def try_addresses(home: HomeOption = None) -> None:
    """Send a test to every address of notices.toml, at once; exit status 1 where one fails."""
    upkeep, path = _upkeep(home)
    if not notice_screen.try_addresses(
        upkeep.notices(path), utc_now(), lambda: secrets.token_hex(16)
    ):
        raise typer.Exit(_FAILED)


@app.command("notices.list")
def list_notices(
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON on stdout.")] = False,
) -> None:
    """List the newest notices, and whether each address has them."""
    upkeep, path = _upkeep(home)
    notice_screen.print_newest(upkeep.notices(path), utc_now(), as_json=as_json)
