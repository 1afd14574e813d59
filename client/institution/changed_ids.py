"""Ids that changed since a study's first answer: what a person is told of them, and says.

A custodian whose load has other ids than the study began with answers nothing (`Custodian.stop`).
Whether the people are others, or their ids, nobody sees but who made the export.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from fieldfare.client.home.keys import load_holdout_key
from fieldfare.client.home.layout import Home
from fieldfare.client.home.studies import State, kept_ids, kept_study, read_decision
from fieldfare.client.institution.institution import Institution, open_journal
from fieldfare.client.institution.ledger_checks import check_not_behind, open_ledger
from fieldfare.client.institution.open import Loader
from fieldfare.client.journal.entries import Event
from fieldfare.client.ledger.chain import Statement
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.pending import Split
from fieldfare.client.records.encoding.holdout import split_name
from fieldfare.client.records.encoding.id_sketch import IdChange, IdSketch
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.clock import utc_now


@dataclass(frozen=True)
class StudyIds:
    """A study whose units may have other ids than at its first answer.

    Attributes:
        study: its id.
        change: since then.
        split: of the load, with its ids.
    """

    study: str
    change: IdChange
    split: Split


def key_of_ids(home: Home) -> bytes:
    """Return the hold-out key, under which ids are compared; empty where this user has none.

    Raises:
        KeysError: it is open to others or damaged.
    """
    return load_holdout_key(home) if os.access(home.holdout_key, os.R_OK) else b""


def change_since(home: Home, study: Study, ids: IdSketch, key: bytes) -> IdChange | None:
    """Compare a load with a study's first answer of one side; None: there was none.

    Raises:
        LedgerError: the ledger cannot be trusted or read.
        StudyError: a mistake in institution.toml or policy.toml.
    """
    with open_ledger(home) as ledger:
        kept = _kept(ledger, study.id, split_name(key=key, share=study.evaluation.holdout))
    return ids.since(IdSketch.from_bytes(kept)) if kept else None


def changed_ids(institution: Institution, ledger: Ledger, load: Loader) -> Iterator[StudyIds]:
    """Load every approved study, and yield those whose ids hold the custodian up.

    Raises:
        LedgerError: the ledger lacks what was released, or cannot be read.
        RecordsError: records do not load.
    """
    check_not_behind(ledger, institution.home)
    for study in kept_ids(institution.home):
        if read_decision(institution.home, study).state is not State.APPROVED:
            continue
        sums = load(kept_study(institution.home, study, institution.roster).study).sums
        change = sums.ids.since(IdSketch.from_bytes(_kept(ledger, study, sums.split)))
        if change.renamed:
            yield StudyIds(study, change, Split(sums.split, sums.ids.to_bytes()))


def keep_sides(
    institution: Institution, ledger: Ledger, found: StudyIds, *, user: str, reason: str
) -> Statement:
    """State that nobody in a load has another id than before: units stay on their sides.

    Raises:
        LedgerError: ledger or log cannot be written.
    """
    with open_journal(institution.home, utc_now) as journal:
        rule = f"study {found.study}: its units have their earlier ids, other people came"
        journal.append(Event.LEDGER, user, rule=rule, user=user, reason=reason)
        with ledger.splits() as rows:
            return rows.confirm_ids(found.study, found.split, user=user, reason=reason)


def _kept(ledger: Ledger, study: str, split: str) -> bytes:
    with ledger.splits() as rows:
        return rows.ids(study, split)
