"""`fieldfare study plan`: what to expect of a study, which epsilon, window and settings."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from fieldfare.shared.cli import app
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.joining.expectation import (
    OutlookRow,
    StudyAdvice,
    StudyOutlook,
    Window,
    is_like_trials,
    outlook_of,
)
from fieldfare.shared.joining.outlook import Anchor, ExpectedPrecision, calibration, trials
from fieldfare.shared.joining.settings import OF_TRAINING
from fieldfare.shared.joining.strength import PublicNumbers
from fieldfare.shared.protocol.delivery import LARGEST_CARD
from fieldfare.shared.protocol.plan import Plan, plan_for
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.private_files import read_at_most
from fieldfare.shared.terminal.screen import BAD, GOOD, console, facts, table
from fieldfare.shared.terminal.texts import one_line

EXIT_NOT: Final = 1  # the answer is no
COLUMNS: Final = (
    "average precision on all hold-outs and 80 % of what other records may give; alone: an "
    "institution's own model, in the mean; four cost: epsilon of four quarters' studies in a year"
)


@app.command("study.plan")
def study_plan(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")],
    institutions: Annotated[
        int | None,
        typer.Option(min=3, help="How many take part; else the study's least.", show_default=False),
    ] = None,
    covers: Annotated[
        Window, typer.Option(help="The time that the study's units and prevalence are of.")
    ] = Window.YEAR,
    earlier: Annotated[
        Path | None,
        typer.Option(
            metavar="CARD.json",
            help="The model card of an earlier run over such records: what it released says how "
            "much these records hold.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Show what to expect of a study, from public numbers: which epsilon, which window, or neither.

    Ends with 1 where the answer is not to run it.
    """
    loaded = load_study(study)
    plan = plan_for(loaded)
    _check(loaded)
    anchor = None if earlier is None else _anchor(plan, earlier)
    found = outlook_of(plan, institutions, covers, anchor)
    if as_json:
        typer.echo(json.dumps(_as_data(found, anchored=anchor is not None), indent=2))
    else:
        console().print(outlook_screen(loaded, found, anchored=anchor is not None))
    raise typer.Exit(EXIT_NOT if found.answer is StudyAdvice.NOT else 0)


def _check(study: Study) -> None:
    """Refuse what no trial is like.

    Raises:
        UsageError: no model of features is trained.
    """
    if not is_like_trials(study):
        raise UsageError(
            "expected a study that trains a model of features together, found another: no "
            "study like it was measured, so nothing is known of it"
        )


def _anchor(plan: Plan, path: Path) -> Anchor:
    """Read what an earlier run released off its card.

    Raises:
        UsageError: no card, one without metrics, or of another kind of model.
    """
    try:
        card = ModelCard.from_bytes(read_at_most(path, LARGEST_CARD, UsageError))
    except ProtocolError as error:
        raise UsageError(f"--earlier {path}: {error}") from None
    if card.metrics is None or card.model.kind != plan.study.model.kind:
        raise UsageError(
            f"--earlier {path}: expected a card of a model of kind {plan.study.model.kind} whose "
            "metrics noise did not hide, found another"
        )
    numbers = PublicNumbers(
        kind=card.model.kind,
        units=card.data.units * (1 - card.data.holdout),
        prevalence=card.data.prevalence,
        entries=card.model.entries,
        epsilon=card.privacy.epsilon,
        delta=card.privacy.delta,
        multiplicity=card.privacy.multiplicity,
        institutions=card.participation.institutions,
        tolerance=card.privacy.collusion_tolerance,
    )
    return Anchor(numbers, min(max(card.metrics.average_precision.value, 1e-6), 1 - 1e-6))


# -- screen ---------------------------------------------------------------------------------------


def outlook_screen(study: Study, found: StudyOutlook, *, anchored: bool) -> RenderableType:
    """Return the whole answer for a terminal of 80 columns.

    Args:
        study: whose plan it is.
        found: the answer.
        anchored: an earlier run said what the records hold.
    """
    numbers = found.here.numbers
    head = Text(f"{one_line(study.name)}: what to expect, from public numbers", style="bold")
    signal = (
        f"{numbers.cases:,.0f} cases among {numbers.units:,.0f} units in training, "
        f"{numbers.entries:,} numbers to learn, {numbers.institutions} institutions: strength "
        f"{found.here.strength:.2g}"
    )
    verdict = Text(
        found.answer.value.upper(), style=BAD if found.answer is StudyAdvice.NOT else GOOD
    )
    return Group(
        head,
        Text(),
        facts([("signal", signal), ("covers", f"a {found.covers.value}")]),
        Text(),
        _table(found.rows),
        Text(),
        facts(
            [
                ("columns", COLUMNS),
                ("settings", _settings(study, found)),
                ("verdict", verdict),
                *(("", one) for one in found.reasons),
                ("measured", _measured(anchored=anchored)),
                *(("beyond", f"the trials: {one}: a guess") for one in found.here.beyond),
            ]
        ),
    )


def _table(rows: tuple[OutlookRow, ...]) -> RenderableType:
    titles = ("epsilon", "a year", "alone", "a quarter", "alone ", "four cost")
    return table(
        titles,
        (
            (
                f"{row.epsilon:g}",
                _interval(row.year),
                f"{row.year.alone:.2f}",
                _interval(row.quarter),
                f"{row.quarter.alone:.2f}",
                f"{row.four_quarters:.2g}",
            )
            for row in rows
        ),
        whole=titles,
    )


def _interval(one: ExpectedPrecision) -> str:
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"


def _settings(study: Study, found: StudyOutlook) -> str:
    fitting = found.settings
    if fitting is None:
        return f"nothing was measured for kind {study.model.kind}"
    kind = None if study.geometry is None else study.geometry.kind
    own = (study.privacy.clipping_norm, *(getattr(study.training, name) for name in OF_TRAINING))
    fits = (fitting.clipping_norm, *(getattr(fitting, name) for name in OF_TRAINING))
    said = "clipping_norm {:g}, steps {}, learning_rate {:g}, betas {:g}, {:g} in {} coordinates"
    fitted = said.format(*fits, fitting.coordinates or "the features' own")
    if (*own, kind) == (*fits, fitting.coordinates):
        return f"{fitted}: they fit"
    here = said.format(*own, kind or "the features' own")
    return f"{fitted} fit; the study says {here}"


def _measured(*, anchored: bool) -> str:
    _, errors = calibration()
    sets = sorted({one.set for one in trials()})
    off = errors.anchored_precision if anchored else errors.precision
    known = "what an earlier run released" if anchored else "nothing known of these records"
    return (
        f"{len(trials())} trials of {', '.join(sets)}; with {known} the curve was off by "
        f"{off:.2f} in the mean for a set that it had not seen"
    )


def _as_data(found: StudyOutlook, *, anchored: bool) -> dict[str, Any]:
    curve, errors = calibration()
    return {
        "answer": found.answer.value,
        "reasons": list(found.reasons),
        "covers": found.covers.value,
        "here": asdict(found.here),
        "rows": [asdict(row) for row in found.rows],
        "settings": None if found.settings is None else found.settings.model_dump(),
        "anchored": anchored,
        "curve": asdict(curve),
        "left_out": asdict(errors),
    }
