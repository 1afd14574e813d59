"""The facts that a person needs before approving a study, as one computed value.

Pure: the study, the policy, the roster and what the ledger says go in. No record is read.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from fieldfare.client.home.company import company_cautions
from fieldfare.client.home.policy import Policy, limits
from fieldfare.client.home.policy_objections import PolicyViolation, allows, objections
from fieldfare.client.ledger.budget import from_picomu2
from fieldfare.client.ledger.freeing import FreedBudget, enough_from, next_freed, worth
from fieldfare.client.records.settings import check_unit
from fieldfare.shared.errors import AccountingError, StudyError
from fieldfare.shared.features.features import columns_behind, computed_words, formula_of
from fieldfare.shared.harm_rules import HARM_RULES
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.comparison import Company
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import Plan, plan_for
from fieldfare.shared.protocol.prospects import cautions, moments_line, obstacles, start_line
from fieldfare.shared.protocol.roster import Member, Roster
from fieldfare.shared.study.asked_words import asked_lines
from fieldfare.shared.study.comparison import StudyComparison, compare
from fieldfare.shared.study.question_columns import InstitutionColumn
from fieldfare.shared.study.study import Study, check_deployable

_YEARLY: Final = "budget.yearly_epsilon"
_LIFETIME: Final = "budget.lifetime_epsilon"


@dataclass(frozen=True, kw_only=True)
class SpentBudget:
    """The ledger's sums, in picomu2.

    Attributes:
        yearly: by all studies in the last 365 days.
        lifetime: by all studies, ever.
        promised: what other approved studies may still spend.
        study: by the study in question.
        study_in_year: by it in the last 365 days.
        freed: what of `yearly` comes free again, and when; soonest first.
    """

    yearly: int
    lifetime: int
    promised: int
    study: SideCosts = field(default_factory=SideCosts)
    study_in_year: SideCosts = field(default_factory=SideCosts)
    freed: tuple[FreedBudget, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column that the study reads, by the study's name."""

    name: str
    role: str
    allowed: bool


@dataclass(frozen=True, kw_only=True)
class LeavingSum:
    """One kind of sum that leaves.

    Attributes:
        releases: that one run makes.
        spare: further ones, for attempts that fail.
        entries: numbers in each.
        size: bytes of each.
        most: how far one unit can move the sum, in L2 (with M).
        noise: standard deviation on each entry of the sum, in the same unit.
        allowed: by the policy.
        local_steps: steps taken inside for each release, all of them with all of the noise; what
            leaves is how far they moved the parameters. 0: the sum itself leaves.
    """

    kind: str
    releases: int
    spare: int
    entries: int
    size: int
    most: float
    noise: float
    allowed: bool
    local_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class StudyCost:
    """The study's cost against the remaining budget; epsilons are at the policy's delta.

    Attributes:
        epsilon, mu2: what the study may cost in all.
        spent_mu2: the part that is spent already.
        yearly_left, lifetime_left: as epsilon of the mu^2 that is left.
        share_of_year, share_of_lifetime: what the study may still cost, of what is left.
        spent, promised: of that, what it has cost already and what other approved studies may
            still cost, as epsilon.
        promised_mu2: what other approved studies may still spend of it.
        next_freed: what of the year comes free next and when, in words; may be empty.
        freed_mu2: what of the year comes free, by day (ISO 8601).
    """

    delta: float
    epsilon: float
    mu2: float
    spent: float
    promised: float
    next_freed: str
    freed_mu2: dict[str, float]
    spent_mu2: float
    yearly_left: float
    yearly_left_mu2: float
    lifetime_left: float
    lifetime_left_mu2: float
    share_of_year: float
    share_of_lifetime: float
    promised_mu2: float


@dataclass(frozen=True)
class RosterRow:
    """One member of the roster; `known`: its key is verified here, at the study's t."""

    id: str
    fingerprint: str
    own: bool
    known: bool = False


@dataclass(frozen=True, kw_only=True)
class Review:
    """Everything that is shown.

    Attributes:
        failed_masks: (participants, epsilon that would remain at the study's delta).
        computed: columns that the study computes from others of the row, one line each.
        moments: what they tell, where training's coordinates follow from them.
        start: the public start that it names, and what made it; nothing without one.
        questions: the study's questions, and those that may be asked later, one line each.
        records: how many rows count as zero and why; empty where records were not read.
        left_out_banks: whose customers' payments are in no column, so that the promise covers the
            person; empty: it covers own records.
        problems: why it cannot be approved as things stand; empty: it can.
        objections: those that are rules of the policy or limits of the budget, in figures.
        obstacles: why its runs could give nothing, though they cost.
        cautions: its weak points.
    """

    id: str
    name: str
    status: str
    purpose: str
    prohibited_uses: tuple[str, ...]
    columns: tuple[Column, ...]
    leaving: tuple[LeavingSum, ...]
    epsilon: float
    delta: float
    budget: StudyCost
    least: int
    tolerance: int
    multiplicity: int
    parties: tuple[RosterRow, ...]
    failed_masks: tuple[tuple[int, float], ...]
    comparison: StudyComparison | None
    problems: tuple[str, ...]
    objections: tuple[PolicyViolation, ...] = ()
    obstacles: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    moments: str = ""
    start: str = ""
    computed: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    left_out_banks: tuple[str, ...] = ()
    harm_rules: tuple[str, ...] = (*HARM_RULES[:4], HARM_RULES[6])  # those of an approval

    def to_json(self) -> str:
        """Return it as JSON text, ASCII: nothing in it moves a cursor."""
        return json.dumps(asdict(self), indent=2)


def review_study(
    study: Study,
    policy: Policy,
    roster: Roster,
    spent: SpentBudget,
    *,
    institution: str,
    unit: str | None,
    status: str,
    earlier: Study | None,
    approved: bool = False,
    company: Company | None = None,
) -> Review:
    """Return the facts that a person decides on.

    Args:
        study: the study to approve.
        policy: the institution's own.
        roster: the pinned one.
        spent: from the ledger.
        institution: this one's id.
        unit: of its population, from its own settings.
        status: in words, where the study stands here.
        earlier: the study of the same name that came before, which it is compared with, if any.
        approved: whether that one is approved here.
        company: whose keys are known here; None: nobody's.

    Raises:
        StudyError, AccountingError: the study has no plan.
    """
    plan, company = plan_for(study), company or Company()
    tolerance = study.privacy.collusion_tolerance
    unknown = company.unverified(roster, roster.ids, institution, tolerance)
    objected = all_objections(policy, plan, spent)
    problems = (*roster_problems(study, roster), *unit_problems(study, unit), *map(str, objected))
    return Review(
        id=study.id,
        name=study.name,
        status=status,
        purpose=study.purpose,
        prohibited_uses=study.prohibited_uses,
        columns=tuple(_columns(policy, study)),
        leaving=tuple(_leaving(policy, plan)),
        epsilon=study.privacy.epsilon,
        delta=study.privacy.delta,
        budget=_budget(policy, plan, spent),
        least=study.aggregation.minimum_institutions,
        tolerance=study.privacy.collusion_tolerance,
        multiplicity=study.privacy.multiplicity,
        parties=tuple(_row(m, institution, known=m.id not in unknown) for m in roster.members),
        failed_masks=tuple(_failed_masks(plan, roster)),
        comparison=None if earlier is None else replace(compare(earlier, study), approved=approved),
        problems=problems,
        objections=objected,
        obstacles=obstacles(plan, max(len(roster.members), study.aggregation.minimum_institutions)),
        cautions=(*company_cautions(company, roster, own=institution, plan=plan), *cautions(plan)),
        questions=asked_lines(study),
        moments=moments_line(plan),
        start=start_line(plan),
        computed=tuple(f"{name}: {words}" for name, words in study.computed),
        left_out_banks=study.records.left_out_banks,
    )


def _row(member: Member, own: str, *, known: bool) -> RosterRow:
    return RosterRow(member.id, fingerprint(bytes.fromhex(member.key)), member.id == own, known)


# -- what stands against it -----------------------------------------------------------------


def roster_problems(study: Study, roster: Roster) -> tuple[str, ...]:
    """Return the obstacles to a study under a roster, one line each."""
    found = []
    try:
        check_deployable(study)
    except StudyError as error:
        found.append(str(error))
    # docs/design.md, "One person, several units": one constant M
    if study.privacy.multiplicity != roster.multiplicity:
        found.append(
            f"privacy.multiplicity: expected the roster's {roster.multiplicity}, found "
            f"{study.privacy.multiplicity}"
        )
    least, members = study.aggregation.minimum_institutions, len(roster.members)
    if least > members:
        found.append(
            f"aggregation.minimum_institutions: expected at most the roster's {members} members, "
            f"found {least}"
        )
    return tuple(found)


def unit_problems(study: Study, unit: str | None) -> tuple[str, ...]:
    """Return why a study does not count the units of this population; empty: it does."""
    if study.records.unit is None:
        return ()  # `roster_problems` says so
    try:
        check_unit(study, unit)
    except StudyError as error:
        return (str(error),)
    return ()


def all_objections(
    policy: Policy, plan: Plan, spent: SpentBudget, *, units: int | None = None
) -> tuple[PolicyViolation, ...]:
    """Return every rule of the policy, and every limit of the budget, that a study breaks."""
    return (
        *objections(policy, plan.study, plan, units=units),
        *_left_objections(policy, plan, spent),
    )


def _left_objections(policy: Policy, plan: Plan, spent: SpentBudget) -> Iterator[PolicyViolation]:
    """Compare the study's remaining cost with the remaining budget of year and lifetime.

    The ledger would refuse the last releases anyway; a study that cannot finish is not begun.
    """
    granted, delta, (in_year, ever) = limits(policy), policy.budget.delta, _still(plan, spent)
    for rule, limit, used, needed in (
        (_YEARLY, granted.yearly_picomu2, spent.yearly, in_year),
        (_LIFETIME, granted.lifetime_picomu2, spent.lifetime, ever),
    ):
        left = max(limit - used, 0)
        if needed <= left:
            continue
        said = f"costs {worth(needed, delta):.3g}, {worth(left, delta):.3g} is left"
        if rule == _YEARLY:
            freed = [next_freed(spent.freed, delta), enough_from(needed, left, spent.freed)]
            parts = [f"{said} of {policy.budget.yearly_epsilon:g} in any 365 days", *freed]
        else:
            parts = [f"{said} of {policy.budget.lifetime_epsilon:g} ever, which is never freed"]
        yield PolicyViolation(
            rule,
            f"at most mu^2 {from_picomu2(left)!r} of {from_picomu2(limit)!r}",
            f"mu^2 {from_picomu2(needed)!r}",
            ", ".join(part for part in parts if part) + f" (epsilon at delta {delta:g})",
        )


def _still(plan: Plan, spent: SpentBudget) -> tuple[int, int]:
    """Return by how much the rest of the study may raise the total of the year, and of ever."""
    return plan.still(spent.study, spent.study_in_year), plan.still(spent.study)


# -- its parts ------------------------------------------------------------------------------


def _columns(policy: Policy, study: Study) -> Iterator[Column]:
    roles = [("unit", study.records.unit), ("label", study.records.label)]
    plain = [one for one in study.features if formula_of(one) is None]
    roles += [("feature", feature.name) for feature in plain]
    roles += [(study.rows.kind, study.rows.column)] if study.rows is not None else []
    # A fact about institutions is public: no record is read for it, and no policy lists it.
    asked = [c for c in study.columns if not isinstance(c, InstitutionColumn)]
    roles += [("question", one.name) for one in asked if formula_of(one) is None]
    computed = [one for one in (*study.features, *asked) if computed_words(one)]
    named = {name for _, name in roles}
    roles += [("in a formula", name) for name in columns_behind(computed) if name not in named]
    roles += [("fairness", group.column) for group in study.groups]
    for role, name in roles:
        if name is not None:
            yield Column(name, role, allows(policy, study, name))


def _leaving(policy: Policy, plan: Plan) -> Iterator[LeavingSum]:
    planned = (plan.terms(kind) for kind in ReleaseKind if kind is not ReleaseKind.QUERY)
    for terms in (*planned, plan.query, plan.allowance):
        kind = terms.kind
        if not terms.steps:
            continue
        yield LeavingSum(
            kind=kind.value,
            releases=terms.steps,
            spare=terms.spare,
            entries=terms.vectors.entries,
            size=terms.vectors.entries * terms.word_bits.value // 8,
            most=terms.sensitivity.l2(plan.relation) if terms.sensitivity else 0.0,
            noise=terms.sigma,
            allowed=terms.cost == 0 or kind in policy.releases.kinds,
            local_steps=terms.local_steps,
        )


def _budget(policy: Policy, plan: Plan, spent: SpentBudget) -> StudyCost:
    granted, delta, (in_year, ever) = limits(policy), policy.budget.delta, _still(plan, spent)
    yearly = max(granted.yearly_picomu2 - spent.yearly, 0)
    lifetime = max(granted.lifetime_picomu2 - spent.lifetime, 0)
    return StudyCost(
        delta=delta,
        epsilon=worth(plan.study_limit, delta),
        mu2=plan.mu2,
        spent=worth(spent.study.total, delta),
        promised=worth(spent.promised, delta),
        next_freed=next_freed(spent.freed, delta),
        freed_mu2={one.day.isoformat(): from_picomu2(one.picomu2) for one in spent.freed},
        spent_mu2=from_picomu2(spent.study.total),
        yearly_left=worth(yearly, delta),
        yearly_left_mu2=from_picomu2(yearly),
        lifetime_left=worth(lifetime, delta),
        lifetime_left_mu2=from_picomu2(lifetime),
        share_of_year=_share(in_year, yearly),
        share_of_lifetime=_share(ever, lifetime),
        promised_mu2=from_picomu2(spent.promised),
    )


def _share(needed: int, left: int) -> float:
    """Return a share of the remaining budget; 999 where nothing remains."""
    return needed / left if left else (0.0 if needed == 0 else 999.0)


def _failed_masks(plan: Plan, roster: Roster) -> Iterator[tuple[int, float]]:
    least = plan.study.aggregation.minimum_institutions
    for participants in sorted({least, len(roster.members)}):
        if participants < least:
            continue
        try:
            yield participants, plan.epsilon_if_masks_fail(participants)
        except AccountingError:
            continue
