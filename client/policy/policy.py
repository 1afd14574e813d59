"""`policy.toml`: the limits that an institution sets for every study.

A study is measured against it once, when a person approves it; its budget is also the
ledger's limit at every release. Nothing here is looked at again per release that depends
on records (docs/design.md, "Refusals").
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from fieldfare.client.custodian.party import masks_fail_limit
from fieldfare.client.home.layout import Home
from fieldfare.client.ledger.budget import PICOMU2_PER_MU2, Limits, from_picomu2
from fieldfare.client.records.encoding.asked import asked_columns
from fieldfare.shared.advice import nearest
from fieldfare.shared.errors import KeysError, StudyError
from fieldfare.shared.features.features import Name, columns_behind
from fieldfare.shared.harm_rules import is_protected
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import epsilon_for, mu2_for
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.protocol.prospects import most_together, together_line
from fieldfare.shared.protocol.roster import Hex32
from fieldfare.shared.study.allowed_packages import ALLOWED_PATTERN
from fieldfare.shared.study.model_sections import named_class
from fieldfare.shared.study.study import Study
from fieldfare.shared.study.toml import Section, load_toml
from fieldfare.shared.system.private_files import read_public
from fieldfare.shared.terminal.texts import listed

POLICY_FORMAT: Final = 1
EVERY_COLUMN: Final = "*"  # stands alone and is never a default
MAX_COLUMNS: Final = 10_000
MAX_PACKAGES: Final = 100
MOST_NAMED: Final = 10  # columns in one line of a refusal

# Far above 2 xi, what discrete noise adds to epsilon, and far below any use.
Epsilon = Annotated[float, Field(ge=1e-6, le=100)]


class BudgetSection(Section):
    """The limits of the population's budget, as epsilon at one delta.

    Attributes:
        delta: at which all three hold.
        study_epsilon: most that one study may plan, all its runs and spare releases together.
        yearly_epsilon: most that all studies together may spend in any 365 days.
        lifetime_epsilon: most that all studies together may ever spend.
    """

    delta: float = Field(ge=1e-30, lt=0.1)
    study_epsilon: Epsilon
    yearly_epsilon: Epsilon
    lifetime_epsilon: Epsilon

    @field_validator("yearly_epsilon", "lifetime_epsilon")
    @classmethod
    def _not_below_the_part(cls, whole: float, info: ValidationInfo) -> float:
        name = "study_epsilon" if info.field_name == "yearly_epsilon" else "yearly_epsilon"
        part = info.data.get(name)
        if part is not None and whole < part:
            raise ValueError(f"expected at least {name} = {part:g}, found {whole:g}")
        return whole


class ParticipantsSection(Section):
    """In whose company a sum may leave.

    Attributes:
        minimum_honest: least n - t: participants of the smallest sum that do not collude.
        minimum_tolerance: least t: colluders that a study must withstand, beside those whose keys
            were not compared here.
        epsilon_if_masks_fail: most that may remain, at the study's delta, if every mask failed;
            None: 4 times the study's epsilon.
    """

    minimum_honest: int = Field(default=2, ge=2, le=10_000)  # docs/design.md, "Noise": n - t >= 2
    minimum_tolerance: int = Field(default=1, ge=1, le=10_000)
    epsilon_if_masks_fail: Epsilon | None = None


class ReleasesSection(Section):
    """The kinds of release that are allowed; a rehearsal sums no records and is always allowed."""

    kinds: tuple[Annotated[ReleaseKind, Field(strict=False)], ...] = Field(strict=False)


class PolicyRecords(Section):
    """The columns that a study may read.

    Attributes:
        minimum_units: fewest units of this institution at which it takes part at all.
        columns: columns by the study's names; `*` alone is every column.
    """

    minimum_units: int = Field(ge=1, le=2**40)
    columns: tuple[Name, ...] = Field(max_length=MAX_COLUMNS, strict=False)

    @field_validator("columns")
    @classmethod
    def _listed_or_every(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if EVERY_COLUMN in columns and len(columns) > 1:
            raise ValueError(f'expected "{EVERY_COLUMN}" alone or column names, found both')
        if len(set(columns)) != len(columns):
            raise ValueError("expected different names, found one twice")
        return columns


class ModelsSection(Section):
    """Whose torch modules a study may name; code is never shipped.

    Attributes:
        packages: one class each, as `name==version:import.path:Class`, read by people and installed
            here by the institution itself; nothing else of the package may be named.
    """

    packages: tuple[str, ...] = Field(default=(), max_length=MAX_PACKAGES, strict=False)

    @field_validator("packages")
    @classmethod
    def _one_class_each(cls, packages: tuple[str, ...]) -> tuple[str, ...]:
        for package in packages:
            if not re.fullmatch(ALLOWED_PATTERN, package):
                raise ValueError(
                    "expected NAME==VERSION:IMPORT.PATH:CLASS, found "
                    f"{package[:100]!a}: list the one class that you read, not its package"
                )
        return packages


class ApprovalsSection(Section):
    """Who approves.

    Attributes:
        by_two: a study runs only when two persons said yes to it.
    """

    by_two: bool = False


class Policy(Section):
    """The whole file.

    Attributes:
        coordinator: Ed25519 public key, hex, compared out of band; empty: none pinned yet.
        auto_approve: what earlier files say; no program approves (docs/adr/0009).
    """

    format: Literal[1] = POLICY_FORMAT
    coordinator: Hex32 | Literal[""] = ""
    auto_approve: bool = False
    budget: BudgetSection
    participants: ParticipantsSection = ParticipantsSection()
    releases: ReleasesSection
    records: PolicyRecords
    models: ModelsSection = ModelsSection()
    approvals: ApprovalsSection = ApprovalsSection()

    @field_validator("auto_approve")
    @classmethod
    def _people_decide(cls, value: bool) -> bool:
        if value:
            raise ValueError(
                "expected false, or no such line, found true: approvals that a program gave told "
                "the coordinator, without noise, what your records hold; review studies and "
                "approve them yourself"
            )
        return value


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


def load_policy(home: Home) -> Policy:
    """Read `policy.toml`.

    Raises:
        StudyError: unreadable, or lists every mistake, one line each.
    """
    return load_toml(home.policy, Policy)


def pinned_coordinator(home: Home, policy: Policy) -> str:
    """Return the coordinator's key, hex: from policy.toml, from coordinator.pub, or both alike.

    Raises:
        KeysError: none pinned, the two differ, or coordinator.pub holds no key.
    """
    kept = ""
    if home.coordinator_key.exists():
        kept = read_public(home.coordinator_key).strip().decode("ascii", errors="replace")
    found = sorted({key for key in (policy.coordinator, kept) if key})
    if not found:
        raise KeysError(
            f"{home.policy}: expected the coordinator's key, found none: compare the fingerprint "
            "with the coordinator, then fieldfare institution join INVITATION; or write its 64 "
            'hexadecimal digits there, coordinator = "..."'
        )
    if len(found) > 1:
        raise KeysError(
            f"{home.coordinator_key}: expected the key that {home.policy} pins, found another: ask "
            "the coordinator out of band which is theirs, and correct the other"
        )
    return check_public_key(found[0], str(home.coordinator_key))


def check_public_key(text: str, name: str) -> str:
    """Return `text` where it may be a public key in hex.

    Raises:
        KeysError: not 64 lower-case hexadecimal digits; `name` begins the message.
    """
    if len(text) != 64 or text.strip("0123456789abcdef"):  # noqa: PLR2004 -- RFC 8032: 32 bytes
        raise KeysError(
            f"{name}: expected a public key of 64 lower-case hexadecimal digits, found something "
            "else"
        )
    return text


def limits(policy: Policy) -> Limits:
    """Return the ledger's limits.

    *Formal Guarantees.* While the ledger admits debits only within them, all releases of any
    365 days, and all ever, satisfy (epsilon, delta) of the policy for adding or removing one
    unit: mu^2 adds up over releases and studies, also when each is chosen after seeing the last
    (Dong-Roth-Su 2019, Cor. 3.3; Smith-Thakurta 2022). Limits are rounded down. What discrete
    noise adds is taken as one study's allowance, xi < 1e-15; k studies add at most
    2 k 1e-15 to epsilon.

    *Edge cases.*
        | budget                                | result                        |
        |---------------------------------------|-------------------------------|
        | too small for one unit of 1e-12 mu^2  | a limit of 0: nothing passes  |
        | epsilon 100 at delta just below 0.1   | 1.7e14, within the ledger     |

    Source: Balle-Wang 2018, Theorem 8, through `mu2_for`.
    """
    budget = policy.budget
    return Limits(
        yearly_picomu2=_picomu2(budget.yearly_epsilon, budget.delta),
        lifetime_picomu2=_picomu2(budget.lifetime_epsilon, budget.delta),
    )


def study_limit(policy: Policy) -> int:
    """Return the most that one study may plan, in picomu2, rounded down."""
    return _picomu2(policy.budget.study_epsilon, policy.budget.delta)


def _picomu2(epsilon: float, delta: float) -> int:
    # The same xi as in `plan_for`, so that a study that promises the limit fits into it.
    mu2 = mu2_for(epsilon=epsilon, delta=delta, xi=XI_LIMIT)
    return math.floor(Fraction(mu2) * PICOMU2_PER_MU2)


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
