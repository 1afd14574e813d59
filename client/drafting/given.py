"""Draft a study from public knowledge: names of columns, bounds and levels; no row is read.

Knots stand evenly between the bounds, whatever the records hold.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import ValidationError

from fieldfare.client.drafting.choice import UNSEEN, Choice, even_numeric, may_name, thin_knots
from fieldfare.client.drafting.draft import (
    DEFAULT_EPSILON,
    INSTITUTION_NAME,
    Notify,
    checked_text,
    features_of,
    fitted,
    is_weak,
)
from fieldfare.client.drafting.study_toml import Draft, DraftLabel
from fieldfare.client.records.sources.source import Table
from fieldfare.client.records.sources.sql import ColumnType
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.features import CategoricalFeature, Feature, Scale
from fieldfare.shared.harm_rules import age_remedy, is_protected
from fieldfare.shared.privacy.delta import usual_delta
from fieldfare.shared.study.model_sections import DEFAULT_KIND
from fieldfare.shared.study.study import DEFAULT_MISSING
from fieldfare.shared.study.toml import problem_lines

_PROTECTED: Final = "a protected attribute (harm rule 4): for fairness audit only"
_UNGIVEN: Final = "no bounds and no levels were given"


@dataclass(frozen=True)
class PublicKnowledge:
    """What is known of columns without their records.

    Attributes:
        bounds: lowest and highest value of columns of numbers.
        levels: values of columns of categories; all others are one level, `other`.
        log: columns of `bounds` whose knots are even on a logarithmic scale.
    """

    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    log: Collection[str] = ()

    def features(self) -> dict[str, Feature]:
        """Return the features that follow, by column.

        Raises:
            UsageError: bounds or levels that no feature can have, or a protected attribute.
        """
        if both := sorted({*self.bounds} & {*self.levels}):
            raise UsageError(f"{both[0]}: expected bounds or levels, found both; give one of them")
        if unbounded := sorted({*self.log} - {*self.bounds}):
            raise UsageError(f"log: expected columns with bounds, found {unbounded[0]} without")
        for name in (*self.bounds, *self.levels):
            if is_protected(name):
                found = _PROTECTED + age_remedy(name)
                raise UsageError(f"{name}: expected no input, found {found}; leave it out")
        return {name: self._feature(name) for name in (*self.bounds, *self.levels)}

    def _feature(self, name: str) -> Feature:
        try:
            if name in self.levels:
                if isinstance(self.levels[name], str):  # its letters would be levels
                    raise UsageError(f"{name}: expected levels as a list of texts, found one text")
                levels = tuple(map(str, self.levels[name]))
                return CategoricalFeature(kind="categorical", name=name, levels=levels)
            lower, upper = map(float, self.bounds[name])
            scale = Scale.LOG1P if name in self.log else Scale.LINEAR
            return even_numeric(name, lower, upper, scale)
        except ValidationError as error:
            raise UsageError(f"{name}: {'; '.join(problem_lines(error))}") from None
        except (TypeError, ValueError):
            raise UsageError(
                f"{name}: expected bounds as two numbers, the lower first (from 0 on where it "
                "stands in log), found others"
            ) from None


def draft_given(
    table: Table,
    known: PublicKnowledge,
    *,
    label: str,
    units: int,
    prevalence: float,
    positive: str | None = None,
    unit: str | None = None,
    exclude: Sequence[str] = (),
    institution_column: str | None = None,
    epsilon: float = DEFAULT_EPSILON,
    delta: float | None = None,
    name: str = "study",
    kind: str = DEFAULT_KIND,
    notify: Notify = lambda _: None,
) -> str:
    """Return the TOML text of a study drafted from columns and public knowledge of them.

    Args:
        table: whose columns are looked at, never its rows.
        known: bounds and levels; a column of truth values needs neither.
        label: the label's column.
        units: public count of units of all institutions.
        prevalence: public share of positives.
        positive: which labels are positive; None: 1, where labels are no texts.
        unit: the unit's column.
        exclude: columns to leave out.
        institution_column: the column that names institutions, no feature either.
        epsilon: the study's epsilon.
        delta: the study's delta; by default `usual_delta` of its units.
        name: the study's name.
        kind: of the model, "additive" or "mlp".
        notify: takes each notice, one line: what was left out and why, what was assumed.

    Raises:
        UsageError: a named column is not there, bounds that no feature can have, or labels are
            texts and nothing says which are positive.
        RecordsError: no column can be a feature.
        StudyError: epsilon, delta, units, prevalence or name out of range.
    """
    with table.parts[0].open() as source:
        columns, whose = source.columns, source.name
    named = [label, unit, institution_column, *exclude, *known.bounds, *known.levels]
    _check_there(whose, columns, [one for one in named if one is not None])
    if positive is None and columns[label].is_text:
        raise UsageError(
            f"expected positive, because labels under {label} are texts (as all of a CSV file "
            'are), found none: say which is positive, such as positive="1", for no row is read to '
            "find out"
        )
    institution = institution_column or (INSTITUTION_NAME if INSTITUTION_NAME in columns else None)
    choices = _choices(columns, known.features(), {label, unit}, {*exclude}, institution)
    draft = Draft(
        name=name,
        source=whose,
        rows=None,
        units=units,
        unit=unit,
        label=DraftLabel(label, positive or "1", prevalence, ""),
        features=features_of(choices),
        left_out=tuple((c, choice.reason) for c, choice in choices.items() if choice.reason),
        leaks=(),
        missing=DEFAULT_MISSING,
        epsilon=epsilon,
        delta=usual_delta(units) if delta is None else delta,
        kind=kind,
    )
    draft = fitted(draft)
    if is_weak(draft):
        draft = fitted(replace(draft, features=tuple(map(thin_knots, draft.features))))
    text = checked_text(draft)
    for notice in _notices(draft):
        notify(notice)
    return text


def _check_there(whose: str, columns: Collection[str], named: Sequence[str]) -> None:
    for name in named:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=3)
            hint = f"; near: {', '.join(near)}" if near else ""
            raise UsageError(f"{whose}: expected column {name}, found none{hint}")


def _choices(
    columns: Mapping[str, ColumnType],
    given: Mapping[str, Feature],
    kept: Collection[str | None],
    excluded: Collection[str],
    institution: str | None,
) -> dict[str, Choice]:
    found = {}
    for name, kind in columns.items():
        if name in kept:
            continue
        if name == institution:
            found[name] = Choice(None, "names the institution")
        elif name in excluded:
            found[name] = Choice(None, "excluded on request")
        elif name in given:
            found[name] = Choice(given[name])
        elif is_protected(name):
            found[name] = Choice(None, _PROTECTED + age_remedy(name))
        elif not may_name(name):
            found[name] = Choice(None, UNSEEN)
        elif kind is ColumnType.BOOLEAN:
            found[name] = Choice(even_numeric(name, 0, 1, Scale.LINEAR))
        else:
            found[name] = Choice(None, _UNGIVEN)
    return found


def _notices(draft: Draft) -> Iterator[str]:
    yield (
        f"{draft.source}: no row was read; bounds and levels are as given, knots stand evenly "
        "between the bounds"
    )
    yield 'features: all tagged "own"; check that each reads its unit\'s own records alone'
    yield (
        f"assumed public: {draft.units:,} units in all, {draft.label.prevalence:g} of them "
        f'positive, where {draft.label.column} is "{draft.label.positive}"'
    )
    if draft.unit is None:
        yield "unit: every row is one; this draft can be simulated and not deployed"
    for column, reason in draft.left_out:
        yield f"left out: {column}: {reason}"
