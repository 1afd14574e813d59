"""`fieldfare coordinator model delete`, and how a coordinator's home is kept.

What `fieldfare recovery take`, `backup`, `restore`, `delete`, `deletions` and `notices` do at it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.server.cli import app
from fieldfare.server.cli.options import DEFAULT_HOME, HomeOption, PassphraseFileOption
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.store import RunStore, run_store, run_store_to_read
from fieldfare.server.upkeep.backing_up import back_up_coordinator, keep_recovery_key
from fieldfare.server.upkeep.due_deletions import state_due
from fieldfare.server.upkeep.file_deletion import (
    check_not_needed,
    delete_file,
    delete_model,
    leaving_model,
)
from fieldfare.server.upkeep.notices_process import notices_home
from fieldfare.server.upkeep.restored_coordinator import (
    rehearse_coordinator,
    restore_coordinator,
)
from fieldfare.shared.advice import at_home
from fieldfare.shared.cli.upkeep import (
    DryRunOption,
    PartyUpkeep,
    ReasonOption,
    RestoreOptions,
    YesOption,
    goes,
)
from fieldfare.shared.party.backup_archive import BackupHeader
from fieldfare.shared.party.file_deletion import OwnFile
from fieldfare.shared.party.home_copies import BackupSource, WrittenBackup
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.key_files import read_passphrase
from fieldfare.shared.terminal.texts import counted


def _take_recovery_key(home: Path, content: bytes, name: str) -> str:
    return keep_recovery_key(CoordinatorHome.open(home), content, name)


def _back_up(home: Path, file: Path) -> WrittenBackup:
    return back_up_coordinator(CoordinatorHome.open(home), file, utc_now)


def _stood(header: BackupHeader) -> str:
    return f"the roster stood at version {header.facts['roster']}"


def _restore(source: BackupSource, home: Path, options: RestoreOptions) -> list[str]:
    options.check_no_ledger()
    passphrase = read_passphrase(options.passphrase_file)
    done = restore_coordinator(source, home, options.reason, passphrase, utc_now)
    return [
        f"made {done.home.path} for {done.header.name}",
        f"from its backup of {done.header.made}",
        *(f"run {run}: does not go on; start another of its study" for run in done.abandoned),
        *(f"study {study[:12]}: propose it again" for study in done.studies),
        "",
        "Its online key is new. Ask the institutions for the newest roster that any of them has:",
        at_home("      fieldfare coordinator roster --after FILE"),
        "every member accepts the next one, and approves again what you propose again; then",
        at_home("      fieldfare coordinator start"),
        "Add anew who may log in at the console.",
    ]


# -- deletion -------------------------------------------------------------------------------------


def _check_not_needed(home: Path, file: OwnFile) -> None:
    check_not_needed(CoordinatorHome.open(home), file)


def _delete(
    home: Path, files: Sequence[OwnFile], reason: str, passphrase_file: Path | None
) -> Iterator[str]:
    opened = CoordinatorHome.open(home)
    with run_store(opened.runs_database) as store:
        for file in files:
            delete_file(opened, store, file, reason, utc_now)
            yield f"{file.path}: deleted"
        yield from _stated(opened, store, passphrase_file)


@app.command("coordinator.model.delete")
def delete_a_model(
    run: Annotated[str, typer.Argument(help="The run's id.")],
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Delete a run's model with its card and delivery; a signed statement says so.

    Never while a run of its study goes on, nor before every member has it.
    """
    opened = CoordinatorHome.open(home)
    with run_store(opened.runs_database) as store:
        digest = leaving_model(opened, store, run)
        typer.echo(f"{opened.model(run)}\n  SHA-256 {digest}")
        if not goes(reason, dry_run=dry_run, yes=yes):
            return
        delete_model(opened, store, run, reason, utc_now)
        typer.echo("deleted")
        typer.echo("\n".join(_stated(opened, store, passphrase_file)))


def _stated(home: CoordinatorHome, store: RunStore, passphrase_file: Path | None) -> Iterator[str]:
    stated = state_due(home, store, read_passphrase(passphrase_file), utc_now())
    yield f"{counted(stated, 'statement')} of deletion signed"
    if not stated:
        yield "`fieldfare coordinator purge --passphrase-file FILE` signs it"


def _statements(home: Path, passphrase_file: Path | None) -> Sequence[bytes]:
    del passphrase_file  # they were signed at the time
    with run_store_to_read(CoordinatorHome.open(home).runs_database) as store:
        return store.deletion_statements()


UPKEEP: Final = PartyUpkeep(
    take_recovery_key=_take_recovery_key,
    back_up=_back_up,
    stood=_stood,
    rehearse=rehearse_coordinator,
    restore=_restore,
    check_not_needed=_check_not_needed,
    delete=_delete,
    statements=_statements,
    notices=lambda home: notices_home(CoordinatorHome.open(home)),
)
