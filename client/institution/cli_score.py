"""`fieldfare institution score`: rank all units, with reasons; keep the alerts.

Errors pass through: the root command turns them into exit codes.
"""

import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fieldfare.client.institution.building import open_institution, open_journal
from fieldfare.client.institution.cli_home import (
    DEFAULT_HOME,
    HomeOption,
    MappingOption,
    ModelOption,
    RecordsOption,
)
from fieldfare.client.institution.scoring import Scored, Sources, score
from fieldfare.client.institution.usable_model import UsableModel, as_tuned, usable_model
from fieldfare.client.scoring.alert_file import check_out
from fieldfare.client.scoring.choosing import Selected
from fieldfare.shared.clock import utc_now
from fieldfare.shared.next_command import at_home
from fieldfare.shared.os_user import os_user

score_app = typer.Typer(add_completion=False)


@score_app.command("score")
def score_units(
    model: ModelOption,
    out: Annotated[Path, typer.Option(help="The Parquet file to write: everyone, highest first.")],
    home: HomeOption = DEFAULT_HOME,
    records: RecordsOption = None,
    mapping: MappingOption = None,
    before: Annotated[
        list[Path] | None,
        typer.Option(help="The same columns at an earlier time: own baselines for the reasons."),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(min=1, help="Alerts; else as institution.toml or the study says."),
    ] = None,
    known: Annotated[
        bool,
        typer.Option("--known", help="Also alert customers whom the records already label."),
    ] = False,
    tuned: Annotated[
        bool, typer.Option("--tuned", help="As it was tuned here, not as it was delivered.")
    ] = False,
) -> None:
    """Rank everybody with a finished model, with reasons that add up. Nothing leaves.

    The top of the ranking and a random sample below the line become alerts for people to decide
    on; customers whom the records already label positive are ranked and marked, and are no alerts
    without --known. The software ranks; it closes, freezes and reports nothing.
    """
    check_out(out)
    institution = open_institution(home)
    used = usable_model(institution, model)
    if tuned:
        used = as_tuned(institution, used)
    sources = Sources(tuple(records or ()), mapping, tuple(before or ()))
    scored = score(
        institution, open_journal(institution.home, utc_now), used, sources, out,
        budget=budget, known_too=known, user=os_user(), now=utc_now(),
        random=np.random.default_rng(), environment=os.environ,
    )  # fmt: skip
    typer.echo("\n".join(_lines(used, scored, out)))


def _lines(model: UsableModel, scored: Scored, out: Path) -> list[str]:
    ranking = scored.ranking
    top = sum(alert.selected is Selected.ALERT for alert in scored.alerts)
    below = len(scored.alerts) - top
    alone = sum(alert.families <= 1 for alert in scored.alerts)
    lines = [
        f"model: {model.study.name}, run {model.kept.run}: {model.verified}"
        + ("; tuned here" if model.tuned else ""),
        f"{len(ranking.units):,} ranked; {ranking.suppressed} left out (suppression list)",
        f"alerts: {top} from the top, {below} at random from below the line; {scored.new} new",
        f"probability: {ranking.calibration.words}",
    ]
    if ranking.known:
        lines.append(_known(scored))
    if ranking.resting:
        lines.append(f"{ranking.resting} decided on lately: ranked, not asked about again yet")
    if alone:
        lines.append(f"{alone} of the alerts rest on one family of evidence or none: not enough")
    return [
        *lines,
        f"everyone, with reasons: {out} (0600; protect it like the records)",
        at_home("Next: fieldfare institution alerts"),
    ]


def _known(scored: Scored) -> str:
    """Say what became of those whom the records already label positive."""
    known = f"{scored.ranking.known:,} whom the records already label positive: ranked and marked"
    if not scored.ranking.known_too:
        return f"{known}, no alerts (--known)"
    return f"{known}, {sum(alert.label == 1 for alert in scored.alerts)} of the alerts"
