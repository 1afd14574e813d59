"""`fieldfare institution texts`: rank units by their texts, and say which words moved one.

Errors pass through: the root command turns them into exit codes.
"""

import os
from typing import Annotated, Final

import typer

from fieldfare.client.institution.building import open_institution, open_journal, utc_now
from fieldfare.client.institution.cli_home import DEFAULT_HOME, HomeOption
from fieldfare.client.institution.cli_score import MappingOption, ModelOption, RecordsOption
from fieldfare.client.institution.journal import Event
from fieldfare.client.institution.keys import load_holdout_key
from fieldfare.client.institution.scoring import Sources, suppressed_units, tables
from fieldfare.client.institution.usable_model import UsableModel, usable_model
from fieldfare.client.scoring.texts import RankedTexts, rank_texts, read_texts
from fieldfare.shared.os_user import os_user
from fieldfare.shared.pages.words import plain
from fieldfare.shared.text_grams import WORD, TextEncoder

KIND: Final = "text"
SHOWN: Final = 12  # words and runs of characters on each side

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
    sources = Sources(tuple(records or ()), mapping)
    found = read_texts(tables(institution, used.study, sources, os.environ), used.study, unit)
    shown = found.without(suppressed_units(institution.home, institution.settings))
    ranked = rank_texts(used.parameters, shown, key=load_holdout_key(institution.home))
    journal = open_journal(institution.home, utc_now)
    journal.append(Event.SCORED, os_user(), study=used.study.id, run=used.kept.run)
    if unit is None:
        typer.echo("\n".join(_top(used, ranked, top)))
    else:
        typer.echo("\n".join(_why(used, ranked, unit, found.asked or "")))


def _top(model: UsableModel, ranked: RankedTexts, most: int) -> list[str]:
    title = f"{model.study.name}, run {model.kept.run}: {model.verified}"
    rows = [(ranked.ranks[p], ranked.scores[p], str(ranked.units[p])) for p in ranked.top(most)]
    return [
        title,
        "rank     score  unit",
        *(f"{rank:>4}  {score:+8.3f}  {plain(unit)}" for rank, score, unit in rows),
        f"{len(ranked.units):,} ranked by log-odds: an order to look in, no probability",
        "Next: the same with --unit UNIT",
    ]


def _why(model: UsableModel, ranked: RankedTexts, unit: str, text: str) -> list[str]:
    place, parameters = ranked.place_of(unit), model.parameters
    reasons = TextEncoder(len(parameters) - 1).contributions(text, parameters[1:])
    up = [one for one in reasons if one[1] > 0][:SHOWN]
    down = [one for one in reasons if one[1] < 0][:SHOWN]
    score = float(ranked.scores[place])
    others = score - float(parameters[0]) - sum(part for _, part in (*up, *down))
    return [
        f"{plain(unit)}: rank {ranked.ranks[place]} of {len(ranked.units):,}, score {score:+.3f}",
        "raises:", *map(_reason, up),
        "speaks against:", *map(_reason, down),
        f"adds up: {parameters[0]:+.3f} (anybody) with these and all others ({others:+.3f})",
        "words and characters of this text; each shares a bucket with others' words, so look at",
        "the text itself. One text is no sufficient sign of anything, and this stays here.",
    ]  # fmt: skip


def _reason(reason: tuple[str, float]) -> str:
    gram, part = reason
    what = "word" if gram[0] == WORD else "characters"
    return f"  {part:+8.3f}  {what:<10}  {plain(gram[1:])!r}"
