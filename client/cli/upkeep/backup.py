"""`fieldfare institution keys recovery`, `backup`, `restore`."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.alerts.alert_queue import HomeQueue, forget
from fieldfare.client.alerts.store import STORE, open_store
from fieldfare.client.cli import app
from fieldfare.client.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    KeyOption,
    PassphraseFileOption,
)
from fieldfare.client.home.keys import identity_fingerprint, node_fingerprint
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.client.institution.backing_up import back_up, take_recovery_key
from fieldfare.client.institution.restored_home import (
    RestoredHome,
    RestoreTerms,
    rehearse,
    restore,
)
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.budget import from_picomu2, to_picomu2
from fieldfare.shared.advice import at_home
from fieldfare.shared.cli.recovery import RecoveryKeyOption, backup_lines, key_lines
from fieldfare.shared.cli.typed import token_pin
from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.backup_archive import BackupHeader
from fieldfare.shared.party.home_copies import BackupSource
from fieldfare.shared.party.recovery_key import RecoveryPrivate
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.key_files import read_passphrase
from fieldfare.shared.system.private_files import os_user, read_public


@app.command("institution.keys.recovery")
def recovery_key(
    file: Annotated[Path, typer.Argument(help="The public half: FILE.pub.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Take the public half of a recovery key: backups are encrypted to it from now on."""
    spoken = take_recovery_key(Home.open(home), read_public(file), str(file), os_user(), utc_now)
    typer.echo("\n".join(key_lines(spoken)))


@app.command("institution.backup")
def backup(
    file: Annotated[Path, typer.Argument(help="A new file.")], home: HomeOption = DEFAULT_HOME
) -> None:
    """Write a backup of the folder, also while it runs, that only the recovery key opens."""
    opened = Home.open(home)
    done = back_up(opened, file, os_user(), utc_now)
    typer.echo("\n".join([*backup_lines(file, done), _stood(done.header)]))


@app.command("institution.restore")
def restore_home(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    key: RecoveryKeyOption,
    home: HomeOption = DEFAULT_HOME,
    reason: Annotated[
        str, typer.Option("--reason", help="Why; it stays in the ledger and in the log.")
    ] = "",
    institution: Annotated[
        str, typer.Option("--id", help="Whose backup it must be.", show_default=False)
    ] = "",
    spent: Annotated[
        float | None,
        typer.Option(
            metavar="MU2",
            help="Sum of all debits ever, as the last signed reply has it.",
            show_default=False,
        ),
    ] = None,
    as_planned: Annotated[
        bool,
        typer.Option(
            "--as-planned", help="No study was approved since; those that were are spent in full."
        ),
    ] = False,
    study: Annotated[
        str,
        typer.Option(
            help="Whose spend was lost, the whole id; otherwise every study's.", show_default=False
        ),
    ] = "",
    witness: Annotated[
        Path | None, typer.Option(help="A rescued copy of the witness.", show_default=False)
    ] = None,
    witness_here: Annotated[
        bool, typer.Option("--witness-here", help="The witness's place is gone: keep it here.")
    ] = False,
    passphrase_file: PassphraseFileOption = None,
    token: KeyOption = "",
    rehearsal: Annotated[
        bool, typer.Option("--rehearse", help="Check the backup, and keep none of its files.")
    ] = False,
) -> None:
    """Make a new folder from a backup: new keys, a new epoch, and what was spent is spent.

    It releases nothing until the coordinator entered its new key, members compared it, and studies
    are approved again.
    """
    source = BackupSource(file, RecoveryPrivate.read(key), institution)
    if rehearsal:
        typer.echo(_rehearsed(file, rehearse(source, home)))
        return
    if not reason.strip():
        raise UsageError("--reason: expected why it is restored, found nothing: it is logged")
    terms = RestoreTerms(
        user=os_user(),
        reason=reason,
        spent=None if spent is None else to_picomu2(spent),
        as_planned=as_planned,
        study=study,
        witness=witness,
        witness_here=witness_here,
        passphrase=token_pin(passphrase_file) if token else read_passphrase(passphrase_file),
        uri=token,
    )
    typer.echo("\n".join(_restored(restore(source, home, terms, utc_now, _delete_due))))


def _delete_due(home: Home) -> None:
    """Delete again what the backup brought back and whose date has come; only own alerts are."""
    if not (home.scoring / STORE).exists():
        return
    settings = load_settings(home)
    with Journal.open(home.log_folder, clock=utc_now) as journal, open_store(home) as store:
        forget(store, HomeQueue(home, settings).entry_keys, settings, utc_now(), journal)


def _rehearsed(file: Path, header: BackupHeader) -> str:
    return (
        f"{file}: whole, of {header.name}, made {header.made}, and everything in it verifies\n"
        f"{_stood(header)}\nnothing of it was kept"
    )


def _restored(done: RestoredHome) -> list[str]:
    stated, position = done.statement.stated, done.statement.position
    identity = identity_fingerprint(done.home)
    return [
        f"made {done.home.path} for {done.header.name}",
        f"from its backup of {done.header.made}",
        f"epoch {position.epoch} begins: mu^2 {from_picomu2(stated.carried)!r} carried over,",
        f"{from_picomu2(position.cumulative)!r} spent in all",
        "",
        "Its keys are new, and nobody knows them yet. Read this aloud, as at the first time:",
        f"  identity  {identity[:39]}",
        f"            {identity[40:]}",
        f"  node      {node_fingerprint(done.home)}",
        "",
        "Next:",
        at_home("      fieldfare institution join INVITATION"),
        "the coordinator removes the old key, enrols the new one and publishes a roster;",
        at_home("      fieldfare institution roster accept ROSTER"),
        "the other members accept it too and compare your new key; then approve again:",
        at_home("      fieldfare institution studies"),
        "Add anew who may log in at the console and decide at the desk.",
    ]


def _stood(header: BackupHeader) -> str:
    facts = header.facts
    head = f", head {str(facts['head'])[:16]}" if "head" in facts else ""
    return f"the ledger stood at entry {facts['sequence']} of epoch {facts['epoch']}{head}"
