"""How an institution's home is kept.

What `fieldfare recovery take`, `backup`, `restore`, `delete`, `deletions` and `notices` do at it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from fieldfare.client.alerts.alert_queue import HomeQueue, forget
from fieldfare.client.alerts.store import STORE, open_store
from fieldfare.client.cli.options import (
    identity_secret,
)
from fieldfare.client.home.keys import (
    identity_fingerprint,
    load_identity,
    node_fingerprint,
)
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.client.institution.backing_up import back_up, take_recovery_key
from fieldfare.client.institution.file_deletion import check_not_needed, delete_file
from fieldfare.client.institution.restored_home import (
    RestoredHome,
    RestoreTerms,
    rehearse,
    restore,
)
from fieldfare.client.journal.deletions import deletion_statements
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.budget import from_picomu2, to_picomu2
from fieldfare.client.oversight.notices_process import notices_home
from fieldfare.shared.advice import at_home
from fieldfare.shared.cli.typed import token_pin
from fieldfare.shared.cli.upkeep import PartyUpkeep, RestoreOptions
from fieldfare.shared.party.backup_archive import BackupHeader
from fieldfare.shared.party.file_deletion import OwnFile
from fieldfare.shared.party.home_copies import BackupSource, WrittenBackup
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.key_files import read_passphrase
from fieldfare.shared.system.private_files import os_user


def _take_recovery_key(home: Path, content: bytes, name: str) -> str:
    return take_recovery_key(Home.open(home), content, name, os_user(), utc_now)


def _back_up(home: Path, file: Path) -> WrittenBackup:
    return back_up(Home.open(home), file, os_user(), utc_now)


def _restore(source: BackupSource, home: Path, options: RestoreOptions) -> list[str]:
    secret = options.passphrase_file
    terms = RestoreTerms(
        user=os_user(),
        reason=options.reason,
        spent=None if options.spent is None else to_picomu2(options.spent),
        as_planned=options.as_planned,
        study=options.study,
        witness=options.witness,
        witness_here=options.witness_here,
        passphrase=token_pin(secret) if options.token else read_passphrase(secret),
        uri=options.token,
    )
    return _restored(restore(source, home, terms, utc_now, _delete_due))


def _delete_due(home: Home) -> None:
    """Delete again what the backup brought back and whose date has come; only own alerts are."""
    if not (home.scoring / STORE).exists():
        return
    settings = load_settings(home)
    with Journal.open(home.log_folder, clock=utc_now) as journal, open_store(home) as store:
        forget(store, HomeQueue(home, settings).entry_keys, settings, utc_now(), journal)


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


# -- deletion -------------------------------------------------------------------------------------

STATED: Final = "the log has its hash: `fieldfare deletions --out FILE` signs a statement"


def _check_not_needed(home: Path, file: OwnFile) -> None:
    check_not_needed(Home.open(home), file)


def _delete(
    home: Path, files: Sequence[OwnFile], reason: str, passphrase_file: Path | None
) -> Iterator[str]:
    del passphrase_file  # `deletions` signs
    opened = Home.open(home)
    for file in files:
        delete_file(opened, file, os_user(), reason, utc_now)
        yield f"{file.path}: deleted"
    yield STATED


def _statements(home: Path, passphrase_file: Path | None) -> list[bytes]:
    opened = Home.open(home)
    signer = IdentitySigner(load_identity(opened, identity_secret(opened, passphrase_file)))
    return list(deletion_statements(opened.log_folder, load_settings(opened).id, signer))


UPKEEP: Final = PartyUpkeep(
    take_recovery_key=_take_recovery_key,
    back_up=_back_up,
    stood=_stood,
    rehearse=rehearse,
    restore=_restore,
    check_not_needed=_check_not_needed,
    delete=_delete,
    statements=_statements,
    notices=lambda home: notices_home(Home.open(home)),
)
