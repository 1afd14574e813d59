"""`fieldfare institution texts`: rank units by their texts, and show the words that count.

Errors pass through: the root command turns them into exit codes.
"""

import os
from typing import Annotated, Final

import typer

from fieldfare.client.institution.building import Institution, open_institution, open_journal
from fieldfare.client.institution.cli_home import (
    DEFAULT_HOME,
    HomeOption,
    MappingOption,
    ModelOption,
    RecordsOption,
)
from fieldfare.client.institution.desk import suppressed_units
from fieldfare.client.institution.journal import Event
from fieldfare.client.institution.keys import load_holdout_key
from fieldfare.client.institution.scoring import Sources, tables
from fieldfare.client.institution.screen import plain
from fieldfare.client.institution.usable_model import UsableModel, usable_model
from fieldfare.client.scoring.rows import RankedRows, rank_rows, read_rows
from fieldfare.client.scoring.text_reasons import TextReasons
from fieldfare.shared.clock import utc_now
from fieldfare.shared.os_user import os_user

KIND: Final = "text"
NEXT: Final = "Next: the same with --unit UNIT"

texts_app = typer.Typer(add_completion=False)


@texts_app.command("texts")
def texts(
    model: ModelOption,
    home: HomeOption = DEFAULT_HOME,
    records: RecordsOption = None,
    mapping: MappingOption = None,
    top: Annotated[int, typer.Option(min=1, max=10_000, help="How many to list.")] = 20,
    unit: Annotated[
        str | None, typer.Option(help="Show why this one stands where it stands.")
    ] = None,
) -> None:
    """Rank units by their texts with a finished model; with --unit, by which of its own words.

    For people inside the institution who may see the texts: nothing is written or sent. The
    software ranks; it closes, freezes and reports nothing.
    """
    institution = open_institution(home)
    used = usable_model(institution, model, KIND)
    ranked, text = ranked_by(institution, used, Sources(tuple(records or ()), mapping), unit)
    if unit is None:
        typer.echo("\n".join([*top_lines(used, ranked, top), NEXT]))
    else:
        typer.echo("\n".join(_why(used, ranked, unit, text)))


def ranked_by(
    institution: Institution, model: UsableModel, sources: Sources, asked: str | None = None
) -> tuple[RankedRows, str]:
    """Rank everybody whom nothing suppresses, and log that it was done, never what came out.

    Args:
        institution: whose records, settings, suppression list and log.
        model: of texts or vectors.
        sources: which records.
        asked: a unit whose text is returned beside; empty without one.
    """
    study, home = model.study, institution.home
    found = read_rows(tables(institution, study, sources, os.environ), study, asked)
    shown = found.without(suppressed_units(home, institution.settings))
    ranked = rank_rows(study, model.parameters, shown, key=load_holdout_key(home))
    journal = open_journal(home, utc_now)
    journal.append(Event.SCORED, os_user(), study=study.id, run=model.kept.run)
    return ranked, found.asked or ""


def top_lines(model: UsableModel, ranked: RankedRows, most: int) -> list[str]:
    """Return the highest ranks for a terminal: nothing but ids, ranks and scores."""
    title = f"{model.study.name}, run {model.kept.run}: {model.verified}"
    rows = [(ranked.ranks[p], ranked.scores[p], str(ranked.units[p])) for p in ranked.top(most)]
    return [
        title,
        "rank     score  unit",
        *(f"{rank:>4}  {score:+8.3f}  {plain(unit)}" for rank, score, unit in rows),
        f"{len(ranked.units):,} ranked by log-odds: an order to look in, no probability",
    ]


def _why(model: UsableModel, ranked: RankedRows, unit: str, text: str) -> list[str]:
    place = ranked.place_of(unit)
    rank, score = ranked.ranks[place], float(ranked.scores[place])
    title = f"{plain(unit)}: rank {rank} of {len(ranked.units):,}, score {score:+.3f}"
    return [title, *TextReasons.of(text, model.parameters).lines()]
