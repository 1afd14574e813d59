import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
from dp_accounting import GaussianDpEvent
from dp_accounting.pld import PLDAccountant

from fieldfare.shared.evidence.facts import EvidenceFacts
from fieldfare.shared.evidence.loss import (
    PrivacyLoss,
    cost_beside,
    deltas_of,
    loss_at,
    privacy_loss,
)
from fieldfare.shared.privacy.delta import largest_delta
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.protocol.plan import PICOMU2, plan_for
from fieldfare.shared.study.study import Study


def loss_of(facts: EvidenceFacts, **privacy: float) -> PrivacyLoss:
    study = facts.plan.study
    changed = Study.model_validate(
        study.model_dump() | {"privacy": study.privacy.model_dump() | privacy}
    )
    return privacy_loss(plan_for(changed), facts.spent, facts.institutions)


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 4.0])
def test_another_library_says_the_same_epsilon(facts: EvidenceFacts, epsilon: float) -> None:
    loss = loss_of(facts, epsilon=epsilon)
    for total in (loss.planned, loss.beside[-1].planned):
        accountant = PLDAccountant(value_discretization_interval=1e-3)
        accountant.compose(GaussianDpEvent(1 / total.mu))
        for delta, said in zip(loss.deltas, total.epsilons, strict=True):
            assert said == pytest.approx(accountant.get_epsilon(delta), rel=5e-3)


def test_forms_of_one_promise(facts: EvidenceFacts) -> None:
    loss = loss_of(facts)
    planned = loss.planned
    assert planned.mu2 == facts.plan.mu2
    assert planned.mu == math.sqrt(planned.mu2)
    assert planned.rho == planned.mu2 / 2
    assert planned.epsilons[0] == facts.plan.epsilon()
    assert loss.spent.epsilons[0] == facts.plan.epsilon(facts.spent / PICOMU2)
    for delta, epsilon in zip(loss.deltas, planned.epsilons, strict=True):  # Bun-Steinke, 1.3
        assert epsilon < planned.rho + 2 * math.sqrt(planned.rho * math.log(1 / delta))


def test_deltas(facts: EvidenceFacts) -> None:
    units = facts.plan.study.records.units
    assert deltas_of(facts.plan) == (1e-5, 1 / (10 * units), 1e-6)
    assert largest_delta(1000) == pytest.approx(1e-4)
    smaller = loss_of(facts, delta=1e-9)
    assert smaller.deltas == (1e-9, 1 / (10 * units), 1e-5, 1e-6)


def together(facts: EvidenceFacts, participants: str) -> EvidenceFacts:
    """Return the facts of a study whose sums are of the same institutions always, or of any."""
    study = facts.plan.study
    changed = study.aggregation.model_dump() | {"participants": participants}
    data = study.model_dump() | {"aggregation": changed}
    return replace(facts, plan=plan_for(Study.model_validate(data)))


def test_beside_colluders(facts: EvidenceFacts) -> None:
    facts = together(facts, "fixed")
    loss, count = loss_of(facts), facts.institutions
    tolerance = facts.plan.study.privacy.collusion_tolerance
    assert [one.colluders for one in loss.beside] == list(range(count))
    assert [one.within for one in loss.beside] == [c <= tolerance for c in range(count)]
    assert loss.beside[tolerance].planned == loss.planned
    for one in loss.beside:
        expected = loss.planned.mu2 * (count - tolerance) / (count - one.colluders)
        assert one.planned.mu2 == pytest.approx(expected, rel=1e-5)
        spent = loss.spent.mu2 * (count - tolerance) / (count - one.colluders)
        assert one.spent.mu2 == pytest.approx(spent, rel=1e-5)
        assert one.spent.mu2 >= spent * (1 - 1e-12)
    # With all others colluding only the own share is left, as without masks.
    assert loss.beside[-1].planned.mu2 == pytest.approx(loss.unmasked.mu2, rel=1e-5)


@pytest.mark.parametrize("institutions", [3, 4, 7])
def test_colluders_subtract_more_where_sums_may_be_of_fewer(
    facts: EvidenceFacts, institutions: int
) -> None:
    """Of two colluders the table said 1.5 times mu^2 for four; in a sum of three it is twice."""
    facts = together(facts, "any")
    plan, aggregation = facts.plan, facts.plan.study.aggregation
    tolerance = plan.study.privacy.collusion_tolerance
    assert (aggregation.minimum_institutions, tolerance) == (3, 1)
    for one in privacy_loss(plan, facts.spent, institutions).beside:
        worst = max(
            Fraction(n - tolerance, n - one.colluders)
            for n in range(3, institutions + 1)
            if n > one.colluders
        )
        assert one.planned.mu2 == pytest.approx(plan.mu2 * float(worst), rel=1e-5)
        assert one.spent.mu2 == pytest.approx(facts.spent / PICOMU2 * float(worst), rel=1e-5)


def test_without_masks(facts: EvidenceFacts) -> None:
    loss = loss_of(facts)
    assert loss.unmasked.epsilons[0] == facts.plan.epsilon_if_masks_fail(facts.institutions)
    honest = facts.institutions - facts.plan.study.privacy.collusion_tolerance
    least = epsilon_for(delta=1e-5, mu2=facts.spent / PICOMU2 * honest, xi=XI_LIMIT)
    assert least <= loss.unmasked_spent.epsilons[0] <= least * 1.001


def test_the_same_person_several_times(facts: EvidenceFacts) -> None:
    loss = loss_of(facts, multiplicity=2)
    assert [count for count, _ in loss.times] == [1, 2, 3, 4, 5]
    planned = dict(loss.times)
    assert planned[2] == loss.planned
    assert planned[4].mu == pytest.approx(2 * loss.planned.mu)
    assert planned[1].epsilons[0] < planned[2].epsilons[0] < planned[3].epsilons[0]


def test_local_noise_is_each_institutions_own(facts: EvidenceFacts) -> None:
    study = facts.plan.study
    local = {"mode": "local", "steps": 3, "local_steps": 4}
    plan = plan_for(
        Study.model_validate(study.model_dump(exclude={"training"}) | {"training": local})
    )
    loss = privacy_loss(plan, 0, facts.institutions)
    assert cost_beside(plan, plan.training, 4, 3) == plan.training.cost
    assert cost_beside(plan, plan.evaluation, 4, 3) > plan.evaluation.cost
    assert loss.unmasked.epsilons[0] == plan.epsilon_if_masks_fail(facts.institutions)


def test_nothing_spent_is_nothing_lost(facts_of: Callable[[str], EvidenceFacts]) -> None:
    facts = replace(facts_of("questions"), spent=0)
    loss = privacy_loss(facts.plan, facts.spent, facts.institutions)
    assert set(loss.spent.epsilons) == set(loss.unmasked_spent.epsilons) == {0.0}
    assert loss_at(0.0, (1e-5,)).mu == 0.0
