"""`fieldfare study join`: should we join?"""

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.shared.errors import UsageError
from fieldfare.shared.joining.figures import MINUTES, minutes_of
from fieldfare.shared.joining.page import join_screen
from fieldfare.shared.study.file import load_study
from fieldfare.shared.terminal.screen import PlainConsole
from fieldfare.shared.terminal.stderr import progress_bar, without_log
from fieldfare.simulations.cli import app
from fieldfare.simulations.cli.simulate import MAX_SEED, InstitutionColumn, Json, Out, Quiet
from fieldfare.simulations.demo.five_banks import PEOPLE, PREVALENCE, banks_study
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.joining.join import PAGE, join
from fieldfare.simulations.joining.seeds import JoinTask, Records
from fieldfare.simulations.joining.worlds import WorldTerms
from fieldfare.simulations.world.institutions import load_institutions
from fieldfare.simulations.world.making import MOST_PREVALENCE

SEEDS: Final = "0,1,2"


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parse numbers that commas part.

    Raises:
        UsageError: something else, none, or one twice.
    """
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or len(set(found)) < len(found) or not all(0 <= s <= MAX_SEED for s in found):
        raise UsageError(f"--seeds: expected different numbers and commas (0,1,2), found {text!r}")
    return found


@app.command("study.join")
def study_join_command(
    out: Out,
    study: Annotated[
        Path | None,
        typer.Argument(metavar="STUDY.toml", help="By default that of five invented banks."),
    ] = None,
    records: Annotated[
        list[str] | None,
        typer.Option("--records", metavar="FILE | NAME=FILE", help="Else a world for each seed."),
    ] = None,
    institution_column: InstitutionColumn = None,
    role_column: Annotated[
        str | None, typer.Option(metavar="COL", help="Role of a case; never an input.")
    ] = None,
    scenario_column: Annotated[
        str | None, typer.Option(metavar="COL", help="Scenario of a case; never an input.")
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="N,N,...", help="More make intervals narrower.")
    ] = SEEDS,
    people: Annotated[int, typer.Option(min=300, help="Of each invented world.")] = PEOPLE,
    prevalence: Annotated[
        float, typer.Option(min=0, max=MOST_PREVALENCE, help="Share that serves a ring there.")
    ] = PREVALENCE,
    institutions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML: who holds records in the world.")
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(
            callback=minutes_of, help="Of an analyst's work for an alert: your assumption."
        ),
    ] = MINUTES,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Should we join? What each institution gains on its own customers, and whether it is worth it.

    From all and from fewer labels, for rare roles, a scenario never seen, a newcomer; with
    intervals over seeds and a verdict by a printed rule. Interrupted, it goes on at the next seed.
    """
    agreed = banks_study() if study is None else load_study(study)
    if records:
        columns = {"rare": role_column, "left out": scenario_column}
        source: Records | WorldTerms = Records(
            RecordsChoice(tuple(records), institution_column),
            {question: name for question, name in columns.items() if name},
        )
    else:
        source = WorldTerms(people, prevalence, load_institutions(institutions))
    task = JoinTask(agreed, source, parse_seeds(seeds), out)
    visible = False if quiet or as_json else None
    with without_log("fieldfare"), progress_bar(visible=visible) as progress:
        found = join(task, progress, minutes=minutes)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif not quiet:
        PlainConsole().print(join_screen(found))
        typer.echo(f"\nxdg-open {out / PAGE}")
