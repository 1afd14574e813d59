"""A drafted study as TOML, with comments that say where its numbers come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import tomlkit
from tomlkit.items import Array, InlineTable, Table

from fieldfare.client.drafting.suggestions import NOTHING, Suggestions
from fieldfare.shared.features.derived import Formula
from fieldfare.shared.features.features import CategoricalFeature, Feature, NumericFeature, Scale
from fieldfare.shared.joining.settings import OF_TRAINING, Band
from fieldfare.shared.study.model_sections import DEFAULT_KIND
from fieldfare.shared.study.study import PROHIBITED_BY_DEFAULT
from fieldfare.shared.terminal.texts import one_line

ALERT_BUDGETS: Final = (0.005, 0.2)  # least and most
LINE: Final = 96


@dataclass(frozen=True)
class DraftLabel:
    """The label's column, which labels are positive, their share, and a comment on it."""

    column: str
    positive: str
    prevalence: float
    said: str


@dataclass(frozen=True)
class Draft:
    """Everything that the file says; `rows` is None where none was read."""

    name: str
    source: str
    rows: int | None
    units: int
    unit: str | None
    label: DraftLabel
    features: tuple[Feature, ...]
    left_out: tuple[tuple[str, str], ...]
    leaks: tuple[tuple[str, float], ...]
    missing: tuple[str, ...]
    epsilon: float
    delta: float
    kind: str = DEFAULT_KIND
    suggestions: Suggestions = NOTHING
    fitting: Band | None = None
    strength: float = 0.0


def two_digits(value: float) -> float:
    """Round a public number to two significant digits."""
    return float(f"{value:.2g}")


def leak_words(auroc: float) -> str:
    """Return how well a feature alone ranks the label, and the question that follows, in words."""
    return (
        f"predicts the label almost alone (AUROC {auroc:.3f} in the sample): is it made from the "
        "label, or known only after it? Then leave it out (--exclude)"
    )


def _number(value: float) -> int | float:
    """Write whole numbers without a fraction."""
    return int(value) if value % 1 == 0 and abs(value) < 2**53 else value


def _array(values: Sequence[Any]) -> Array:
    array = tomlkit.array()
    array.extend(values)
    return array.multiline(len(array.as_string()) > LINE)


def _comment(container: Any, text: str) -> None:
    for line in text.split("\n"):
        # Column names stand in comments; a control character would end the comment.
        container.add(tomlkit.comment(one_line(line)))


def _feature_table(feature: Feature, said: str = "") -> Table:
    table = tomlkit.table()
    if said:
        _comment(table, said)
    table["name"] = feature.name
    table["kind"] = feature.kind
    table["tag"] = feature.tag.value
    if isinstance(feature, CategoricalFeature):
        table["levels"] = _array(feature.levels)
        return table
    return _numeric_table(feature, table)


def _formula(formula: Formula) -> InlineTable:
    table = tomlkit.inline_table()
    table.update(formula.model_dump(exclude_defaults=False))
    return table


def _numeric_table(feature: NumericFeature, table: Table) -> Table:
    if feature.derived is not None:
        table["derived"] = _formula(feature.derived)
    table["lower"], table["upper"] = _number(feature.lower), _number(feature.upper)
    if feature.scale is not Scale.LINEAR:
        table["scale"] = feature.scale.value
    table["knots"] = _array([_number(knot) for knot in feature.knots])
    if feature.special:
        table["special"] = _array([_number(value) for value in feature.special])
    return table


def _records_table(draft: Draft) -> Table:
    table = tomlkit.table()
    if draft.unit is None:
        _comment(
            table,
            "No unit column: every row is one unit. This can be simulated and not deployed:\n"
            'institutions run a study only where it says unit = "COLUMN", of ids.',
        )
    else:
        table["unit"] = draft.unit
    table["label"] = draft.label.column
    table["positive"] = draft.label.positive
    table["missing"] = _array(draft.missing)
    table["units"] = draft.units
    table["units"].comment("public: all institutions together, hold-out included")
    table["prevalence"] = draft.label.prevalence
    table["prevalence"].comment("public: share of positive units")
    return table


def _head(draft: Draft, document: tomlkit.TOMLDocument) -> None:
    read = (
        f"Drafted from {draft.source} ({draft.rows} rows), which the draft declared public:\n"
        "bounds, knots, levels, prevalence and unit count below are read off it.\n"
        "Do not publish this file if that sample is private.\n"
    )
    given = (
        f"Drafted from the columns of {draft.source}, and from bounds and levels that were given;\n"
        "no row was read. Knots stand evenly between the bounds.\n"
    )
    _comment(
        document,
        (given if draft.rows is None else read)
        + 'Every feature is tagged "own": check that each reads its unit\'s own records alone.\n'
        "`fieldfare study check` prints what the plan costs.",
    )
    for name, _ in draft.leaks:
        _comment(document, f"LOOK at {name} below: it predicts the label almost alone.")
    document.add(tomlkit.nl())
    document["format"] = 1
    document["name"] = draft.name
    document["purpose"] = (
        f"Rank units by the chance that {draft.label.column} is {draft.label.positive}, "
        "for human review; people decide."
    )
    document["prohibited_uses"] = _array(PROHIBITED_BY_DEFAULT)


def toml_text(draft: Draft) -> str:
    """Write a draft as TOML; every column that was left out stands in a comment."""
    document = tomlkit.document()
    _head(draft, document)
    document["records"] = _records_table(draft)
    privacy = tomlkit.table()
    privacy["epsilon"], privacy["delta"] = draft.epsilon, draft.delta
    privacy["collusion_tolerance"] = 1
    privacy["collusion_tolerance"].comment("institutions that may pool what they know")
    _add_fitting(draft, document, privacy)
    document["privacy"] = privacy
    least, most = ALERT_BUDGETS
    evaluation = tomlkit.table()
    evaluation["alert_budget"] = two_digits(min(max(draft.label.prevalence, least), most))
    evaluation["alert_budget"].comment("share of units that people can review")
    document["evaluation"] = evaluation
    if draft.left_out:
        evaluation.add(tomlkit.nl())
        _comment(evaluation, "Columns left out, and why:")
        for column, reason in draft.left_out:
            _comment(evaluation, f"  {column}: {reason}")
    features = tomlkit.aot()
    leaks = dict(draft.leaks)
    for feature in draft.features:
        auroc = leaks.get(feature.name)
        said = "" if auroc is None else "LOOK: this " + leak_words(auroc)
        features.append(_feature_table(feature, said))
    document["features"] = features
    return tomlkit.dumps(document).rstrip("\n") + "\n" + _suggested(draft)


def _add_fitting(draft: Draft, document: tomlkit.TOMLDocument, privacy: Table) -> None:
    """Write the kind of model, and the settings that fit it where they are known."""
    if draft.kind != DEFAULT_KIND:
        document["model"] = {"kind": draft.kind}
    fitting = draft.fitting
    if fitting is None:
        return
    training = tomlkit.table()
    _comment(
        training,
        f"Geometry, steps, rate and clipping_norm fit kind {draft.kind} at a signal of strength "
        f"{draft.strength:.2g} (docs/guides/which-epsilon.md).\nWhere units, prevalence or epsilon "
        "change, `fieldfare study plan` says what fits then.",
    )
    # The rate and steps always; of the betas what differs from a study that says nothing.
    training.update(fitting.model_dump(include=set(OF_TRAINING), exclude_defaults=True))
    document["training"] = training
    if fitting.coordinates is not None:
        document["geometry"] = {"kind": fitting.coordinates}
    privacy["clipping_norm"] = _number(fitting.clipping_norm)


def _suggested(draft: Draft) -> str:
    """Return suggested columns as comments, which a person accepts one by one."""
    found, lines = draft.suggestions, list[str]()
    if found.computed:
        lines += [
            "",
            "Suggested: columns that are computed from others of the same row (docs/studies.md).",
            "Take the comment signs away where one means something; a policy has to list what it",
            "is computed from.",
        ]
    for one in found.computed:
        text = features_text([(one.why, one.feature)])
        lines += ["", *text.rstrip("\n").split("\n")]
    if found.by:
        levels = _array(found.levels).as_string().replace("\n", "")
        lines += [
            "",
            f"Where a number means something else for each {one_line(found.by)}, give it a curve",
            "for each level, below its bounds (docs/studies.md):",
            f"    by = {tomlkit.item(found.by).as_string()}",
            f"    levels = {levels}",
        ]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def features_text(features: Sequence[tuple[str, Feature]]) -> str:
    """Write features as `[[features]]` of a study, each under a comment."""
    document = tomlkit.document()
    tables = tomlkit.aot()
    for comment, feature in features:
        table = _feature_table(feature)
        table.comment(one_line(comment))
        tables.append(table)
    document["features"] = tables
    return tomlkit.dumps(document).rstrip("\n") + "\n"
