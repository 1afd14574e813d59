"""Score an institution's own units: choose the alerts, give the reasons, store both.

Nothing of it leaves: the file is the caller's own (0600), the alerts stay in the home, and the
log says that it was done, never about whom or what came out (harm rule 7). The words of one
alert's text are read from the records on request, and never stored.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from fieldfare.client.alerts.alert import Alert, alert_id, alert_of
from fieldfare.client.alerts.alert_queue import forget, keys_of, listed_members, scoring_store, tell
from fieldfare.client.alerts.casework import casework_of
from fieldfare.client.alerts.entries import statements
from fieldfare.client.alerts.store import AlertStore
from fieldfare.client.home.keys import load_holdout_key
from fieldfare.client.home.settings import HomeSettings
from fieldfare.client.institution.institution import Institution, open_institution, open_journal
from fieldfare.client.journal.entries import MAX_SENTENCE, Event, printable
from fieldfare.client.journal.journal import Journal
from fieldfare.client.model_use.usable import UsableModel, as_tuned, usable_model
from fieldfare.client.records.health import (
    RecordsProfile,
    column_profiles,
    keep_profile,
    profile_at,
)
from fieldfare.client.records.settings import tables_of
from fieldfare.client.records.sources.mapping import load_mapping
from fieldfare.client.records.sources.source import Table, table_at
from fieldfare.client.scoring.exclusion import group_columns, mask_of, members_by_column
from fieldfare.client.scoring.ranking import Ranking, rank_units
from fieldfare.client.scoring.ranking_table import AlertTable, write_alerts
from fieldfare.client.scoring.reasons import TextReasons
from fieldfare.client.scoring.selection import AlertBudget, ExcludedGroup, left_out
from fieldfare.client.scoring.units import ScorableUnits, read_rows, read_units, values_before
from fieldfare.shared.errors import UsageError
from fieldfare.shared.evaluation.score_map import Cut
from fieldfare.shared.pages.words import plain
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.clock import utc_now

CARDS: Final = 1 << 12  # made at once


@dataclass(frozen=True)
class Sources:
    """The sources of the records to score.

    Attributes:
        records: files or folders instead of what institution.toml names; none: those.
        mapping: a mapping file for them.
        before: the same of an earlier time, for own baselines; none where there is none.
        entries: canonical records whose entries are kept for customers with an alert; None: those
            that institution.toml names, if it names any.
    """

    records: tuple[Path, ...] = ()
    mapping: Path | None = None
    before: tuple[Path, ...] = ()
    entries: Path | None = None


@dataclass(frozen=True)
class ScoringOutcome:
    """The result of a scoring.

    Attributes:
        ranking: everyone who may be ranked.
        alerts: the alerts, by rank.
        new: how many of them were not open already.
        excluded: by group, the suppression list first, how many units are left out.
        statements: of how many customers entries are kept.
        expired: how many alerts had reached their date, and are gone.
    """

    ranking: Ranking
    alerts: tuple[Alert, ...]
    new: int
    excluded: Mapping[str, int]
    statements: int = 0
    expired: int = 0


def tables(
    institution: Institution, study: Study, sources: Sources, environment: Mapping[str, str]
) -> list[Table]:
    """Return the tables to score.

    Raises:
        UsageError: a mapping without files.
        RecordsError: no source, or a path leads nowhere.
        StudyError: a mapping file is wrong.
    """
    if sources.records:
        return _files(sources.records, sources.mapping)
    if sources.mapping is not None:
        raise UsageError(
            "--mapping: expected beside --records only; an institution's own sources say this in "
            "institution.toml"
        )
    own = institution.settings.records
    return tables_of(own, study, folder=institution.home.path, environment=environment)


def _files(paths: Sequence[Path], mapping: Path | None) -> list[Table]:
    declared = load_mapping(mapping) if mapping is not None else None
    return [table_at(path, declared) for path in paths]


def budget_of(settings: HomeSettings, study: Study, asked: int | None) -> AlertBudget:
    """Return how many alerts there are: as asked, else as set, else the study's share."""
    alerts = settings.alerts
    units = asked if asked is not None else alerts.budget or None
    share = study.evaluation.alert_budget if units is None else None
    return AlertBudget(units=units, share=share, below_line=alerts.below_line)


def score(
    institution: Institution,
    journal: Journal,
    model: UsableModel,
    sources: Sources,
    out: Path,
    *,
    budget: int | None,
    cut: Cut | None = None,
    known_too: bool = False,
    user: str,
    now: datetime,
    random: np.random.Generator,
    environment: Mapping[str, str],
) -> ScoringOutcome:
    """Rank all units, write the file, keep the alerts.

    Args:
        institution: whose records, settings and excluded groups.
        journal: its log.
        model: what ranks.
        sources: which records.
        out: the file to write, new.
        budget: alerts, if asked for here.
        cut: alerts are those from its score on instead, by what was released.
        known_too: whether customers whom the records already label positive may be alerts.
        user: who does it.
        now: the present in UTC.
        random: draws the sample below the line.
        environment: variables that may hold a database's address.

    Raises:
        UsageError, RecordsError, StudyError: records, settings or the file do not fit.
        LedgerError: the log cannot be written: nothing is kept then.
    """
    home, settings, study = institution.home, institution.settings, model.study
    if cut is not None:
        model.check_figures()
    if sources.before and study.rows is not None:
        raise UsageError(
            f"--before: expected a model of features, found one of {study.rows.kind}s: a row has "
            "no earlier value to show; leave --before out"
        )
    groups = settings.alerts.excluded
    audit = group_columns(groups)
    units = read_units(tables(institution, study, sources, environment), study, audit)
    if not sources.records:
        with suppress(UsageError, OSError):  # the page on records says what is wrong with the file
            keep_profile(home.health, study, _profile(study, units, now))
    by_column = members_by_column(groups, units)
    members = {**listed_members(home, settings), **by_column}
    with scoring_store(home, settings) as store:
        ranking = rank_units(
            study, model.parameters, units,
            budget=budget_of(settings, study, budget), key=load_holdout_key(home), random=random,
            suppressed=left_out(members), resting=store.resting(now, settings.alerts.quiet_days),
            known_too=known_too, forest=model.forest, released=model.released, cut=cut,
        )  # fmt: skip
        before = (
            read_units(_files(sources.before, sources.mapping), study) if sources.before else None
        )
        baselines = None if before is None else values_before(ranking.units, before)
        table = AlertTable.of(ranking, settings.alerts.families, baselines)
        alerts = _alerts(table, model, load_holdout_key(home), now)
        journal.append(Event.SCORED, user, **logged(model, groups))
        said = {"study": study.id, "run": model.kept.run, "scored": _stamp(now)}
        write_alerts(table, out, said)
        expired = forget(store, keys_of(home, settings), settings, now, journal)
        new = store.put(alerts, due_days=settings.alerts.due_days, draw=random.random)
        tell(store, home, settings, left_out(by_column))
        kept = _keep_entries(institution, store, sources, alerts, now)
    _show_card(institution, model)
    found = {name: int(mask_of(units, some).sum()) for name, some in members.items()}
    return ScoringOutcome(ranking, alerts, new, found, kept, expired)


def _profile(study: Study, units: ScorableUnits, now: datetime) -> RecordsProfile:
    """Return how the scored records stand; a row that does not fit refused them all."""
    positions = units.positions if units.tables is None else units.tables.positions
    columns = [] if study.rows else column_profiles(study, [positions])
    return profile_at(columns, positions.shape[1], 0, now)


def _keep_entries(
    institution: Institution,
    store: AlertStore,
    sources: Sources,
    alerts: Sequence[Alert],
    now: datetime,
) -> int:
    """Keep the entries of customers with an alert, and of nobody else, until a day."""
    home, settings = institution.home, institution.settings
    named = settings.alerts.entries
    folder = sources.entries or (home.resolve(named) if named else None)
    if folder is None:
        return 0
    read = statements(folder, alerts, last=None, today=now.date())
    ids, keys = store.open_ids(), keys_of(home, settings)
    day = now.date() + timedelta(days=settings.alerts.entries_days)
    closed = {}
    for alert in alerts:  # a customer whose alert was open before has that one's id
        name = ids.get(alert.unit, alert.alert)
        closed[name] = keys.close(read[alert.alert].packed(), name, day)
    store.keep_entries(closed, day)
    return len(closed)


def logged(model: UsableModel, groups: Sequence[ExcludedGroup]) -> dict[str, str]:
    """Return what the log says of a scoring: never whom it was about, nor what came out."""
    facts = {"study": model.study.id, "run": model.kept.run}
    names = ", ".join(one.name for one in groups)
    return facts | ({"rule": printable(f"excluded: {names}", MAX_SENTENCE)} if names else {})


def _show_card(institution: Institution, model: UsableModel) -> None:
    """Keep the model's page where a group works on its alerts: the home is not theirs to read."""
    casework = casework_of(institution.home, institution.settings)
    if casework is not None:
        casework.keep_card(
            f"{model.study.name}-{model.kept.run}.html", model.kept.page.read_bytes()
        )


def _alerts(table: AlertTable, model: UsableModel, key: bytes, now: datetime) -> tuple[Alert, ...]:
    ranking = table.ranking
    rows = np.flatnonzero(ranking.chosen)
    rows = rows[np.argsort(ranking.ranks[rows])]
    time = _stamp(now)
    beside = {
        "study": model.study.id, "study_name": model.study.name, "run": model.kept.run,
        "opened": time, "scored": time, "of": len(ranking.units), "tuned": model.tuned,
        "calibration": ranking.calibration.words,
    }  # fmt: skip
    between = ranking.calibration.between
    return tuple(
        alert_of(
            row,
            alert=alert_id(key, row["unit"], now),
            likely=None if row["probability"] is None else between(row["probability"]),
            **beside,
        )
        for start in range(0, len(rows), CARDS)
        for row in table.cards(rows[start : start + CARDS]).to_pylist()
    )


def _stamp(now: datetime) -> str:
    return now.isoformat(timespec="seconds")


# -- alert words ----------------------------------------------------------------------------------

KIND: Final = "text"


def read_words(
    home: Path,
    alert: Alert,
    records: tuple[Path, ...],
    mapping: Path | None,
    *,
    user: str,
    environment: Mapping[str, str],
) -> list[str]:
    """Log who reads a person's own words, then read and explain them.

    Args:
        home: of the institution.
        alert: of a model of texts.
        records: files instead of what institution.toml names; none: those.
        mapping: a mapping file for them.
        user: who reads.
        environment: variables that may hold a database's address.

    Raises:
        UsageError, RecordsError: as `words_of`.
        LedgerError: the log cannot be written: nothing is read then.
    """
    institution = open_institution(home)
    # First the log: every reading of a person's own words is logged.
    with open_journal(institution.home, utc_now) as journal:
        journal.append(Event.WORDS_READ, user, study=alert.study, run=alert.run)
    return words_of(institution, alert, Sources(records, mapping), environment)


def words_of(
    institution: Institution, alert: Alert, sources: Sources, environment: Mapping[str, str]
) -> list[str]:
    """Return why an alert's text has its score, for a terminal inside the institution.

    Args:
        institution: whose records and model.
        alert: of a model of texts.
        sources: where the text stands.
        environment: variables that may hold a database's address.

    Raises:
        UsageError: another kind of model, a model or a tuning that is gone, or the unit is not
            in the records.
        RecordsError, StudyError: the records do not fit.
    """
    model = usable_model(institution, alert.run, KIND, unverified=True)  # as it was scored
    if alert.tuned:
        model = as_tuned(institution, model)
    found = read_rows(tables(institution, model.study, sources, environment), model.study,
                      alert.unit)  # fmt: skip
    if found.text is None:
        raise UsageError(
            "expected the alert's unit in the records, found none: name the file that was scored "
            "with --records"
        )
    reasons = TextReasons.of(found.text, model.parameters)
    title = f"{alert.alert}: {plain(alert.unit)}, score {alert.score:+.3f}"
    if reasons.score != alert.score:
        title += f"; the text, or the tuning, has changed since: {reasons.score:+.3f} now"
    return [title, *reasons.lines()]
