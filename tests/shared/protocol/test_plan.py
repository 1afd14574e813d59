import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.runs.started import STARTED_FEATURES, small_start, starting_at

from fieldfare.shared.errors import AccountingError, StudyError
from fieldfare.shared.privacy.accountant import mu_squared
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT, release_xi
from fieldfare.shared.privacy.gaussian import epsilon_for, mu2_for
from fieldfare.shared.privacy.sensitivity import NeighbouringRelation
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import (
    PICOMU2,
    RANGE_SIGMAS,
    RANGE_UNITS,
    SIDES,
    Plan,
    ReleaseTerms,
    carries_last_sum,
    evaluation_vectors,
    is_recomputed,
    plan_for,
)
from fieldfare.shared.ring import WordBits
from fieldfare.shared.study.study import Study


def study(**sections: Any) -> Study:
    content: dict[str, Any] = {
        "name": "s",
        "purpose": "p",
        "records": {"label": "y", "units": 10_000, "prevalence": 0.05},
        "features": [
            {"kind": "numeric", "name": "amount", "lower": 0, "upper": 7},
            {"kind": "categorical", "name": "channel", "levels": ["a", "b"]},
        ],
        "training": {"steps": 50},
        "privacy": {"epsilon": 1.0, "delta": 1e-5, "clipping_norm": 1.0},
    }
    for name, changes in sections.items():
        old = content.get(name)
        content[name] = {**old, **changes} if isinstance(old, dict) else changes
    return Study.model_validate(content)


def debits(plan: Plan) -> Fraction:
    """Every debit that the plan allows, added up one by one, of whoever loses most."""

    def cost(*kinds: ReleaseTerms) -> Fraction:
        each = (Fraction(one.cost, PICOMU2) * (one.steps + one.spare) for one in kinds)
        return sum(each, Fraction(0))

    of_training = cost(plan.rehearsal, plan.moments, plan.training, plan.guard)
    return max(of_training, cost(plan.evaluation, plan.fairness))


studies = st.builds(
    lambda epsilon, delta, norm, steps, spare, again, multiplicity, units, bins: study(
        privacy={
            "epsilon": epsilon, "delta": delta, "clipping_norm": norm / 1024,
            "spare_releases": spare, "multiplicity": multiplicity,
        },
        training={"steps": steps},
        evaluation={"spare_releases": again, "score_bins": bins},
        records={"units": units},
    ),
    st.floats(1e-8, 100),
    st.floats(1e-30, 0.0999),
    st.integers(1, 8 * 1024),
    st.integers(1, 10_000),
    st.one_of(st.none(), st.integers(0, 10_000)),
    st.integers(0, 10),
    st.integers(1, 64),
    st.integers(1, 2**40),
    st.integers(4, 512),
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(studies)
def test_all_debits_together_keep_the_promise(plan_of: Study) -> None:
    try:
        plan = plan_for(plan_of)
    except StudyError:
        return
    privacy = plan_of.privacy
    limit = mu2_for(epsilon=privacy.epsilon, delta=privacy.delta, xi=XI_LIMIT)
    assert debits(plan) <= Fraction(limit)
    assert debits(plan) == Fraction(plan.study_limit, PICOMU2)
    assert plan.epsilon() <= privacy.epsilon
    least = plan_of.aggregation.minimum_institutions
    plan.check_noise(least)
    assert plan.epsilon_if_masks_fail(least) > plan.epsilon()
    for terms in (plan.training, plan.evaluation):
        assert terms.sensitivity is not None
        # A debit is never below what the release costs.
        assert mu_squared(terms.sensitivity, sigma=terms.sigma) <= terms.mu2
        assert terms.largest_entry / terms.gamma < 2.0 ** (terms.word_bits.value - 1)
        units = terms.largest_entry - RANGE_SIGMAS * math.sqrt(3 / 2) * terms.sigma
        assert units > 0 or terms.sigma > 1e6 * RANGE_UNITS * plan_of.holdout_units


@settings(deadline=None, max_examples=150)
@given(
    st.floats(min_value=0, max_value=100, exclude_min=True),
    st.floats(1e-30, 0.0999),
    st.integers(0, 10_000),
)
def test_a_promise_that_cannot_be_planned_is_a_mistake_in_the_study(
    epsilon: float, delta: float, spare: int
) -> None:
    wanted = study(privacy={"epsilon": epsilon, "delta": delta, "spare_releases": spare})
    try:
        plan = plan_for(wanted)
    except StudyError as error:  # and no other error
        (line,) = error.problems
        if not line.startswith("privacy.epsilon: "):
            raise
        return
    assert plan.training.cost >= 1
    assert plan.evaluation.cost >= 1


@pytest.mark.parametrize("delta", [1e-5, 1e-20, 1e-30])
@pytest.mark.parametrize("epsilon", [5e-324, 1e-300, 1e-12, 1e-9])
def test_a_tiny_epsilon_is_refused_with_its_key(epsilon: float, delta: float) -> None:
    if delta == 1e-5:  # delta alone buys a little: many releases cannot share it
        wanted = study(
            privacy={"epsilon": epsilon, "delta": delta},
            training={"steps": 10_000},
        )
    else:
        wanted = study(privacy={"epsilon": epsilon, "delta": delta})
    with pytest.raises(StudyError, match=r"privacy\.epsilon: .*: raise epsilon or"):
        plan_for(wanted)


def test_sums_that_no_ring_holds_are_a_mistake_in_the_study() -> None:
    with pytest.raises(StudyError, match=r"records\.units: "):
        plan_for(study(records={"units": 2**40}, privacy={"clipping_norm": 8.0}))


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0.1, 1e-6), (1.0, 1e-5), (1.0, 1e-3), (3.0, 1e-9), (8.0, 1e-5)]
)
def test_the_planned_epsilon_against_dp_accounting(epsilon: float, delta: float) -> None:
    # The releases as an independent accountant composes them, from sigma and C alone.
    plan = plan_for(study(privacy={"epsilon": epsilon, "delta": delta}))
    training = pld.from_gaussian_mechanism(
        plan.training.sigma, value_discretization_interval=1e-4
    ).self_compose(plan.training.steps + plan.training.spare)
    evaluation = pld.from_gaussian_mechanism(
        plan.evaluation.sigma, value_discretization_interval=1e-4
    ).self_compose(1 + plan.evaluation.spare)
    assert plan.epsilon() == pytest.approx(epsilon, rel=1e-3)
    # Of a unit of either side. The accountant is pessimistic by its discretisation: 1e-4 each.
    for side in (training, evaluation):
        assert side.get_epsilon_for_delta(delta) == pytest.approx(epsilon, rel=1e-3, abs=1e-4)


def test_every_kind_of_release_says_whose_units_it_reads() -> None:
    assert set(SIDES) == set(ReleaseKind)


def test_what_a_study_plans_is_what_all_units_lose_and_the_larger_side() -> None:
    asking = study(queries=[{"name": "n", "kind": "count"}], privacy={"query_share": 0.3})
    plan, total = plan_for(asking), mu2_for(epsilon=1.0, delta=1e-5, xi=XI_LIMIT)
    assert plan.planned.all == pytest.approx(0.3 * total * PICOMU2, rel=1e-6)
    assert plan.planned.training == pytest.approx(0.7 * total * PICOMU2, rel=1e-6)
    assert plan.planned.holdout == pytest.approx(0.7 * total * PICOMU2, rel=1e-6)
    assert plan.study_limit == plan.planned.total <= total * PICOMU2
    once = plan.run_costs
    assert once.training == plan.training.cost * 50
    assert once.holdout == plan.evaluation.cost
    # What is left of the study, of all that it spent and of what a window still holds of it.
    spent = SideCosts(all=once.all, training=plan.planned.training)
    assert plan.still(spent) == plan.study_limit - spent.total
    assert plan.still(spent, SideCosts()) == plan.planned.all - once.all + plan.planned.holdout


def test_training_and_hold_out_have_all_that_questions_leave() -> None:
    plan = plan_for(study())
    total = mu2_for(epsilon=1.0, delta=1e-5, xi=XI_LIMIT)
    assert (plan.training.steps, plan.training.spare) == (50, 2)
    assert (plan.evaluation.steps, plan.evaluation.spare) == (1, 1)
    assert plan.training.mu2 * 52 == pytest.approx(total, rel=1e-6)
    assert plan.evaluation.mu2 * 2 == pytest.approx(total, rel=1e-6)
    assert plan.mu2 == pytest.approx(total, rel=1e-6)
    assert plan.training.sigma == pytest.approx(1 / math.sqrt(plan.training.mu2), rel=1e-9)


def test_spares_are_paid_for_when_they_are_planned() -> None:
    none = plan_for(study(privacy={"spare_releases": 0}))
    many = plan_for(study(privacy={"spare_releases": 50}))
    assert many.training.cost * 2 == pytest.approx(none.training.cost, rel=1e-6)
    assert many.training.sigma == pytest.approx(math.sqrt(2) * none.training.sigma, rel=1e-6)
    assert many.evaluation == none.evaluation


@pytest.mark.parametrize("multiplicity", [2, 3, 64])
def test_one_person_at_m_institutions_makes_noise_m_times_larger(multiplicity: int) -> None:
    one, many = plan_for(study()), plan_for(study(privacy={"multiplicity": multiplicity}))
    for kind in (ReleaseKind.TRAINING, ReleaseKind.EVALUATION):
        before, after = one.terms(kind), many.terms(kind)
        assert before.sensitivity is not None
        assert after.sensitivity is not None
        assert after.sensitivity.l2(many.relation) == (
            multiplicity * before.sensitivity.l2(one.relation)
        )
        assert after.sigma == pytest.approx(multiplicity * before.sigma, rel=1e-9)
        assert after.cost == before.cost
    assert many.epsilon() == one.epsilon()


EVERY_KIND: dict[str, dict[str, Any]] = {
    "asked": {
        "queries": [{"name": "q", "kind": "group_by", "by": ["channel"]}],
        "evaluation": {"groups": [{"column": "age", "levels": ["a"]}]},
    },
    "later": {"allowance": {"kinds": ["count"], "columns": ["channel"]}},
    "centred": {"geometry": {"kind": "centred"}},
    "whitened": {"geometry": {"kind": "whitened"}},
    "start": {"features": list(STARTED_FEATURES), "training": starting_at(small_start())},
    "local": {"training": {"mode": "local", "steps": 5}},
}


@pytest.mark.parametrize("sections", EVERY_KIND.values(), ids=list(EVERY_KIND))
def test_a_person_at_m_institutions_is_in_the_noise_of_every_kind(sections: Any) -> None:
    """Of each: it costs the same, has M times the noise, and one unit moves it by C at most."""
    once, three = (plan_for(study(**sections, privacy={"multiplicity": m})) for m in (1, 3))
    for alone, thrice in zip(once.releases, three.releases, strict=True):
        assert alone.sensitivity is not None
        assert thrice.sensitivity is not None
        assert (thrice.kind, thrice.cost) == (alone.kind, alone.cost)
        assert thrice.sigma == pytest.approx(3 * alone.sigma, rel=1e-12)
        assert (alone.sensitivity.multiplicity, thrice.sensitivity.multiplicity) == (1, 3)
        assert alone.sensitivity.clipping_norm == alone.vectors.clipping_norm
        steps = max(1, thrice.local_steps)
        assert mu_squared(thrice.sensitivity, sigma=thrice.sigma) * steps <= thrice.mu2 * (
            1 + 1e-15
        )


def test_every_kind_of_release_is_in_a_row_of_that() -> None:
    kinds = {terms.kind for one in EVERY_KIND.values() for terms in plan_for(study(**one)).releases}
    assert kinds == set(ReleaseKind) - {ReleaseKind.REHEARSAL}


@pytest.mark.parametrize("norm", [2.0**-10, 0.25, 8.0])
def test_sensitivity_is_exactly_c(norm: float) -> None:
    plan = plan_for(study(privacy={"clipping_norm": norm}))
    assert plan.training.sensitivity is not None
    assert plan.training.sensitivity.l2(plan.relation) == norm
    assert plan.evaluation.sensitivity is not None
    assert plan.evaluation.sensitivity.l2(plan.relation) == 1.0  # a count moves by one


def test_noise_is_checked_for_the_participants_of_an_attempt() -> None:
    plan = plan_for(
        study(privacy={"collusion_tolerance": 2}, aggregation={"minimum_institutions": 4})
    )
    for participants in (4, 5, 100, 10_000):
        plan.check_noise(participants)
    for participants in (-1, 0, 2, 3):
        with pytest.raises(AccountingError, match="participants"):
            plan.check_noise(participants)
    with pytest.raises(AccountingError, match="finer grid"):
        plan.check_noise(10**20)  # each share would be less than sixteen grid steps


def test_shares_add_up_to_sigma_over_the_honest() -> None:
    plan = plan_for(study())
    for terms in (plan.training, plan.evaluation):
        for n, t in ((3, 1), (6, 1), (6, 4)):
            total = terms.share(n, t) * terms.gamma * math.sqrt(n - t)
            assert total == pytest.approx(terms.sigma, rel=1e-12)


@settings(deadline=None, max_examples=150)
@given(studies, st.integers(0, 20))
def test_no_debit_is_below_what_its_noise_costs(plan_of: Study, inside: int) -> None:
    """In whole fractions, of the noise that is drawn: the debit as a double would not do."""
    if inside:
        steps = plan_of.training.steps
        local = {"mode": "local", "steps": steps, "local_steps": inside}
        plan_of = Study.model_validate({**plan_of.model_dump(), "training": local})
    try:
        plan = plan_for(plan_of)
    except StudyError:
        return
    for terms in plan.releases:
        assert terms.sensitivity is not None
        noised = max(1, terms.local_steps)
        for honest in (2, 4):  # of 4 each share is the half, to the bit
            share = Fraction(terms.share(honest + 1, 1)) * Fraction(terms.gamma)
            variance = share**2 * (1 if terms.local_steps else honest)
            reach = Fraction(terms.sensitivity.l2(NeighbouringRelation.ADD_OR_REMOVE_ONE_UNIT))
            one = reach**2 / (variance - 4 * Fraction(terms.gamma) ** 2)
            assert one * noised <= Fraction(terms.cost, PICOMU2)
        assert terms.sigma <= terms.paid_sigma <= math.nextafter(terms.sigma, math.inf)


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 2.15, 4.0])
def test_no_rounding_makes_shares_add_up_to_less_than_sigma(epsilon: float) -> None:
    """In whole fractions: each share is the least double whose n - t make sigma^2 or more."""
    local = plan_for(study(training={"mode": "local", "steps": 3, "local_steps": 2}))
    plan = plan_for(study(privacy={"epsilon": epsilon, "collusion_tolerance": 2},
                          aggregation={"minimum_institutions": 4}))  # fmt: skip
    for terms in (plan.training, plan.evaluation, local.training):
        for n in range(4, 60):
            share = Fraction(terms.share(n, 2)) * Fraction(terms.gamma)
            needed = Fraction(terms.paid_sigma) ** 2 / (1 if terms.local_steps else n - 2)
            assert needed <= share**2 <= needed * (1 + Fraction(1, 2**50))


def test_epsilon_of_what_was_spent() -> None:
    plan = plan_for(study())
    assert plan.epsilon(0.0) == 0.0
    half = plan.epsilon(plan.mu2 / 2)
    assert 0 < half < plan.epsilon() <= 1.0
    assert half == epsilon_for(delta=1e-5, mu2=plan.mu2 / 2, xi=XI_LIMIT)
    # mu * sqrt(n - t): with three and one colluder, as if mu^2 were doubled.
    assert plan.epsilon_if_masks_fail(3) == pytest.approx(plan.epsilon(2 * plan.mu2), rel=1e-4)
    assert plan.epsilon_if_masks_fail(6) > plan.epsilon_if_masks_fail(3)


def test_steps_do_not_overlap() -> None:
    plan = plan_for(study())
    assert [terms.kind for terms in map(plan.terms, ReleaseKind)] == list(ReleaseKind)
    training, evaluation = plan.training, plan.evaluation
    assert (training.first_step, training.steps) == (0, 50)
    assert evaluation.first_step == training.first_step + training.steps


def test_a_rehearsal_looks_like_training_and_costs_nothing() -> None:
    plan = plan_for(study())
    rehearsal = plan.rehearsal
    assert rehearsal.vectors == plan.training.vectors
    assert rehearsal.word_bits == plan.training.word_bits
    assert rehearsal.parameter_entries == plan.training.parameter_entries
    assert (rehearsal.cost, rehearsal.sigma, rehearsal.sensitivity) == (0, 0.0, None)
    assert rehearsal.spare == 0


def test_the_ring_is_as_small_as_the_sum_allows() -> None:
    assert plan_for(study()).evaluation.word_bits is WordBits.K64
    small = plan_for(study(records={"units": 100}, privacy={"epsilon": 50.0}))
    assert small.evaluation.word_bits is WordBits.K32
    assert small.training.word_bits is WordBits.K64
    # Each side of the decoded range holds the sum that is expected, noise included.
    assert small.evaluation.largest_entry < 2.0**31 * small.evaluation.gamma


@pytest.mark.parametrize(("tolerance", "minimum"), [(1, 3), (10, 12), (98, 100), (98, 9800)])
def test_a_sum_in_range_holds_the_noise_of_all_participants(tolerance: int, minimum: int) -> None:
    plan = plan_for(study(records={"units": 10}, privacy={"collusion_tolerance": tolerance},
                          aggregation={"minimum_institutions": minimum}))  # fmt: skip
    for terms in (plan.training, plan.evaluation):
        for n in (minimum, 2 * minimum):
            all_shares = terms.share(n, tolerance) * terms.gamma * math.sqrt(n)
            # Beyond 12 standard deviations: never, in any run of any study.
            assert terms.largest_entry > 12 * all_shares


def test_evaluation_counts_each_unit_in_one_cell() -> None:
    vectors = evaluation_vectors(study(evaluation={"score_bins": 10}))
    assert vectors.entries == 20
    assert (vectors.clipping_norm, vectors.rounded_entries) == (1.0, 0)


def test_coordinator_and_custodian_compute_the_same_plan() -> None:
    one, other = study(), Study.model_validate_json(study().canonical())
    assert plan_for(one) == plan_for(other)


# -- local mode -------------------------------------------------------------------------------


def local_plan(**sections: Any) -> Plan:
    training = {"mode": "local", "steps": 5, "local_steps": 10}
    return plan_for(study(**{"training": training, **sections}))


@pytest.mark.parametrize("inside", [1, 3, 10])
def test_a_local_release_costs_what_all_its_steps_cost(inside: int) -> None:
    """As many Gaussian sums as there are steps inside, each with sigma on it; they add up."""
    training = {"mode": "local", "steps": 5, "local_steps": inside}
    terms = local_plan(training=training).training
    assert terms.sensitivity is not None
    one = mu_squared(terms.sensitivity, sigma=terms.sigma)
    assert terms.local_steps == inside
    assert terms.cost % inside == 0
    assert one * inside <= terms.mu2 < one * inside * (1 + 1e-6)


def test_local_noise_is_that_of_as_many_sums_together_and_nobody_shares_it() -> None:
    plan = local_plan()
    counterpart = plan_for(plan.study.stepwise)
    assert plan.training.sigma == pytest.approx(counterpart.training.sigma, rel=1e-9)
    assert plan.mu2 == pytest.approx(counterpart.mu2, rel=1e-9)
    for participants, tolerance in ((3, 1), (10, 1), (10, 8)):
        share = plan.training.share(participants, tolerance)
        assert share == plan.training.paid_sigma / plan.training.gamma
        assert plan.evaluation.share(participants, tolerance) < plan.evaluation.sigma * 2**20


def test_all_debits_of_a_local_study_keep_its_promise() -> None:
    plan = local_plan()
    assert debits(plan) == Fraction(plan.study_limit, PICOMU2)
    assert plan.epsilon() <= plan.study.privacy.epsilon
    assert plan.epsilon() == pytest.approx(plan.study.privacy.epsilon, rel=1e-4)


def test_masks_protect_nothing_of_local_changes() -> None:
    """If all failed, the hold-out's units would lose more than those of training."""
    plan = local_plan()
    local, held = plan.planned.training / PICOMU2, plan.planned.holdout / PICOMU2
    for participants in (3, 10):
        honest = participants - plan.study.privacy.collusion_tolerance
        bare = plan.epsilon(max(local, held * honest))
        assert plan.epsilon_if_masks_fail(participants) == pytest.approx(bare, rel=1e-4)
    assert held * 9 > local
    asking = local_plan(privacy={"query_share": 0.9}, queries=[{"name": "n", "kind": "count"}])
    all_units = asking.planned.all / PICOMU2
    worst = asking.epsilon((all_units + asking.planned.holdout / PICOMU2) * 2)
    assert asking.epsilon_if_masks_fail(3) == pytest.approx(worst, rel=1e-4)


def test_noise_of_ones_own_is_checked_on_its_own() -> None:
    plan = local_plan()
    plan.check_noise(3)
    coarse = replace(plan.training, sigma=999 * plan.training.gamma)
    with pytest.raises(AccountingError, match="1000 grid steps"):
        replace(plan, training=coarse).check_noise(3)
    enough = replace(plan.training, sigma=1000 * plan.training.gamma)
    replace(plan, training=enough).check_noise(3)
    once = plan.training.xi(3, 1)
    assert once == pytest.approx(
        10 * release_xi(entries=plan.training.vectors.entries, tau=0.0), rel=1e-9
    )


def test_the_sum_of_local_changes_is_bounded_by_who_is_in_it() -> None:
    terms = local_plan().training
    assert [terms.largest_sum(n) for n in (1, 3, 10_000)] == [16.0, 48.0, 160_000.0]
    assert terms.largest_sum(10_000) / terms.gamma < 2.0 ** (terms.word_bits.value - 1)
    together = plan_for(study()).training
    assert together.largest_sum(3) == together.largest_sum(9) == together.largest_entry


# -- counts by group ------------------------------------------------------------------------

GROUPS: list[dict[str, Any]] = [
    {"column": "segment", "levels": ["retail", "private"]},
    {"column": "age_band", "levels": ["18-24", "25+"]},
]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("spare", [0, 1, 3])
def test_counts_by_group_are_a_release_like_the_table(count: int, spare: int) -> None:
    bare = plan_for(study(evaluation={"spare_releases": spare}))
    plan = plan_for(study(evaluation={"spare_releases": spare, "groups": GROUPS[:count]}))
    fairness = plan.fairness
    assert fairness.cost == plan.evaluation.cost
    assert (fairness.steps, fairness.spare, plan.evaluation.spare) == (1, 0, spare)
    assert fairness.first_step == plan.evaluation.first_step + 1
    assert fairness.vectors.entries == 12 * count
    assert fairness.parameter_entries == plan.evaluation.parameter_entries + 1
    assert fairness.sensitivity is not None
    assert fairness.sensitivity.l2(plan.relation) == 1.0
    assert plan.training == bare.training  # what is measured takes nothing from what is learned
    # Both come out of the evaluation's part: a share each, and one for each that is spare.
    assert plan.evaluation.cost == pytest.approx(bare.evaluation.cost * (1 + spare) / (2 + spare))
    assert debits(plan) <= Fraction(mu2_for(epsilon=1.0, delta=1e-5, xi=XI_LIMIT))
    assert plan.study_limit == debits(plan) * PICOMU2


def test_without_groups_nothing_is_planned_for_them() -> None:
    plan = plan_for(study())
    assert (plan.fairness.steps, plan.fairness.cost) == (0, 0)
    assert plan.fairness not in plan.releases


def test_promised_epsilon_holds_with_counts_by_group() -> None:
    plan = plan_for(study(evaluation={"groups": GROUPS}))
    assert plan.epsilon() <= 1.0
    sensitivity = plan.fairness.sensitivity
    assert sensitivity is not None
    assert mu_squared(sensitivity, sigma=plan.fairness.sigma) <= plan.fairness.mu2


# -- moments --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["whitened", "centred"])
@pytest.mark.parametrize("spare", [0, 1, 3])
def test_moments_are_a_release_out_of_trainings_share(kind: str, spare: int) -> None:
    section = {"geometry": {"kind": kind, "share": 0.25}, "evaluation": {"spare_releases": spare}}
    bare, plan = plan_for(study(evaluation={"spare_releases": spare})), plan_for(study(**section))
    moments, entries = plan.moments, plan.training.vectors.entries
    assert (moments.steps, moments.spare) == (1, max(1, spare))
    assert (moments.first_step, plan.training.first_step) == (0, 1)
    assert plan.evaluation.first_step == bare.evaluation.first_step + 1
    assert plan.allowance.first_step == bare.allowance.first_step + 1
    whole = entries * (entries + 1) // 2
    assert moments.vectors.entries == (whole if kind == "whitened" else entries)
    assert moments.sensitivity is not None
    exact = math.sqrt(3 * 4 / 2 if kind == "whitened" else 3)  # two features and the bias
    assert exact <= moments.sensitivity.l2(plan.relation) < exact + 2**-10
    assert mu_squared(moments.sensitivity, sigma=moments.sigma) <= moments.mu2
    assert moments.cost * (1 + moments.spare) == pytest.approx(
        0.25 * bare.training.cost * (bare.training.steps + bare.training.spare), rel=1e-6
    )
    assert plan.training.cost == pytest.approx(0.75 * bare.training.cost, rel=1e-6)
    assert plan.evaluation.cost == bare.evaluation.cost
    assert debits(plan) <= Fraction(mu2_for(epsilon=1.0, delta=1e-5, xi=XI_LIMIT))
    assert plan.study_limit == debits(plan) * PICOMU2
    assert plan.releases[0] is moments
    plan.check_noise(plan.study.aggregation.minimum_institutions)


@pytest.mark.parametrize(
    ("units", "bits"), [(1000, 40), (600_000, 40), (2_000_000, 38), (10**9, 29)]
)
def test_steps_in_whitened_coordinates_fit_the_ring(units: int, bits: int) -> None:
    plan = plan_for(study(geometry={"kind": "whitened"}, records={"units": units}))
    assert plan.training.vectors.gamma_bits == bits
    assert plan.rehearsal.vectors == plan.training.vectors
    assert plan.training.largest_entry / plan.training.gamma < 2**63
    centred = plan_for(study(geometry={"kind": "centred"}, records={"units": units}))
    assert centred.training.vectors.gamma_bits == 28


def wide(levels: int, kind: str, institutions: int = 3) -> Study:
    names = [f"level {index}" for index in range(levels // 4 - 2)]
    return study(
        features=[
            {"kind": "categorical", "name": f"c{index}", "levels": names} for index in range(4)
        ],
        geometry={"kind": kind},
        aggregation={"minimum_institutions": institutions},
    )


def test_moments_that_are_too_many_are_refused_with_what_to_do() -> None:
    for levels, institutions, right in ((400, 3, True), (1030, 3, False), (400, 60, False)):
        if right:
            assert plan_for(wide(levels, "whitened", institutions)).moments.cost
            continue
        with pytest.raises(StudyError, match='write kind = "centred"'):
            plan_for(wide(levels, "whitened", institutions))
        assert plan_for(wide(levels, "centred", institutions)).moments.cost


def test_moments_that_do_not_travel_do_not_switch_off_recomputation() -> None:
    plan = plan_for(wide(400, "whitened"))
    assert not carries_last_sum(plan, ReleaseKind.MOMENTS, 4)
    assert is_recomputed(plan, ReleaseKind.TRAINING, 4)
    assert is_recomputed(plan, ReleaseKind.MOMENTS, 4)
    assert is_recomputed(plan, ReleaseKind.EVALUATION, 4)
