"""What a study breaks of an institution's policy, rule by rule."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fieldfare.client.home.company import masks_fail_limit
from fieldfare.client.home.policy import EVERY_COLUMN, Policy, study_limit
from fieldfare.client.ledger.budget import from_picomu2
from fieldfare.shared.advice import nearest
from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.features import columns_behind
from fieldfare.shared.harm_rules import is_protected
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.protocol.prospects import most_together, together_line
from fieldfare.shared.study.asked_columns import asked_columns
from fieldfare.shared.study.model_sections import named_class
from fieldfare.shared.study.study import Study
from fieldfare.shared.terminal.texts import listed

MOST_NAMED: Final = 10  # columns in one line of a refusal


@dataclass(frozen=True)
class PolicyViolation:
    """One rule that a study breaks.

    Attributes:
        rule: the key in policy.toml.
        limit: what the rule allows.
        asked: what the study asks for.
        said: the same in plain words, where limit and asked are figures for programs.
    """

    rule: str
    limit: str
    asked: str
    said: str = ""

    def __str__(self) -> str:
        """Return one line for the screen."""
        return f"{self.rule}: {self.said or f'expected {self.limit}, found {self.asked}'}"


def objections(
    policy: Policy, study: Study, plan: Plan, *, units: int | None
) -> tuple[PolicyViolation, ...]:
    """Return every rule that a study breaks; with units None, before its records are read.

    Raises:
        StudyError: the plan is another study's.
    """
    if plan.study != study:
        raise StudyError("plan: expected the plan of the study that is approved, found another")
    return tuple(
        objection
        for rule in (
            _budget_objections(policy, plan),
            _company_objections(policy, study),
            _masks_objections(policy, plan),
            _release_objections(policy, plan),
            _column_objections(policy, study),
            _unit_objections(policy, units),
            package_objections(policy, study),
        )
        for objection in rule
    )


def study_columns(study: Study) -> tuple[str, ...]:
    """Return every column that a study reads: its own, its model's and its questions'.

    Of a column that it computes those that the formula reads: a study that may not read one of
    them may not read it in a formula.
    """
    rows = study.rows.column if study.rows is not None else None
    own = (study.records.unit, study.records.label, *columns_behind(study.features), rows)
    names = dict.fromkeys((*own, *columns_behind(asked_columns(study))))
    return tuple(name for name in names if name is not None)


def allows(policy: Policy, study: Study, column: str) -> bool:
    """Tell whether a study may read a column; protected groups have to be listed by name."""
    allowed, groups = policy.records.columns, {group.column for group in study.groups}
    by_star = EVERY_COLUMN in allowed and not (column in groups and is_protected(column))
    return by_star or column in allowed


def _budget_objections(policy: Policy, plan: Plan) -> Iterator[PolicyViolation]:
    budget, limit = policy.budget, study_limit(policy)
    if plan.study_limit > limit:
        epsilon = epsilon_for(delta=budget.delta, mu2=plan.mu2, xi=XI_LIMIT)
        yield PolicyViolation(
            "budget.study_epsilon",
            f"at most mu^2 {from_picomu2(limit)!r}",
            f"mu^2 {plan.mu2!r}",
            f"the study costs epsilon {epsilon:.3g} at your delta {budget.delta:g}, and one study "
            f"may cost {budget.study_epsilon:g}",
        )


def _company_objections(policy: Policy, study: Study) -> Iterator[PolicyViolation]:
    rules, tolerance = policy.participants, study.privacy.collusion_tolerance
    honest = study.aggregation.minimum_institutions - tolerance
    if honest < rules.minimum_honest:
        yield PolicyViolation(
            "participants.minimum_honest", f"n - t of at least {rules.minimum_honest}", f"{honest}"
        )
    if tolerance < rules.minimum_tolerance:
        yield PolicyViolation(
            "participants.minimum_tolerance",
            f"t of at least {rules.minimum_tolerance}",
            f"{tolerance}",
        )


def _masks_objections(policy: Policy, plan: Plan) -> Iterator[PolicyViolation]:
    """Object to a study whose smallest sum would leave too much if every mask failed."""
    limit = masks_fail_limit(policy.participants.epsilon_if_masks_fail, plan)
    least = plan.study.aggregation.minimum_institutions
    if most_together(plan, limit) < least:
        yield PolicyViolation(
            "participants.epsilon_if_masks_fail",
            f"at most epsilon {limit:.3g} at delta {plan.study.privacy.delta:g}",
            f"{plan.epsilon_if_masks_fail(least):.3g} with {least} participants",
            f"if every mask failed, epsilon {plan.epsilon_if_masks_fail(least):.3g} would remain "
            f"with the fewest participants, {least}, and {limit:.3g} may: "
            + together_line(plan, limit),
        )


def _release_objections(policy: Policy, plan: Plan) -> Iterator[PolicyViolation]:
    planned = (kind for kind in ReleaseKind if plan.terms(kind).cost > 0)
    refused = [kind.value for kind in planned if kind not in policy.releases.kinds]
    if refused:
        allowed = ", ".join(kind.value for kind in policy.releases.kinds) or "none"
        yield PolicyViolation("releases.kinds", f"only {allowed}", ", ".join(refused))


def _column_objections(policy: Policy, study: Study) -> Iterator[PolicyViolation]:
    allowed = policy.records.columns
    refused = [name for name in study_columns(study) if not allows(policy, study, name)]
    if refused:
        near = nearest(refused[0], allowed)  # a slip of the pen in policy.toml
        yield PolicyViolation(
            "records.columns",
            f"only the {len(allowed)} columns listed{f' (such as {near})' if near else ''}",
            listed([*map(ascii, refused)], MOST_NAMED),  # the study's text moves no cursor
        )


def _unit_objections(policy: Policy, units: int | None) -> Iterator[PolicyViolation]:
    least = policy.records.minimum_units
    if units is not None and units < least:
        yield PolicyViolation("records.minimum_units", f"at least {least} units", f"{units}")


def package_objections(policy: Policy, study: Study) -> Iterator[PolicyViolation]:
    """Yield an objection where a study names a module that is not listed, by its class."""
    named = named_class(study.model)
    if named is not None and named not in policy.models.packages:
        yield PolicyViolation(
            "models.packages", ", ".join(policy.models.packages) or "no package", ascii(named)
        )
