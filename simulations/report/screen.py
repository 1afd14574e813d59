"""The terminal screens at the end of a simulation: plain words, no colour needed."""

from collections.abc import Iterable
from pathlib import PurePath
from typing import Final

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from fieldfare.shared.pages.words import decimals, plain
from fieldfare.shared.terminal.screen import add_row, facts, table
from fieldfare.shared.terminal.texts import cut, short
from fieldfare.simulations.report import figures, words
from fieldfare.simulations.report.answers import answers_table
from fieldfare.simulations.report.audit import audit_sentences
from fieldfare.simulations.report.figures import Results
from fieldfare.simulations.report.others import others_table

WIDTH: Final = 100
LOUD: Final = "bold yellow"
NARROW: Final = 80
MOST_NAME: Final = 16
MOST_OWN: Final = 4
"""Rows of the short screen; the report has all."""
MOST_INSTITUTIONS: Final = 5
"""Rows for single institutions; the report has all."""

TOGETHER: Final = (
    ("together, through Fieldfare", "", "federated"),
    ("together, used at home", "", "at_home"),
    ("public start, untouched", "start", ""),
    ("alone from the same start", "alone_start", ""),
    ("together, full noise each", "", "local_dp"),
    ("all records in one pool", "central", "central_dp"),
)
"""Rows for all institutions: what they are called, the unprotected model, the protected one."""


def screen(results: Results) -> RenderableType:
    """Render the end of a simulation in at most 20 lines of 80 columns, and others' models below.

    It leads with what the shared model means for each institution's own units, and ends with
    the file to open, and the command that opens the console where there is a home for it.
    `results` is the content of results.json, as for `details`.
    """
    results = plain(results)
    if not results["models"]:
        return Constrain(Group(*_asked_only(results)), WIDTH)
    how = Text(words.sentence(results, "how"), style="dim")
    answer = Text(words.sentence(results, "own_verdict"), style="bold")
    own = [_own(results)] if results.get("found") else []
    parts: list[RenderableType] = [_title(results), how, answer, *own]
    if results.get("home"):  # one line more at the end, one less at the top
        deployed = ": noise and masks as deployed; all records were on this one machine."
        parts[:2] = [Text.assemble((str(results["study"]["name"]), "bold"), (deployed, "dim"))]
    several = words.sentence(results, "several") if figures.needs_more(results) else ""
    rows = {
        "Privacy": Text(words.sentence(results, "promise")),
        "Reviews": Text(words.sentence(results, "in_vain")),
        "Warning": Text(several, style=LOUD),
        "World": Text(words.sentence(results, "invented")),
        "Open": Text(_page(results)),
        "Alerts": Text(str((results.get("home") or {}).get("console", ""))),
    }
    return Constrain(Group(*parts, _said(rows), *_others(results)), NARROW)


def _others(results: Results) -> Iterable[RenderableType]:
    """Models of others, where somebody asked for some."""
    if results.get("others"):
        yield from (Text(), others_table(results))


def _said(rows: dict[str, Text]) -> Table:
    return facts(((head, text) for head, text in rows.items() if text.plain.strip()), head="dim")


def _own(results: Results) -> Table:
    """Each institution's own cases found: with its own best model, together, and what that says."""
    told = results["found"]
    cases = "unknown to it" if told["judge"] == "truth" else "held out"
    numbers = (f"cases\n{cases}", "found alone,\ntogether", "more\n(95 of 100)")
    named = f"\neach institution's {figures.units(results)}"
    found = table((named, *numbers, "\njoining"), numbers=numbers, whole=("\njoining",))
    found.columns[0].max_width = 24
    rows = told["institutions"]
    shown = rows if len(rows) <= MOST_OWN else rows[: MOST_OWN - 1]
    for row in shown:
        apart = row["difference"]
        more = f"{apart['value']:+} ({apart['low']:+.0f} to {apart['high']:+.0f})"
        both, name = f"{row['alone']}, {row['together']}", cut(row["name"], MOST_NAME)
        add_row(found, name, f"{row['cases']:,}", both, more, figures.verdict_of(row))
    if len(rows) > len(shown):
        add_row(found, f"{len(rows) - len(shown)} in the report")
    return found


def _page(results: Results) -> str:
    """Say what to open, and how to see more of it here."""
    page = (results.get("files") or {}).get("report.html")
    more = "(--details prints every figure)"
    return f"xdg-open {page} {more}" if page else more


def details(results: Results) -> RenderableType:
    """Render every figure of a simulation (100 x 60, readable at 80 columns).

    `results` is the content of results.json. Names in it are untrusted: control
    characters are replaced, and nothing in them is read as markup.
    """
    results = plain(results)
    if not results["models"]:
        return Constrain(Group(*_asked_only(results)), WIDTH)
    parts: list[RenderableType] = [_title(results)]
    if warning := words.sentence(results, "warning"):
        parts.append(Text(warning, style=LOUD))
    elif setting := words.sentence(results, "setting"):
        parts.append(Text(setting, style="dim"))
    if figures.needs_more(results):
        parts.append(Text(words.sentence(results, "several"), style=LOUD))
    legend = Text(_legend(), style="dim")
    parts += [Text(), _models(results), legend, Text(), _sentences(results), *_others(results)]
    if results.get("answers"):
        parts += [Text(), answers_table(results)]
    return Constrain(Group(*parts), WIDTH)


def _asked_only(results: Results) -> Iterable[RenderableType]:
    """The screen of a study that only asks questions."""
    yield _title(results)
    if warning := words.sentence(results, "warning"):
        yield Text(warning, style=LOUD)
    yield Text()
    yield answers_table(results)
    if said := words.sentence(results, "several"):
        yield Text()
        yield Text(said, style=LOUD if figures.needs_more(results) else "")
    yield Text()
    yield Text(_files(results))


def _title(results: Results) -> Rule:
    """Name of the study and its size."""
    title = Text(str(results["study"]["name"]), style="bold")
    title.truncate(60, overflow="ellipsis")
    return Rule(title, align="left", style="dim", characters="-")


def _models(results: Results) -> Table:
    """The models of each institution alone and of all together, without privacy and with it."""
    epsilon = short(results["privacy"]["epsilon"])
    first = "\nwho learns from what"
    # The upper line of two neighbours reads as one: without privacy, epsilon = 1.
    heads = ("without\nAUROC", "privacy\nprecision", "epsilon\nAUROC", f"= {epsilon}\nprecision")
    numbers = (f"\n{figures.units(results)}", *heads)
    found = table((first, *numbers), _alone(results), numbers=numbers, whole=[first])
    found.columns[0].min_width = 27
    total = sum(entry["units"] for entry in results["institutions"])
    for name, bare, private in TOGETHER:
        if results["models"].get(bare) or results["models"].get(private):
            cells = [*_metrics(results, bare), *_metrics(results, private)]
            style = "bold" if private == "federated" else ""
            from_start = private == "federated" and "start" in results["models"]
            said = "together from the start" if from_start else name
            add_row(found, said, f"{total:,}", *cells, style=style)
    return found


def _promised(results: Results) -> Iterable[str]:
    yield from words.privacy(results)
    yield words.sentence(results, "spent")
    if not figures.needs_more(results):  # else it is said above, loudly
        yield words.sentence(results, "several")


def _alone(results: Results) -> Iterable[list[str]]:
    """Rows of single institutions, and of their mean."""
    models = [results["models"].get(key) or {} for key in ("alone", "alone_dp")]
    if not any(models):
        return
    entries = results["institutions"]
    shown = len(entries) if len(entries) <= MOST_INSTITUTIONS + 1 else MOST_INSTITUTIONS
    for entry in entries[:shown]:
        row = [f"{entry['name']} alone", f"{entry['units']:,}"]
        for model in models:
            own = ((model.get("per_institution") or {}).get(entry["name"]) or {}).get(
                "pooled"
            ) or {}
            row += [decimals(own.get(key)) for key in ("auroc", "average_precision")]
        yield row
    if shown < len(entries):
        yield [f"{len(entries) - shown} more alone: see the report"]
    yield ["mean of all alone", "", *_metrics(results, "alone"), *_metrics(results, "alone_dp")]


def _metrics(results: Results, model: str) -> list[str]:
    """AUROC and average precision of a model."""
    return [decimals(figures.metric(results, model, k)) for k in ("auroc", "average_precision")]


def _legend() -> str:
    """The meaning of the two metrics."""
    return (
        "AUROC: how often a labelled one ranks above an unlabelled one (0.5 is guessing). "
        "Precision: labelled share among the highest ranked, averaged over list lengths."
    )


def _sentences(results: Results) -> Table:
    """Answer, reviews, privacy, files and checks, each under one word."""
    answer = Text(words.sentence(results, "answer"), style="bold")
    for more in words.sentences(results, "same_privacy"):
        answer.append(f" {more}", style="not bold")
    reviews = words.sentences(results, "budget", "readings", "lookalikes", "spared")
    rows = {
        "World": Text(" ".join(words.world(results))),
        "Answer": answer,
        "Reviews": Text(" ".join(reviews)),
        "Groups": Text(words.sentence(results, "fared")),
        "Asked": Text(words.sentence(results, "asked")),
        "Privacy": Text(" ".join(filter(None, _promised(results)))),
        "Audit": Text(" ".join(audit_sentences(results))),
        "Files": Text(_files(results)),
        "Alerts": Text(str((results.get("home") or {}).get("console", ""))),
        "Check": Text(_check(results)),
        "People": Text("The software ranks; people decide. No ranking is evidence by itself."),
    }
    return _said(rows)


def _files(results: Results) -> str:
    """The paths of the files: the folder once, where they share one."""
    paths = [PurePath(str(path)) for path in (results.get("files") or {}).values()]
    if not paths:
        return ""
    folders = {str(path.parent) for path in paths}
    if len(folders) > 1:
        return ", ".join(str(path) for path in paths)
    return f"In {folders.pop()}: " + ", ".join(path.name for path in paths)


def _check(results: Results) -> str:
    """The command that checks the claim."""
    mu2 = short(results["privacy"].get("mu2_planned"))
    return (
        "`fieldfare study check STUDY.toml` prints what the plan costs. The report shows the "
        f"formula that turns mu^2 = {mu2} into epsilon. Same study, records and seed: same result"
        + (", up to the noise." if results["privacy"].get("noise") == "exact" else ".")
    )
