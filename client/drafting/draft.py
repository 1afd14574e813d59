"""Draft a study from a public sample: kinds, bounds, knots, levels, prevalence, unit count.

Nothing is asked. Whoever runs this declares the sample public: a study is published, and
everything in it that was read off the sample with it. The draft says so.
"""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from fieldfare.client.drafting.choice import MOST_KNOTS, WEAK_KNOTS, Choice, choose, thin_knots
from fieldfare.client.drafting.profile import (
    Profile,
    Sample,
    count_different,
    predicts,
    profile_sample,
)
from fieldfare.client.drafting.study_toml import (
    Draft,
    DraftLabel,
    leak_words,
    toml_text,
    two_digits,
)
from fieldfare.client.drafting.suggestions import suggest
from fieldfare.client.records.encoding.values import LabelRule, comparable
from fieldfare.client.records.sources.source import SourceFile, Table, table_at
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.features.features import Feature, computed_words
from fieldfare.shared.joining.settings import fitting_settings
from fieldfare.shared.joining.strength import PublicNumbers
from fieldfare.shared.privacy.delta import usual_delta
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.model_sections import DEFAULT_KIND
from fieldfare.shared.study.study import DEFAULT_MISSING, MAX_FEATURES

UNIT_NAMES: Final = ("unit", "id", "unit_id", "customer_id", "account_id", "case_id")
INSTITUTION_NAME: Final = "institution"
DEFAULT_EPSILON: Final = 1.0
WEAK: Final = 18.0  # strength below which a feature has fewer knots (decision 0030)
LEAK_AUROC: Final = 0.95  # honest features rank far worse: .89 the best of AMLSim

Notify = Callable[[str], None]
NOTHING_GIVEN: Final[Mapping[str, Feature]] = MappingProxyType({})


def draft_study(
    sample: Path | Table | Sequence[Path | Table],
    *,
    label: str,
    positive: str | None = None,
    unit: str | None = None,
    exclude: Sequence[str] = (),
    keep: Sequence[str] = (),
    institution_column: str | None = None,
    epsilon: float = DEFAULT_EPSILON,
    delta: float | None = None,
    units: int | None = None,
    prevalence: float | None = None,
    name: str | None = None,
    kind: str = DEFAULT_KIND,
    given: Mapping[str, Feature] = NOTHING_GIVEN,
    notify: Notify = lambda _: None,
) -> str:
    """Return the TOML text of a study drafted from a public sample.

    Args:
        sample: one file of records, a table in memory, or several parts of one table.
        label: the label's column.
        positive: which labels are positive; by default 1 (or true), the rarer of two values,
            or `> 0` where labels are whole numbers from 0.
        unit: the unit's column; by default a usual name whose values all differ, else none.
        exclude: columns to leave out.
        keep: columns to keep, though they look like identifiers or names of people.
        institution_column: the column that names institutions, no feature either.
        epsilon: the study's epsilon.
        delta: the study's delta; by default `usual_delta` of its units.
        units: public count of units of all institutions; by default the sample's, two digits.
        prevalence: public share of positives; by default the sample's, two digits.
        name: the study's name; by default the file's.
        kind: of the model, "additive" or "mlp".
        given: features of columns that the sample does not decide.
        notify: takes each notice, one line: what was left out and why, what was assumed.

    Raises:
        RecordsError: the sample cannot be read, or no feature is left.
        UsageError: a named column is not there, or it is unclear which labels are positive.
        StudyError: epsilon, delta, units, prevalence or name out of range.
    """
    tables = _tables(sample)
    parts = [part for table in tables for part in table.parts]
    _named_columns(parts, label, [unit, institution_column, *exclude, *keep, *given])
    profiles = profile_sample(parts, label)
    chosen_label = _label(profiles, label, positive, prevalence)
    institution = institution_column or (
        INSTITUTION_NAME if INSTITUTION_NAME in profiles.columns else None
    )
    chosen_unit, unit_notice = _unit(parts, profiles, unit, institution)
    apart = dict.fromkeys(exclude, "excluded on request")
    if institution is not None:
        apart[institution] = "names the institution"
    columns = {c: one for c, one in profiles.columns.items() if c not in {label, chosen_unit}}
    choices = _choices(columns, apart, given, keep, MOST_KNOTS)
    public_units = units if units is not None else int(two_digits(profiles.rows))
    draft = Draft(
        name=name or _name(Path(tables[0].name)),
        source=", ".join(Path(table.name).name for table in tables),
        rows=profiles.rows,
        units=public_units,
        unit=chosen_unit,
        label=chosen_label,
        features=features_of(choices),
        left_out=tuple((c, choice.reason) for c, choice in choices.items() if choice.reason),
        leaks=_leaks(profiles, chosen_label, choices),
        missing=_missing(choices),
        epsilon=epsilon,
        delta=usual_delta(public_units) if delta is None else delta,
        kind=kind,
    )
    draft, most = fitted(draft), MOST_KNOTS
    if is_weak(draft):
        choices, most = _choices(columns, apart, given, keep, WEAK_KNOTS), WEAK_KNOTS
        draft = fitted(replace(draft, features=features_of(choices)))
    suggestions = suggest(parts, profiles, choices, tuple(apart), most)
    draft = replace(draft, suggestions=suggestions)
    _tell(draft, unit_notice, profiles, notify)
    return checked_text(draft)


def checked_text(draft: Draft) -> str:
    """Return a draft's TOML text.

    Raises:
        StudyError: it is no study: a number out of range, or a name that none may have.
    """
    text = toml_text(draft)
    parse_study(text)
    return text


def _tables(sample: Path | Table | Sequence[Path | Table]) -> list[Table]:
    samples = [sample] if isinstance(sample, Path | Table) else sample
    return [one if isinstance(one, Table) else table_at(one) for one in samples]


def fitted(draft: Draft) -> Draft:
    """Return a draft with the settings of training that fit the drafted study's public numbers."""
    numbers = PublicNumbers.of(plan_for(parse_study(toml_text(draft))))
    strength = numbers.strength
    fitting = fitting_settings(draft.kind, strength, numbers.entries)
    return replace(draft, fitting=fitting, strength=strength)


def is_weak(draft: Draft) -> bool:
    """Tell whether the signal of a drafted study is so weak that further knots are further noise.

    Decision 0073; of models of other kinds nobody measured it.
    """
    return draft.kind == DEFAULT_KIND and draft.strength < WEAK


def _choices(
    columns: Mapping[str, Profile],
    apart: Mapping[str, str],
    given: Mapping[str, Feature],
    keep: Sequence[str],
    most: int,
) -> dict[str, Choice]:
    """Decide about each column, with at most so many knots."""
    return {
        column: Choice(None, apart[column])
        if column in apart
        else Choice(given[column] if most == MOST_KNOTS else thin_knots(given[column]))
        if column in given
        else choose(profile, keep=column in keep, most=most)
        for column, profile in columns.items()
    }


def _named_columns(parts: Sequence[SourceFile], label: str, others: Sequence[str | None]) -> None:
    if not parts:
        raise UsageError("--records: expected at least one file, found none")
    with parts[0].open() as source:
        columns, whose = list(source.columns), source.name
    for name in [label, *others]:
        if name is not None and name not in columns:
            near = difflib.get_close_matches(name, columns, n=3)
            hint = f"; near: {', '.join(near)}" if near else "; see the file's header"
            raise UsageError(f"{whose}: expected column {name}, found none{hint}")


def _default_positive(labels: Counter[str]) -> tuple[str, str]:
    """Return the default `positive` and a notice about it."""
    values = {comparable(text) for text in labels}
    if values <= {0.0, 1.0}:
        return "1", ""
    if len(labels) == 2:  # noqa: PLR2004 -- two classes
        rarer = min(sorted(labels), key=lambda text: labels[text])
        return rarer, f'positive label: "{rarer}", the rarer of two; --positive says otherwise'
    if 0.0 in values and all(isinstance(v, float) and v >= 0 and v % 1 == 0 for v in values):
        return "> 0", 'positive label: "> 0"; --positive says otherwise'
    raise UsageError(
        f"expected --positive, because the label has {len(values)} different values; say for "
        'example --positive "VALUE" or --positive "> 0"'
    )


def _label(
    sample: Sample, column: str, positive: str | None, prevalence: float | None
) -> DraftLabel:
    absent = {None, *DEFAULT_MISSING}
    labels = Counter({str(t): n for t, n in sample.labels.items() if t not in absent})
    if not labels:
        raise UsageError(f"label {column}: expected labels, found none")
    rule_text, said = (positive, "") if positive is not None else _default_positive(labels)
    rule = LabelRule.parse(rule_text)
    results = {text: rule.label_of(text) for text in labels}
    if None in results.values():
        raise UsageError(
            f'--positive "{rule_text}": expected numbers under {column}, found other text; name '
            "the positive value instead"
        )
    positives = sum(count for text, count in labels.items() if results[text])
    if not 0 < positives < labels.total():
        found = "no" if not positives else "only"
        raise UsageError(
            f'--positive "{rule_text}": expected two classes under {column}, found {found} '
            "positive labels; choose another value or sample"
        )
    share = min(max(two_digits(positives / labels.total()), 1e-6), 0.99)
    return DraftLabel(column, rule_text, share if prevalence is None else prevalence, said)


def _unit(
    parts: Sequence[SourceFile], sample: Sample, unit: str | None, institution: str | None
) -> tuple[str | None, str]:
    """Return the unit's column, if any, and a notice about it."""
    by_name = {column.casefold(): column for column in reversed(sample.columns)}
    usual = [by_name[name] for name in UNIT_NAMES if name in by_name]
    for column in [unit] if unit is not None else usual:
        keys = [column, institution] if institution else [column]
        complete = sample.columns[column].missing == 0
        if complete and count_different(parts, keys) == sample.rows:
            return column, "" if unit else f"unit: column {column}, different in every row"
    if unit is not None:
        raise RecordsError(
            f"--unit {unit}: expected a different id in every row, found repeated or missing ids; "
            "bring the records to one row per unit first"
        )
    return None, (
        "unit: no column with different ids under a usual name: this draft can be simulated and "
        "not deployed; --unit COL names one, or add a column of ids to the records"
    )


def features_of(choices: dict[str, Choice]) -> tuple[Feature, ...]:
    """Return the features that were chosen.

    Raises:
        RecordsError: none, or more than a study may have.
    """
    features = tuple(c.feature for c in choices.values() if c.feature is not None)
    if not features:
        reasons = "".join(f"\nleft out: {c}: {choice.reason}" for c, choice in choices.items())
        raise RecordsError(
            f"expected at least one column that can be a feature, found none{reasons}"
        )
    if len(features) > MAX_FEATURES:
        raise RecordsError(
            f"expected at most {MAX_FEATURES} features, found {len(features)}; leave columns out "
            "with --exclude"
        )
    return features


def _leaks(
    sample: Sample, label: DraftLabel, choices: dict[str, Choice]
) -> tuple[tuple[str, float], ...]:
    """Return the features that predict the label almost alone, each with its AUROC."""
    rule, absent = LabelRule.parse(label.positive), {None, *DEFAULT_MISSING}
    codes = {
        text: -1 if text is None or text in absent else int(bool(rule.label_of(text)))
        for text in sample.labels
    }
    labels = np.array([codes[text] for text in sample.row_labels], dtype=np.int8)
    found = (
        (column, predicts(sample.columns[column], labels))
        for column, choice in choices.items()
        if choice.feature is not None
    )
    return tuple((column, auroc) for column, auroc in found if auroc and auroc >= LEAK_AUROC)


def _missing(choices: dict[str, Choice]) -> tuple[str, ...]:
    tokens = dict.fromkeys(DEFAULT_MISSING)
    for choice in choices.values():
        tokens.update(dict.fromkeys(choice.odd_tokens))
    return tuple(tokens)


def _name(path: Path) -> str:
    stem = path.name.split(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:64] or "study"


def _tell(draft: Draft, unit_notice: str, sample: Sample, notify: Notify) -> None:
    notify(
        f"{draft.source}: declared public by this command; bounds, knots, levels, prevalence and "
        "unit count in the study are read off it"
    )
    notify('features: all tagged "own"; check that each reads its unit\'s own records alone')
    unlabelled = sum(sample.labels[token] for token in (None, *DEFAULT_MISSING))
    if unlabelled:
        notify(
            f"label: {unlabelled} rows without one: each counts as zero, so label or remove them"
        )
    for notice in (draft.label.said, unit_notice):
        if notice:
            notify(notice)
    for token in draft.missing[len(DEFAULT_MISSING) :]:
        notify(f'missing: "{token}" counts as missing, for it stands among numbers')
    for column, reason in draft.left_out:
        notify(f"left out: {column}: {reason}")
    for one in draft.suggestions.computed:
        said = computed_words(one.feature)
        notify(f"suggested, as a comment: {one.feature.name}: {said}")
    for column, auroc in draft.leaks:
        notify(f"LOOK: {column}: {leak_words(auroc)}")
