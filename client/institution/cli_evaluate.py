"""`fieldfare institution tune`, `institution evaluate`: measure the shared model on own records.

Errors pass through: the root command turns them into exit codes.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.table import Table

from fieldfare.client.institution.building import open_institution, open_journal
from fieldfare.client.institution.cli_home import (
    DEFAULT_HOME,
    HomeOption,
    MappingOption,
    ModelOption,
    RecordsOption,
)
from fieldfare.client.institution.evaluating import Evaluation, evaluate, local_labels, tune_here
from fieldfare.client.institution.scoring import Sources
from fieldfare.client.institution.screen import console, plain
from fieldfare.client.institution.usable_model import usable_model
from fieldfare.client.scoring.comparison import Group, table_rows
from fieldfare.client.scoring.tuning import Kind, further
from fieldfare.shared.clock import utc_now
from fieldfare.shared.next_command import at_home
from fieldfare.shared.os_user import os_user
from fieldfare.shared.rates import Verdict, percents

SEED: Final = 0  # of the intervals' resamples: the same figures every time

tune_app = typer.Typer(add_completion=False)
evaluate_app = typer.Typer(add_completion=False)


@tune_app.command("tune")
def tune(
    model: ModelOption,
    home: HomeOption = DEFAULT_HOME,
    records: RecordsOption = None,
    mapping: MappingOption = None,
    correction: Annotated[
        bool,
        typer.Option(help="Also an own correction (a network: last layer); else bias and scale."),
    ] = True,
) -> None:
    """Fit a shared model to your own labels. It stays here and costs no privacy.

    Held-out units are left out. `score --tuned` uses it; `evaluate` says whether it is better.
    """
    institution = open_institution(home)
    used = usable_model(institution, model)
    sources = Sources(tuple(records or ()), mapping)
    labels = local_labels(institution, used.study, sources, os.environ)
    kind = further(used.study) if correction else Kind.SCALED
    journal = open_journal(institution.home, utc_now)
    made = tune_here(
        institution, journal, used, labels.training, kind, user=os_user(), now=utc_now()
    )
    typer.echo(
        f"tuned here ({made.kind.value}): {made.positives:,} positives among {made.units:,} "
        f"training units; bias {made.bias:+.2f}, scale {made.scale:.2f}\n"
        + at_home(f"Next: fieldfare institution evaluate --model {made.run}")
    )


@evaluate_app.command("evaluate")
def compare(
    model: ModelOption,
    home: HomeOption = DEFAULT_HOME,
    records: RecordsOption = None,
    mapping: MappingOption = None,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Alerts among all units; else as for score.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Also compare groups of this column; never an input of a model."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Compare the shared, the tuned and an own-only model on your own hold-out. Nothing leaves."""
    institution = open_institution(home)
    used = usable_model(institution, model)
    sources = Sources(tuple(records or ()), mapping)
    labels = local_labels(institution, used.study, sources, os.environ, by or ())
    found = evaluate(institution, used, labels, budget=budget, seed=SEED)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
        return
    typer.echo(
        f"{found.units:,} held-out units, {found.positives} positive; {found.budget} alerts; "
        f"tuned: {found.tuning}"
    )
    console().print(_models(found))
    for name, groups in found.groups.items():
        console().print(_groups(name, [found.everybody, *groups]))
    typer.echo("\n".join(_remarks(found)))


def _models(found: Evaluation) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    heads = ("model", "AUROC", "average precision", "recall", "precision")
    for title in (*heads, "false alerts per 1,000", "calibration error"):
        table.add_column(title, overflow="fold")
    for row in table_rows(found.qualities):
        table.add_row(*row)
    return table


def _groups(name: str, groups: Sequence[Group]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    heads = (plain(name), "units", "alerts", "alert rate", "false positives", "against everybody's")
    for title in heads:
        table.add_column(title, overflow="fold")
    for one in groups:
        rates = (percents(one.alert_rate), percents(one.false_positives))
        beside = one.verdict.value + ("" if one.times is None else f": {one.times:.2f} times")
        table.add_row(plain(one.name), f"{one.units:,}", str(one.alerts), *rates, beside)
    return table


def _remarks(found: Evaluation) -> Iterator[str]:
    for name, groups in found.groups.items():
        worse = [plain(one.name) for one in groups if one.verdict is Verdict.MORE]
        if worse:
            yield (
                f"{plain(name)}: unlabelled people of {', '.join(worse)} are reviewed more than "
                "twice as often as everybody's; look at why before anyone relies on this ranking"
            )
        unsaid = sum(one.verdict is Verdict.TOO_FEW for one in groups)
        if unsaid:
            yield f"{plain(name)}: too few units to say whether {unsaid} of {len(groups)} are"
    yield (
        "In brackets: 90 % of resamples for models, intervals of 95 % for groups. These figures "
        "are about your records: keep them here."
    )
