"""The facts of a study for a pack of evidence, from an institution's own ledger, log and papers.

Nothing of it depends on a record: totals of the ledger, decisions of persons, hashes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from fieldfare.client.custodian.cosigning import kept_head
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import (
    ModelStanding,
    card_checks,
    kept_models,
    model_provenance,
)
from fieldfare.client.home.studies import KeptStudy, kept_studies
from fieldfare.client.institution.institution import Institution, open_institution, open_journal
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.journal.entries import Event
from fieldfare.client.ledger.budget import WINDOW, LedgerEntry
from fieldfare.client.ledger.chain import EVERY_STUDY, Statement, StatementKind
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.evidence.facts import (
    EvidenceFacts,
    LogMark,
    MakerRole,
    OwnBudget,
    PersonDecision,
    RunTimes,
    SoftwareFacts,
)
from fieldfare.shared.evidence.recomputed import RecomputedRun, recomputed_run
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import open_regular, read_public
from fieldfare.shared.terminal.texts import SHORT, counted, listed

LEAST_PREFIX: Final = 4
SHOWN: Final = 10  # studies that a refusal names


@dataclass(frozen=True)
class _OwnRuns:
    """What the ledger holds of a study.

    Attributes:
        times: the first and the last release of each run, oldest first.
        spent: 1e-12 mu^2 of all of them.
        lost: releases that it has no entry of count as spent.
        members: in whose company it answered.
        root: of the log of the newest run, as it was co-signed; empty where none was.
    """

    times: tuple[RunTimes, ...]
    spent: int
    lost: bool
    members: tuple[str, ...]
    root: str


def study_evidence(
    path: Path,
    text: str,
    software: SoftwareFacts,
    now: datetime,
    transcript: Path | None = None,
) -> EvidenceFacts:
    """Return the facts of a study's pack.

    Args:
        path: the institution's home.
        text: the study's name, the first digits of its id, or a run of it.
        software: that makes the pack.
        now: the present, with a time zone.
        transcript: of one of its runs, which is then recomputed too.

    Raises:
        UsageError: no home, no such study, or a transcript of another one.
        ProtocolError: the transcript does not fit.
        LedgerError: ledger or log cannot be read.
    """
    institution = open_institution(path)
    with open_ledger(institution.home) as ledger:
        study = _study(institution, ledger, text)
        run = _transcript(institution, study, transcript)
        runs = _own_runs(institution, ledger, study)
        own = _own_budget(institution, ledger, now)
    model = _model(institution, study.study.id)
    card = model.card if model else None
    report = run[0].report if run else None
    return EvidenceFacts(
        role=MakerRole.INSTITUTION,
        maker=institution.settings.id,
        made=now,
        plan=plan_for(study.study),
        roster=run[0].roster if run else institution.roster,
        software=software,
        run=run[0].run if run else "",
        participants=report.participants if report else runs.members,
        report=report,
        verdict=run[0].verdict if run else None,
        root=run[0].root if run else runs.root,
        transcript=run[1] if run else "",
        spent=runs.spent,
        spent_by=run[0].spent_by if run else {institution.settings.id: runs.spent},
        asked_by=run[0].asked_by if run else {},
        releases_by=run[0].releases_by
        if run
        else {institution.settings.id: sum(one.releases for one in runs.times)},
        card=card,
        figures=card_checks(institution.settings.id, model.recomputed).metrics if model else "",
        times=runs.times,
        own=own,
        lost=runs.lost,
        decisions=tuple(_decisions(study)),
        logs=tuple(_logs(institution, own)),
        papers=_papers(institution.home, study, card, run[0] if run else None),
    )


def _study(institution: Institution, ledger: Ledger, text: str) -> KeptStudy:
    """Return the study that a person means."""
    studies = kept_studies(institution.home, institution.roster)
    found = [one for one in studies if text == one.study.name]
    if not found and len(text) >= LEAST_PREFIX:
        found = [one for one in studies if one.study.id.startswith(text)]
    if not found:
        of_run = {entry.debit.study for entry in ledger.entries() if entry.debit.run == text}
        found = [one for one in studies if one.study.id in of_run]
    if len(found) == 1:
        return found[0]
    known = listed([f"{one.study.name} ({one.short})" for one in studies], SHOWN)
    raise UsageError(
        f"STUDY: expected one study's name, first digits of its id or a run of it, found "
        f"{text[:64]!a}, which fits {len(found) or 'none'} of {known or 'no study at all'}"
    )


def _transcript(
    institution: Institution, study: KeptStudy, path: Path | None
) -> tuple[RecomputedRun, str] | None:
    """Recompute the run whose transcript was given; the second is the file's SHA-256."""
    if path is None:
        return None
    try:
        with open_regular(path) as file:
            found = recomputed_run(file, Trust(institution.roster_key))
            file.seek(0)
            digest = bytes_hash(file.read())
    except OSError as error:
        raise UsageError(f"{path}: expected a readable file, found: {error.strerror}") from None
    if found.plan.study_id != study.study.id:
        raise UsageError(
            f"{path}: expected a run of study {study.short}, found one of study "
            f"{found.plan.study_id[:SHORT]}"
        )
    return found, digest


def _own_runs(institution: Institution, ledger: Ledger, study: KeptStudy) -> _OwnRuns:
    times = dict[str, RunTimes]()
    for entry in ledger.entries():
        if entry.debit.study == study.study.id:
            run = entry.debit.run
            before = times.get(run, RunTimes(run, entry.time, None))
            times[run] = RunTimes(run, before.began, entry.time, before.releases + 1)
    newest = next(reversed(times), "")
    return _OwnRuns(
        times=tuple(times.values()),
        spent=ledger.costs(study.study.id).total,
        lost=any(_counts_lost(one, study.study.id) for one in ledger.history()),
        members=ledger.fixed(study.study.id),
        root=_root(institution, ledger, study.study.id, newest),
    )


_LOST: Final = {StatementKind.EPOCH, StatementKind.PEERS, StatementKind.SILENCE}


def _counts_lost(one: LedgerEntry | Statement, study: str) -> bool:
    """Tell whether an entry counts releases that may be of a study, and has none itself."""
    return (
        isinstance(one, Statement)
        and one.stated.kind in _LOST
        and one.stated.carried > 0
        and one.stated.study in {study, EVERY_STUDY}
    )


def _root(institution: Institution, ledger: Ledger, study: str, run: str) -> str:
    """Return the root of a run's log, as this institution co-signed it; empty where it did not."""
    seen = kept_head(ledger, study, run) if run else None
    if seen is None:
        return ""
    try:
        return seen.opened(institution.roster).root
    except ProtocolError:  # under an online key that the present roster names no more
        return ""


def _own_budget(institution: Institution, ledger: Ledger, now: datetime) -> OwnBudget:
    policy, position = institution.policy, ledger.position()
    return OwnBudget(
        policy=bytes_hash(read_public(institution.home.policy)),
        delta=policy.budget.delta,
        study_epsilon=policy.budget.study_epsilon,
        yearly_epsilon=policy.budget.yearly_epsilon,
        lifetime_epsilon=policy.budget.lifetime_epsilon,
        two_persons=policy.approvals.by_two,
        minimum_units=policy.records.minimum_units,
        yearly=ledger.spent_since(now - WINDOW),
        lifetime=ledger.spent(),
        ledger_entries=position.sequence,
        ledger_epoch=position.epoch,
        ledger_head=position.head,
    )


def _model(institution: Institution, study: str) -> ModelStanding | None:
    """Return the study's newest model that arrived and is signed."""
    standings = [
        model_provenance(one, institution.signers_ever)
        for one in kept_models(institution.home)
        if one.study == study
    ]
    signed = [(one.card.finished, one) for one in standings if one.card is not None]
    return max(signed, key=lambda found: found[0], default=("", None))[1]


def _decisions(study: KeptStudy) -> Iterator[PersonDecision]:
    """Yield who decided on the study; two persons where the policy asks for two."""
    decision = study.decision
    if decision.received:
        yield PersonDecision("the coordinator", "sent the study", decision.received, person=False)
    if decision.first:
        yield PersonDecision(decision.first, "approved first", "")
    if decision.user:
        reason = f": {decision.reason}" if decision.reason else ""
        yield PersonDecision(decision.user, f"{decision.state.value}{reason}", decision.time)


def _logs(institution: Institution, own: OwnBudget) -> Iterator[LogMark]:
    with open_journal(institution.home, utc_now) as journal:
        last = journal.newest(*Event)
    yield LogMark(
        "ledger",
        "every release and its cost before it left, hash-chained",
        own.ledger_entries,
        own.ledger_head,
        "for good",
    )
    yield LogMark(
        "log of the institution",
        "requests, refusals, releases, decisions of persons, keys, restarts, hash-chained",
        last.sequence if last else 0,
        last.hash if last else "",
        "for good; `fieldfare institution log` copies it to a collector",
    )
    days = institution.settings.alerts.keep_days
    yield LogMark(
        "alerts and decisions on them",
        "who looked at an alert, what was decided, by whom",
        None,
        "",
        f"{counted(days, 'day')} after an alert was closed",
    )


def _papers(
    home: Home, study: KeptStudy, card: ModelCard | None, run: RecomputedRun | None
) -> Mapping[str, bytes]:
    papers = {"study.signed": study.offer, "roster.signed": read_public(home.roster)}
    if run is not None:
        papers |= run.papers
    return papers | ({"model-card.json": card.to_bytes()} if card else {})
