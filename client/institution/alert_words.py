"""The words of one alert's text, read from the records on request and never stored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fieldfare.client.institution.building import Institution, open_institution, open_journal
from fieldfare.client.institution.journal import Event
from fieldfare.client.institution.scoring import Sources, tables
from fieldfare.client.institution.usable_model import as_tuned, usable_model
from fieldfare.client.scoring.alert import Alert
from fieldfare.client.scoring.rows import read_rows
from fieldfare.client.scoring.text_reasons import TextReasons
from fieldfare.shared.clock import utc_now
from fieldfare.shared.errors import UsageError
from fieldfare.shared.pages.words import plain

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
    # First the log: a person's own words are read by nobody unseen.
    journal = open_journal(institution.home, utc_now)
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
    model = usable_model(institution, alert.run, KIND)
    if alert.tuned:
        model = as_tuned(institution, model)
    found = read_rows(tables(institution, model.study, sources, environment), model.study,
                      alert.unit)  # fmt: skip
    if found.asked is None:
        raise UsageError(
            "expected the alert's unit in the records, found none: name the file that was scored "
            "with --records"
        )
    reasons = TextReasons.of(found.asked, model.parameters)
    title = f"{alert.alert}: {plain(alert.unit)}, score {alert.score:+.3f}"
    if reasons.score != alert.score:
        title += f"; the text, or the tuning, has changed since: {reasons.score:+.3f} now"
    return [title, *reasons.lines()]
