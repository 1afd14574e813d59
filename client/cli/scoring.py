"""`fieldfare institution models`, `evaluate`, `tune`, `score`."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from fieldfare.client.alerts.alert_queue import suppressed_units
from fieldfare.client.cli import app
from fieldfare.client.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    MappingOption,
    ModelOption,
    RecordsOption,
    UnverifiedOption,
    refuse_options,
)
from fieldfare.client.home.keys import load_holdout_key
from fieldfare.client.home.models import (
    MODEL,
    ModelProvenance,
    ModelStanding,
    card_checks,
    find_model,
    keep_joining,
    kept_models,
    model_provenance,
)
from fieldfare.client.institution.institution import Institution, open_institution, open_journal
from fieldfare.client.journal.entries import Event
from fieldfare.client.model_use.card_text import card_text
from fieldfare.client.model_use.evaluate import (
    KindColumns,
    LocalEvaluation,
    evaluate,
    local_labels,
    should_join,
    tune_here,
)
from fieldfare.client.model_use.score import ScoringOutcome, Sources, logged, score, tables
from fieldfare.client.model_use.usable import TunedModel, UsableModel, as_tuned, usable_model
from fieldfare.client.own_model.own_grid import own_grid
from fieldfare.client.own_model.stack import SHARED_PARTS
from fieldfare.client.own_model.tuning import FittingKind, further
from fieldfare.client.scoring.comparison import Group, table_rows
from fieldfare.client.scoring.exclusion import group_columns, members_by_column
from fieldfare.client.scoring.ranking import RankedUnits, rank_rows
from fieldfare.client.scoring.ranking_table import check_out
from fieldfare.client.scoring.readings import ONE_HOLDS
from fieldfare.client.scoring.reasons import TextReasons
from fieldfare.client.scoring.selection import SelectionReason, left_out
from fieldfare.client.scoring.units import read_rows
from fieldfare.shared.advice import at_home
from fieldfare.shared.errors import ProtocolError, UsageError
from fieldfare.shared.evaluation.groups import Verdict, percents
from fieldfare.shared.evaluation.score_map import Cut
from fieldfare.shared.joining.figures import MINUTES, minutes_of
from fieldfare.shared.joining.page import join_page, join_screen
from fieldfare.shared.pages.words import decimals
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import create_private, os_user
from fieldfare.shared.terminal.screen import BAD, console, table
from fieldfare.shared.terminal.texts import SHORT, plain

OutOption = Annotated[
    Path | None,
    typer.Option(
        help="The Parquet file to write: everyone, highest first. Texts and vectors: without "
        "it, they are only shown.",
        show_default=False,
    ),
]
TopOption = Annotated[
    int | None,
    typer.Option(min=1, max=10_000, help="Without --out: how many to list.", show_default="20"),
]


@app.command("institution.score")
def score_units(
    model: ModelOption,
    out: OutOption = None,
    home: HomeOption = DEFAULT_HOME,
    unverified: UnverifiedOption = False,
    records: RecordsOption = None,
    mapping: MappingOption = None,
    before: Annotated[
        list[Path] | None,
        typer.Option(help="The same columns at an earlier time: own baselines for the reasons."),
    ] = None,
    entries: Annotated[
        Path | None,
        typer.Option(help="Canonical records: customers with an alert keep their own entries."),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(min=1, help="Alerts; else as institution.toml or the study says."),
    ] = None,
    cut: Annotated[
        Cut | None,
        typer.Option(help="Alert from this cut on, by the card's calibration, and not by number."),
    ] = None,
    known: Annotated[
        bool,
        typer.Option("--known", help="Also alert customers whom the records already label."),
    ] = False,
    tuned: Annotated[
        bool, typer.Option("--tuned", help="As it was tuned here, not as it was delivered.")
    ] = False,
    top: TopOption = None,
    unit: Annotated[
        str | None,
        typer.Option(help="Without --out, of texts: why this one stands where it stands."),
    ] = None,
) -> None:
    """Rank all units with a finished model, with reasons that add up. Nothing leaves.

    The top of the ranking and a random sample below the line become alerts for people to decide
    on; customers whom the records already label positive are ranked and marked, and are no alerts
    without --known. Of texts and vectors, without --out, the highest ranks are listed for people
    who may see them, and nothing is written but the log. The software ranks; it closes, freezes
    and reports nothing.
    """
    if out is None:
        alone = {"--before": before, "--entries": entries, "--budget": budget, "--cut": cut,
                 "--known": known, "--tuned": tuned}  # fmt: skip
        refuse_options(alone, "--out beside it")
        _look(open_institution(home), model, Sources(tuple(records or ()), mapping), unit,
              top or 20, unverified=unverified)  # fmt: skip
        return
    refuse_options({"--top": top, "--unit": unit}, "no --out beside it")
    check_out(out)
    if cut is not None and budget is not None:
        raise UsageError("--cut: expected no --budget beside it: either says who is an alert")
    institution = open_institution(home)
    used = usable_model(institution, model, unverified=unverified)
    if tuned:
        used = as_tuned(institution, used)
    sources = Sources(tuple(records or ()), mapping, tuple(before or ()), entries)
    with open_journal(institution.home, utc_now) as journal:
        scored = score(
            institution, journal, used, sources, out,
            budget=budget, cut=cut, known_too=known, user=os_user(), now=utc_now(),
            random=np.random.default_rng(), environment=os.environ,
        )  # fmt: skip
    typer.echo("\n".join(_lines(used, scored, out)))


def _lines(model: UsableModel, scored: ScoringOutcome, out: Path) -> list[str]:
    ranking = scored.ranking
    top = sum(alert.selected is SelectionReason.ALERT for alert in scored.alerts)
    below = len(scored.alerts) - top
    alone = sum(alert.families <= 1 for alert in scored.alerts)
    lines = [
        f"model: {model.study.name}, run {model.kept.run}: {model.verified}"
        + ("; tuned here" if model.tuned else ""),
        f"{len(ranking.units):,} ranked; {_excluded(scored)}",
        f"alerts: {top} from the top, {below} at random from below the line; {scored.new} new",
        f"probability: {ranking.calibration.words}",
    ]
    lines += _last(scored)
    if scored.statements:
        days = "as long as institution.toml says"
        lines.append(f"entries of {scored.statements} customers kept, encrypted, {days}")
    if scored.expired:
        lines.append(f"{scored.expired} alerts had reached their date and are deleted")
    if ranking.known:
        lines.append(_known(scored))
    if ranking.resting:
        lines.append(f"{ranking.resting} were decided lately: ranked, and no alerts again yet")
    if alone:
        lines.append(f"{alone} of the alerts rest on one family of evidence or none: not enough")
    return [
        *lines,
        f"everyone, with reasons: {out} (0600; protect it like the records)",
        at_home("Next: fieldfare institution alerts"),
    ]


def _excluded(scored: ScoringOutcome) -> str:
    """Say who was left out, by group; a unit may be in several."""
    groups = [f"{plain(name)} {count:,}" for name, count in scored.excluded.items()]
    count = scored.ranking.suppressed
    return f"{count:,} left out" + (f" ({', '.join(groups)})" if groups else "")


def _last(scored: ScoringOutcome) -> Iterator[str]:
    """Say how many a harmless reading fits, and which numbers it could not ask for."""
    units = scored.ranking.units
    if last := int((units.tiers == ONE_HOLDS).sum()):
        yield f"{last:,} come after all others: a harmless reading fits them"
    if units.rows is None and units.lacking:
        yield (
            f"not every harmless reading is tried: the records lack {', '.join(units.lacking)} "
            "(typologies run computes them)"
        )


def _known(scored: ScoringOutcome) -> str:
    """Say what became of those whom the records already label positive."""
    known = f"{scored.ranking.known:,} whom the records already label positive: ranked and marked"
    if not scored.ranking.known_too:
        return f"{known}, no alerts (--known)"
    return f"{known}, {sum(alert.label == 1 for alert in scored.alerts)} of the alerts"


SEED: Final = 0  # of the intervals' resamples: the same figures every time


@app.command("institution.tune")
def tune(
    model: ModelOption,
    home: HomeOption = DEFAULT_HOME,
    unverified: UnverifiedOption = False,
    records: RecordsOption = None,
    mapping: MappingOption = None,
    stack: Annotated[
        bool,
        typer.Option(help="Weigh with your own models (a network: own last layer); else scale."),
    ] = True,
) -> None:
    """Combine a shared model with your own models. It stays here and costs no privacy.

    Weights are learned on your training units; held-out units are left out. With fewer than 6
    own positives the shared model is used alone. `score --tuned` uses it; `evaluate` says whether
    it is better than your own best model.
    """
    institution = open_institution(home)
    used = usable_model(institution, model, unverified=unverified)
    sources = Sources(tuple(records or ()), mapping)
    labels = local_labels(institution, used.study, sources, os.environ)
    kind = further(used.study) if stack else FittingKind.SCALED
    with open_journal(institution.home, utc_now) as journal:
        made = tune_here(
            institution, journal, used, labels.training, kind, user=os_user(), now=utc_now()
        )
    typer.echo("\n".join(_tuned_lines(made)))


def _tuned_lines(made: TunedModel) -> list[str]:
    counts = f"{made.positives:,} positives among {made.units:,} training units"
    how = f"bias {made.bias:+.2f}, scale {made.scale:.2f}"
    if made.kind is FittingKind.STACK:
        how = "weights " + ", ".join(f"{name} {one:.2f}" for name, one in made.weights.items())
        if not any(made.weights[name] for name in SHARED_PARTS):
            how += "; your own models alone are as good here"
    elif made.kind is FittingKind.SHARED:
        how = f"too few of your own (fewer than {own_grid().stack.least}) to weigh anything by"
    return [
        f"tuned here ({made.kind.value}): {counts}; {how}",
        at_home(f"Next: fieldfare institution evaluate --model {made.run}"),
    ]


@app.command("institution.evaluate")
def compare(
    model: ModelOption,
    home: HomeOption = DEFAULT_HOME,
    unverified: UnverifiedOption = False,
    records: RecordsOption = None,
    mapping: MappingOption = None,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Alerts among all units; else as for score.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Also compare groups of this column; never an input of a model."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(help='Also write "Should we join?" to this new file, 0600.'),
    ] = None,
    role_column: Annotated[
        str | None, typer.Option(metavar="COL", help="With --page: role of a case; no input.")
    ] = None,
    scenario_column: Annotated[
        str | None, typer.Option(metavar="COL", help="With --page: scenario of a case; no input.")
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(
            callback=minutes_of, help="With --page: your work for an alert, as you assume it."
        ),
    ] = MINUTES,
    as_json: JsonOption = False,
) -> None:
    """Compare the shared model, its use at home and your own best model. Nothing leaves.

    With --page it says whether joining is worth it, as far as your own records can tell: from all
    and from fewer labels, for rare roles, and a scenario never seen.
    """
    institution = open_institution(home)
    used = usable_model(institution, model, unverified=unverified)
    sources, columns = Sources(tuple(records or ()), mapping), KindColumns()
    if page is not None:
        columns = KindColumns(role_column, scenario_column)
    audit = list(dict.fromkeys([*(by or ()), *columns.names]))
    labels = local_labels(institution, used.study, sources, os.environ, audit)
    found = evaluate(institution, used, labels.by(by or ()), budget=budget, seed=SEED)
    joining = None
    if page is not None:
        terms: dict[str, Any] = {"budget": budget, "minutes": minutes, "seed": SEED}
        joining = should_join(institution, used, labels, columns, **terms)
        create_private(page, join_page(joining).encode())
        keep_joining(used.kept, joining, utc_now())
    if as_json:
        typer.echo(json.dumps({**asdict(found), "joining": joining}, indent=2))
        return
    typer.echo(
        f"{found.units:,} held-out units, {found.positives} positive; {found.budget} alerts; "
        f"tuned: {found.tuning}"
    )
    console().print(_models(found))
    for name, groups in found.groups.items():
        console().print(_groups(name, [found.everybody, *groups]))
    typer.echo("\n".join(_remarks(found)))
    if joining is not None:
        typer.echo("")
        console().print(join_screen(joining))
        typer.echo(f"\npage: {page} (0600; protect it like the records)")


def _models(found: LocalEvaluation) -> Table:
    heads = ("model", "AUROC", "average precision", "recall", "precision")
    titles = (*heads, "false alerts per 1,000", "calibration error")
    return table(titles, table_rows(found.qualities))


def _groups(name: str, groups: Sequence[Group]) -> Table:
    heads = (plain(name), "units", "alerts", "false positives", "times others")
    rows = (
        (
            *(plain(one.name), f"{one.units:,}", str(one.alerts), percents(one.false_positives)),
            _times(one) if at else "",
        )
        for at, one in enumerate(groups)
    )
    return table(heads, rows)


def _times(group: Group) -> str:
    times = group.times
    if times is None:
        return group.verdict.value
    return f"{times.value:.1f} ({times.low:.1f} to {times.high:.1f}): {group.verdict.value}"


def _remarks(found: LocalEvaluation) -> Iterator[str]:
    for name, groups in found.groups.items():
        worse = [plain(one.name) for one in groups if one.verdict is Verdict.MORE]
        if worse:
            yield (
                f"{plain(name)}: unlabelled people of {', '.join(worse)} are reviewed more than "
                "twice as often as all others; find out why before anybody relies on this ranking"
            )
        unsaid = sum(one.verdict is Verdict.TOO_FEW for one in groups)
        if unsaid:
            yield f"{plain(name)}: too few units to say whether {unsaid} of {len(groups)} are"
    for name, one in found.cuts.items():
        yield (
            f"released cut by {name}, score {one.score:+.2f}: {one.alerts} held-out units are "
            f"alerts of the shared model, precision {decimals(one.precision)}, recall "
            f"{decimals(one.recall)}"
        )
    yield (
        f"{found.last:,} held-out units come last, as a harmless reading fits them: recall of "
        f"{found.ranked_by} {found.qualities[found.ranked_by].recall.value:.0%}, by the score "
        f"alone {found.by_score:.0%}"
    )
    for price in found.excluded:
        yield (
            f"Excluded, {plain(price.name)}: {price.units:,} held-out units, {price.positives} "
            f"positive; recall {price.recall:.0%} instead of {price.without:.0%}"
        )
    yield (
        "In brackets: 90 % of resamples for models, intervals of 95 % for groups. These figures "
        "are about your records: keep them here."
    )


NOT_KNOWN: Final = frozenset({ModelProvenance.DOUBTFUL, ModelProvenance.UNVERIFIED})


@app.command("institution.models")
def models(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY|RUN]", help="Show this one: a run, or first digits of its study."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List the finished models that arrived, with the evidence for each; of one, its card.

    Of a model, --json is the card itself, and the screen also says where its page and file are.
    """
    institution = open_institution(home)
    if which is None:
        _list_models(institution, as_json=as_json)
    else:
        _show_model(institution, which, as_json=as_json)


def _list_models(institution: Institution, *, as_json: bool) -> None:
    found = [
        model_provenance(kept, institution.signers_ever) for kept in kept_models(institution.home)
    ]
    if as_json:
        typer.echo(json.dumps([_row(one) for one in found], indent=2))
        return
    if not found:
        typer.echo("no model has arrived: one does when a run ends, or with")
        typer.echo("fieldfare institution import FILE")
        return
    rows = (
        (
            *(one.kept.study[:SHORT], one.card.name if one.card else "-", one.kept.run),
            one.card.finished[:10] if one.card else "-",
            Text(plain(one.words, 200), BAD if one.provenance in NOT_KNOWN else ""),
        )
        for one in found
    )
    console().print(table(("study", "name", "run", "finished", "verified"), rows))


def _row(found: ModelStanding) -> dict[str, object]:
    card, recomputed = found.card, found.recomputed
    return {
        "study": found.kept.study,
        "run": found.kept.run,
        "name": card.name if card else None,
        "finished": card.finished if card else None,
        "verified": found.provenance.value,
        "words": found.words,
        "recomputed": recomputed.model_dump(mode="json", exclude={"format"})
        if recomputed
        else None,
        "folder": str(found.kept.folder),
    }


def _show_model(institution: Institution, which: str, *, as_json: bool) -> None:
    kept = find_model(institution.home, which)
    found = model_provenance(kept, institution.signers_ever)
    if found.card is None:
        raise ProtocolError(f"{kept.folder}: {found.words}")
    if as_json:
        typer.echo(found.card.to_bytes().decode())
        return
    checks = card_checks(institution.settings.id, found.recomputed)
    console().print(card_text(found.card, checks.metrics))
    typer.echo("")
    typer.echo(f"verified: {found.words}")
    typer.echo(f"page:     {kept.page}")
    typer.echo(f"model:    {kept.folder / MODEL}")


NEXT: Final = "Next: the same with --unit UNIT"
LIMIT: Final = "a vector has no reasons that people can read: look at what your tool made it from"
LOOKED_AT: Final = frozenset({"text", "vector"})  # kinds of models that need no file of reasons


def _look(
    institution: Institution,
    model: str,
    sources: Sources,
    unit: str | None,
    top: int,
    *,
    unverified: bool,
) -> None:
    """List the highest ranks of texts or vectors, or why a text has its own."""
    used = usable_model(institution, model, unverified=unverified)
    kind = used.study.model.kind
    if kind not in LOOKED_AT:
        raise UsageError("--out: expected a file for everyone's ranks and reasons, found none")
    if unit is not None and kind != "text":
        raise UsageError("--unit: expected a model of texts: only they have reasons by words")
    ranked, text = ranked_by(institution, used, sources, unit)
    if unit is None:
        typer.echo("\n".join([*top_lines(used, ranked, top), NEXT if kind == "text" else LIMIT]))
    else:
        typer.echo("\n".join(_why(used, ranked, unit, text)))


def ranked_by(
    institution: Institution, model: UsableModel, sources: Sources, asked: str | None = None
) -> tuple[RankedUnits, str]:
    """Rank all units that are not suppressed, and log the scoring, never its result.

    Args:
        institution: whose records, settings, suppression list and log.
        model: of texts or vectors.
        sources: which records.
        asked: a unit whose text is returned beside; empty without one.
    """
    study, home = model.study, institution.home
    settings, key = institution.settings, load_holdout_key(home)
    groups = settings.alerts.excluded
    read = tables(institution, study, sources, os.environ)
    found = read_rows(read, study, asked, group_columns(groups))
    excluded = suppressed_units(home, settings) | left_out(members_by_column(groups, found))
    ranked = rank_rows(study, model.parameters, found, key=key, suppressed=excluded)
    with open_journal(home, utc_now) as journal:
        journal.append(Event.SCORED, os_user(), **logged(model, groups))
    return ranked, found.text or ""


def top_lines(model: UsableModel, ranked: RankedUnits, most: int) -> list[str]:
    """Return the highest ranks for a terminal: nothing but ids, ranks and scores."""
    title = f"{model.study.name}, run {model.kept.run}: {model.verified}"
    units = ranked.units.units
    rows = [(ranked.ranks[p], ranked.scores[p], units[p].as_py()) for p in ranked.top(most)]
    return [
        title,
        "rank     score  unit",
        *(f"{rank:>4}  {score:+8.3f}  {plain(unit)}" for rank, score, unit in rows),
        f"{len(ranked.units):,} ranked by log-odds: an order for review, no probability",
    ]


def _why(model: UsableModel, ranked: RankedUnits, unit: str, text: str) -> list[str]:
    place = ranked.place_of(unit)
    rank, score = ranked.ranks[place], float(ranked.scores[place])
    title = f"{plain(unit)}: rank {rank} of {len(ranked.units):,}, score {score:+.3f}"
    return [title, *TextReasons.of(text, model.parameters).lines()]
