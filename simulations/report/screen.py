"""The terminal screens at the end of a simulation: plain words, no colour needed."""

from collections.abc import Iterable
from pathlib import PurePath
from typing import Final

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from fieldfare.shared.pages.words import decimals, percent, plain, short
from fieldfare.simulations.report import words
from fieldfare.simulations.report.answers import answers_table

WIDTH: Final = 100
LOUD: Final = "bold yellow"
NARROW: Final = 80
MOST_NAME: Final = 16
MOST_OWN: Final = 5
"""Rows of the short screen; the report has all."""
MOST_INSTITUTIONS: Final = 6
"""Rows for single institutions; the report has all."""

TOGETHER: Final = (
    ("together, through Fieldfare", "", "federated"),
    ("together, full noise each", "", "local_dp"),
    ("all records in one pool", "central", "central_dp"),
)
"""Rows for all institutions: what they are called, the unprotected model, the protected one."""


def screen(results: words.Results) -> RenderableType:
    """Render the end of a simulation in at most 20 lines of 80 columns.

    It leads with what the shared model means for each institution's own units, and ends with
    the file to open. `results` is the content of results.json, as for `details`.
    """
    results = plain(results)
    if not results["models"]:
        return Constrain(Group(*_asked_only(results)), WIDTH)
    parts: list[RenderableType] = [_title(results)]
    parts += [Text(words.how(results), style="dim"), _own(results)]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Answer", Text(words.own_verdict(results), style="bold"))
    for head, text in (
        ("Reviews", words.in_vain(results)),
        ("Privacy", words.promise(results)),
        ("Warning", words.several(results) if words.needs_more(results) else ""),
        ("World", words.rarer_cases(results)),
        ("Open", _page(results)),
    ):
        if text:
            table.add_row(head, Text(text, style=LOUD if head == "Warning" else ""))
    return Constrain(Group(*parts, table), NARROW)


def _own(results: words.Results) -> Table:
    """Each institution's own units: its own model without privacy, and the shared one."""
    share = words.alert_budget(results)
    reviewed = f"found of 100{f', {percent(share)} reviewed' if share else ''}\nown, shared"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(
        f"on its own\n{words.units(results)} only", no_wrap=True, overflow="ellipsis", max_width=24
    )
    table.add_column("\nin all", justify="right", no_wrap=True)
    table.add_column("cases\nheld out", justify="right", no_wrap=True)
    table.add_column("AUROC\nown, shared", justify="right", no_wrap=True)
    table.add_column(reviewed, justify="right", no_wrap=True)
    rows = words.own_rows(results)
    shown = rows if len(rows) <= MOST_OWN else rows[: MOST_OWN - 1]
    for row in shown:
        auroc = ", ".join(decimals(value) for value in row.auroc)
        found = ", ".join("-" if v is None else f"{100 * v:.0f}" for v in row.found)
        cases = "-" if row.cases is None else f"{row.cases:,}"
        table.add_row(Text(_fitted(row.name)), f"{row.units:,}", cases, auroc, found)
    if len(rows) > len(shown):
        table.add_row(f"{len(rows) - len(shown)} in the report")
    return table


def _fitted(name: str) -> str:
    """Shorten a name to what 80 columns leave for it, in plain ASCII."""
    return name if len(name) <= MOST_NAME else name[: MOST_NAME - 3] + "..."


def _page(results: words.Results) -> str:
    """Say what to open, and how to see more of it here."""
    page = (results.get("files") or {}).get("report.html")
    more = "(--details prints every figure)"
    return f"xdg-open {page} {more}" if page else more


def details(results: words.Results) -> RenderableType:
    """Render every figure of a simulation (100 x 60, readable at 80 columns).

    `results` is the content of results.json. Names in it are untrusted: control
    characters are replaced, and nothing in them is read as markup.
    """
    results = plain(results)
    if not results["models"]:
        return Constrain(Group(*_asked_only(results)), WIDTH)
    parts: list[RenderableType] = [_title(results)]
    if warning := words.warning(results):
        parts.append(Text(warning, style=LOUD))
    elif setting := words.setting(results):
        parts.append(Text(setting, style="dim"))
    if words.needs_more(results):
        parts.append(Text(words.several(results), style=LOUD))
    legend = Text(_legend(), style="dim")
    parts += [Text(), _models(results), legend, Text(), _sentences(results)]
    if results.get("answers"):
        parts += [Text(), answers_table(results)]
    return Constrain(Group(*parts), WIDTH)


def _asked_only(results: words.Results) -> Iterable[RenderableType]:
    """The screen of a study that only asks questions."""
    yield _title(results)
    if warning := words.warning(results):
        yield Text(warning, style=LOUD)
    yield Text()
    yield answers_table(results)
    if said := words.several(results):
        yield Text()
        yield Text(said, style=LOUD if words.needs_more(results) else "")
    yield Text()
    yield Text(_files(results))


def _title(results: words.Results) -> Rule:
    """Name of the study and its size."""
    title = Text(str(results["study"]["name"]), style="bold")
    title.truncate(60, overflow="ellipsis")
    return Rule(title, align="left", style="dim", characters="-")


def _models(results: words.Results) -> Table:
    """The models of each institution alone and of all together, without privacy and with it."""
    epsilon = short(results["privacy"]["epsilon"])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("\nwho learns from what", no_wrap=True, overflow="ellipsis", min_width=27)
    table.add_column(f"\n{words.units(results)}", justify="right", no_wrap=True)
    # The upper line of two neighbours reads as one: without privacy, epsilon = 1.
    for head in ("without\nAUROC", "privacy\nprecision"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("epsilon\nAUROC", f"= {epsilon}\nprecision"):
        table.add_column(head, justify="right", no_wrap=True)
    for cells in _alone(results):
        table.add_row(*cells)
    total = sum(entry["units"] for entry in results["institutions"])
    for name, bare, private in TOGETHER:
        if results["models"].get(bare) or results["models"].get(private):
            cells = [*_metrics(results, bare), *_metrics(results, private)]
            style = "bold" if private == "federated" else ""
            table.add_row(name, f"{total:,}", *cells, style=style)
    return table


def _promised(results: words.Results) -> Iterable[str]:
    yield from words.privacy(results)
    yield words.spent(results)
    if not words.needs_more(results):  # else it is said above, loudly
        yield words.several(results)


def _alone(results: words.Results) -> Iterable[list[str | Text]]:
    """Rows of single institutions, and of their mean."""
    models = [results["models"].get(key) or {} for key in ("alone", "alone_dp")]
    if not any(models):
        return
    entries = results["institutions"]
    shown = len(entries) if len(entries) <= MOST_INSTITUTIONS + 1 else MOST_INSTITUTIONS
    for entry in entries[:shown]:
        row: list[str | Text] = [Text(f"{entry['name']} alone"), f"{entry['units']:,}"]
        for model in models:
            own = ((model.get("per_institution") or {}).get(entry["name"]) or {}).get(
                "pooled"
            ) or {}
            row += [decimals(own.get(key)) for key in ("auroc", "average_precision")]
        yield row
    if shown < len(entries):
        yield [f"{len(entries) - shown} more alone: see the report"]
    yield ["mean of all alone", "", *_metrics(results, "alone"), *_metrics(results, "alone_dp")]


def _metrics(results: words.Results, model: str) -> list[str]:
    """AUROC and average precision of a model."""
    return [decimals(words.metric(results, model, k)) for k in ("auroc", "average_precision")]


def _legend() -> str:
    """The meaning of the two metrics."""
    return (
        "AUROC: how often a labelled one ranks above an unlabelled one (0.5 is guessing). "
        "Precision: labelled share among the highest ranked, averaged over list lengths."
    )


def _sentences(results: words.Results) -> Table:
    """Answer, reviews, privacy, files and checks, each under one word."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    answer = Text(words.answer(results), style="bold")
    for more in (words.same_privacy(results), words.spread(results)):
        answer.append(f" {more}" if more else "", style="not bold")
    said = (words.budget(results), words.lookalikes(results), words.spared(results))
    reviews = " ".join(filter(None, said))
    rows = {
        "World": Text(" ".join(words.world(results))),
        "Answer": answer,
        "Reviews": Text(reviews),
        "Groups": Text(words.fared(results)),
        "Asked": Text(words.asked(results)),
        "Privacy": Text(" ".join(filter(None, _promised(results)))),
        "Files": Text(_files(results)),
        "Check": Text(_check(results)),
        "People": Text("The software ranks; people decide. No ranking is evidence by itself."),
    }
    for head, text in rows.items():
        if text.plain.strip():
            table.add_row(head, text)
    return table


def _files(results: words.Results) -> str:
    """The paths of the files: the folder once, where they share one."""
    paths = [PurePath(str(path)) for path in (results.get("files") or {}).values()]
    if not paths:
        return ""
    folders = {str(path.parent) for path in paths}
    if len(folders) > 1:
        return ", ".join(str(path) for path in paths)
    return f"In {folders.pop()}: " + ", ".join(path.name for path in paths)


def _check(results: words.Results) -> str:
    """The command that checks the claim."""
    mu2 = short(results["privacy"].get("mu2_planned"))
    return (
        "`fieldfare study check STUDY.toml` prints what the plan costs. The report shows the "
        f"formula that turns mu^2 = {mu2} into epsilon. Same study, records and seed: same result"
        + (", up to the noise." if results["privacy"].get("noise") == "exact" else ".")
    )
