"""A home from a backup: whole and new, under keys that nobody knows yet, in a new epoch.

It releases nothing by itself: its identity is on no roster until the coordinator enters it and
members compare it, approvals of another epoch count no more, and its ledger carries over what may
have been spent since the backup.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import tomlkit

from fieldfare.client.home.files import INSTITUTION_FILES
from fieldfare.client.home.keys import LOST, create_signing_keys, load_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy, pinned_coordinator
from fieldfare.client.home.roster import pinned_roster
from fieldfare.client.home.settings import load_settings, witness_path
from fieldfare.client.home.studies import State, kept_studies
from fieldfare.client.institution.restoring import accept_restore
from fieldfare.client.journal.entries import Event, Value
from fieldfare.client.journal.journal import Journal, sign_head, verify
from fieldfare.client.ledger.budget import from_picomu2
from fieldfare.client.ledger.chain import Statement
from fieldfare.client.ledger.restore import (
    Acceptance,
    RestoredLedger,
    begin_ledger,
    position_in,
)
from fieldfare.client.ledger.rollback_check import Witness
from fieldfare.shared.errors import LedgerError, UsageError
from fieldfare.shared.party.backup_archive import BackupHeader
from fieldfare.shared.party.home_copies import BackupSource
from fieldfare.shared.protocol.identity import parse_public_hex
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.private_files import (
    MAX_PRIVATE_BYTES,
    create_private,
    read_at_most,
    replace_private,
)
from fieldfare.shared.system.whole_files import new_home, passing_folder

RESTORED_HEADS: Final = "restored.heads"

Clock = Callable[[], datetime]


@dataclass(frozen=True, kw_only=True)
class RestoreTerms:
    """What the owner of a lost home says.

    Attributes:
        user, reason: who restores, and why; both stay in ledger and log.
        spent: sum of all that was ever debited, in picomu2, where no witness is left.
        as_planned: no study was approved since the backup, and those that were count as spent in
            full.
        study: whose spend the lost entries were; empty: they count against every study, so that
            none may have room left for its whole plan. `as_planned` with one study means that one.
        witness: a rescued copy of the witness.
        witness_here: keep the witness beside the ledger: the place in the settings is gone.
        passphrase: of the new identity, or the PIN of its token.
        uri: the new identity's place in a token; empty: a file.
    """

    user: str
    reason: str
    spent: int | None = None
    as_planned: bool = False
    study: str = ""
    witness: Path | None = None
    witness_here: bool = False
    passphrase: bytes | None = None
    uri: str = ""


@dataclass(frozen=True)
class RestoredHome:
    """A home that was restored: the backup's header, and the statement that began its epoch."""

    home: Home
    header: BackupHeader
    statement: Statement


def restore(
    source: BackupSource,
    path: Path,
    terms: RestoreTerms,
    clock: Clock,
    before_named: Callable[[Home], None] = lambda _: None,
) -> RestoredHome:
    """Make a new home from a backup; whatever ends this in the middle leaves nothing.

    *Formal Guarantees.* Afterwards the ledger's debits are at least those of the backup, of the
    witness, and of what the owner states; its epoch is a later one than every one that was seen;
    the home's identity signed nothing before. So no approval, roster or run from before counts.

    Args:
        source: the backup.
        path: where the home goes: a new or an empty folder.
        terms: what its owner says.
        clock: returns the present with a time zone.
        before_named: the last that is done to the draft, which nobody can open yet.

    Raises:
        KeysError: another recovery key's, or the token makes no key.
        UsageError: changed, cut off, another party's, something is at `path`, or what may have
            been spent since is not said.
        LedgerError: ledger or log of the backup do not verify, or a witness is damaged.
        OSError: the disk refuses it.
    """
    with ExitStack() as undone:
        with new_home(path) as folder:
            draft = Home(folder)
            header = _unpacked(source, draft)
            place = _place_of_witness(draft, terms)
            if _brings_witness(place, terms):
                undone.callback(_put_back, place, None, path)
            if not draft.ledger.exists():
                begin_ledger(draft.ledger)
            _check_spend_is_known(draft, terms, clock)
            create_private(
                draft.rotations / f"{header.facts['identity']}{LOST}", _line(header.made)
            )
            create_signing_keys(draft, terms.passphrase, terms.uri)
            # Not sooner: a lost home that still runs somewhere goes on writing its witness.
            undone.callback(_put_back, place, _bytes_of(place), path)
            statement = accept_restore(draft, _acceptance(draft, terms, clock), clock, anyway=True)
            before_named(draft)
            _sign_what_was_said(draft, header, terms, clock)
        undone.pop_all()
    return RestoredHome(Home.open(path), header, statement)


def rehearse(source: BackupSource, path: Path) -> BackupHeader:
    """Check that a backup opens and that everything in it verifies; nothing is left of it.

    Args:
        source: the backup.
        path: a home would go here; the check is done beside it.

    Raises:
        KeysError, UsageError, LedgerError, OSError: as `restore`.
    """
    place = path.absolute()
    with passing_folder(place.with_name(f".{place.name}.rehearsal")) as folder:
        return _unpacked(source, Home(folder))


def _unpacked(source: BackupSource, draft: Home) -> BackupHeader:
    """Write a backup's files into an empty folder, and verify databases, ledger and log."""
    header = source.unpack(draft.path, "institution", INSTITUTION_FILES)
    draft.make_folders()
    _check_facts(header)
    _check_ledger(draft, header)
    if draft.log.exists():
        verify(draft.log_folder)
    return header


def _check_facts(header: BackupHeader) -> None:
    """Refuse a header whose identity names no file: whoever has the public half writes headers."""
    told = str(header.facts.get("identity", ""))
    parse_public_hex(told.encode(), "the identity in the backup's header")
    if not isinstance(header.facts.get("sequence"), int):
        raise UsageError("expected where the ledger stood in the backup's header, found nothing")


def _check_ledger(draft: Home, header: BackupHeader) -> None:
    settings = load_settings(draft)
    if not draft.ledger.exists():
        return
    found = position_in(draft.ledger, settings.population, _no_clock)
    told = [header.facts.get(name) for name in ("epoch", "sequence", "head", "debited")]
    if told != [found.epoch, found.sequence, found.head, found.debited]:
        raise LedgerError("expected the ledger that the backup's header names, found another")


def _place_of_witness(draft: Home, terms: RestoreTerms) -> Path:
    """Return where the witness lies or will lie, perhaps on another disk; its folder is there."""
    if terms.witness_here:
        text = tomlkit.parse(draft.settings.read_text(encoding="utf-8"))
        text["ledger"] = {"witness": ""}
        replace_private(draft.settings, tomlkit.dumps(text).encode())
    place = witness_path(draft, load_settings(draft))
    if not place.parent.is_dir():
        raise UsageError(
            f"expected the folder of the witness, {place.parent}, found none: mount its disk (the "
            "witness knows what was spent), or say --witness-here"
        )
    return place


def _brings_witness(place: Path, terms: RestoreTerms) -> bool:
    """Bring the witness that was rescued to its place, if there is one."""
    if terms.witness is None:
        return False
    if place.exists():
        raise UsageError(
            f"--witness: expected no witness at {place}, found one: it is the newest; leave "
            "the option out"
        )
    create_private(place, read_at_most(terms.witness, MAX_PRIVATE_BYTES))
    return True


def _bytes_of(place: Path) -> bytes | None:
    return place.read_bytes() if place.exists() else None


def _put_back(place: Path, before: bytes | None, home: Path) -> None:
    """Leave the witness as it was: one of a restore that failed would pass for the newest."""
    if Home(home).settings.exists():  # the home has its name: this is its witness
        return
    if not place.parent.is_dir():  # it went with the draft
        return
    if before is None:
        place.unlink(missing_ok=True)
    elif _bytes_of(place) != before:
        replace_private(place, before)


def _check_spend_is_known(draft: Home, terms: RestoreTerms, clock: Clock) -> None:
    settings = load_settings(draft)
    place = witness_path(draft, settings)
    seen = Witness(draft.ledger, settings.population, place).read()
    copy = position_in(draft.ledger, settings.population, clock)
    # A witness of a former epoch may have more entries, and knows nothing of this one's.
    if seen is not None and seen.epoch >= copy.epoch and seen.sequence >= copy.sequence:
        return
    if terms.spent is None and not terms.as_planned:
        most = from_picomu2(_as_planned(draft, clock))
        found = "none" if seen is None else "one that is older than the backup"
        raise UsageError(
            f"expected a witness of the lost home, found {found}, so nobody here knows what was "
            "spent since the backup: bring the witness (--witness FILE), or state the sum of all "
            "debits (--spent MU2; `debited` in your last signed reply, in any transcript), or, "
            "where no study was approved since, count those of then as spent: --as-planned, "
            f"which is {most!r} in all"
        )


def _acceptance(draft: Home, terms: RestoreTerms, clock: Clock) -> Acceptance:
    spent, study = terms.spent, terms.study
    if terms.as_planned:
        spent, approved = max(spent or 0, _as_planned(draft, clock)), _approved(draft)
        study = study or (approved[0].id if len(approved) == 1 else "")
    return Acceptance(user=terms.user, reason=terms.reason, spent=spent, study=study)


def _as_planned(draft: Home, clock: Clock) -> int:
    """Return all debits of the copy, and what its approved studies may have cost since."""
    population, studies = load_settings(draft).population, _approved(draft)
    with RestoredLedger.open(draft.ledger, population=population, clock=clock) as ledger:
        return ledger.position().debited + sum(
            max(0, plan_for(study).study_limit - ledger.costs(study.id).total) for study in studies
        )


def _approved(draft: Home) -> list[Study]:
    if not draft.roster.exists():
        return []
    roster = pinned_roster(draft, pinned_coordinator(draft, load_policy(draft)))
    kept = kept_studies(draft, roster)
    return [one.study for one in kept if one.decision.state is State.APPROVED]


def _sign_what_was_said(
    draft: Home, header: BackupHeader, terms: RestoreTerms, clock: Clock
) -> None:
    """Log that the home came from a backup, and sign the log's head with the new identity."""
    with Journal.open(draft.log_folder, clock=clock) as journal:
        facts: dict[str, Value] = {"sequence": int(header.facts["sequence"]), "user": terms.user}
        facts |= {"kind": "restored", "reason": terms.reason}
        journal.append(Event.BACKUP, terms.user, **facts)
    signer = IdentitySigner(load_identity(draft, terms.passphrase))
    line = sign_head(verify(draft.log_folder), header.name, signer, clock())
    place = draft.log_folder / RESTORED_HEADS
    before = place.read_bytes() if place.exists() else b""  # of a restore before this one
    replace_private(place, before + line + b"\n")


def _line(text: str) -> bytes:
    return f"{text}\n".encode()


def _no_clock() -> datetime:
    raise LedgerError("expected a ledger that was begun, found an empty one")
