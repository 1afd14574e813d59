"""The audit with canaries as records: it recovers the claim, and sees what is wrong."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from tests.support.rows import night

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.models.additive import AdditiveSums
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.privacy.sides import Side
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.simulations.attacks import canaries
from fieldfare.simulations.attacks.canaries import CanaryAttack, CanaryReport, audit, lines, main
from fieldfare.simulations.attacks.canary_study import BANKS, FEATURES, AuditForm, Canaries, Design
from fieldfare.simulations.attacks.canary_vectors import OwnArithmetic
from fieldfare.simulations.federation.population import load_population

# Noise of the operating system cannot be seeded: 5.5 standard errors pass by chance once in
# 50 million audits. At this size the error is 4 % of mu, at the command's own 3.3 %.
SMALL = Design(epsilon=4.0, canaries=4000, steps=4, levels=64)
FAR = 5.5


@pytest.fixture(scope="module")
def reports() -> Mapping[float, CanaryReport]:
    return {factor: audit(replace(SMALL, factor=factor))[0] for factor in (1.0, 0.5)}


def errors_away(report: CanaryReport, mu: float) -> float:
    """By how many of the audit's own standard errors it missed."""
    return abs(report.mu - mu) / (report.standard_error * report.claimed_mu)


def test_the_audit_recovers_the_claim(reports: Mapping[float, CanaryReport]) -> None:
    found = reports[1.0]
    assert found.standard_error < 0.05
    assert errors_away(found, found.claimed_mu) < FAR
    assert found.sigmas == pytest.approx(1.0, abs=0.13)


def test_half_the_noise_lies_outside(reports: Mapping[float, CanaryReport]) -> None:
    found = reports[0.5]
    assert not found.holds
    assert found.mu_interval[0] > found.claimed_mu
    assert found.epsilon_interval[0] > found.claimed_epsilon
    assert errors_away(found, 2 * found.claimed_mu) < FAR
    assert found.sigmas == pytest.approx(0.5, abs=0.065)


def test_the_claim_is_what_the_ledgers_debited_for_training(
    reports: Mapping[float, CanaryReport],
) -> None:
    found = reports[1.0]
    assert found.claimed_epsilon == epsilon_for(
        delta=found.delta, mu2=found.claimed_mu**2, xi=1e-15
    )
    assert 0.98 * SMALL.epsilon < found.claimed_epsilon <= SMALL.epsilon


def test_sums_are_the_auditors_own_and_every_canary_is_clipped(
    reports: Mapping[float, CanaryReport],
) -> None:
    found = reports[1.0]
    assert found.differs == 0
    assert found.reach == 1.0
    assert found.clipped > 0.99
    assert found.present + found.absent > 0.98 * SMALL.canaries  # a hundredth is held out
    assert abs(found.present - found.absent) < 6 * SMALL.canaries**0.5


def test_a_sum_in_which_units_count_twice_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise and accounting are right, and the claim is not: the exact part says so."""
    once = AdditiveSums.gradient_sum
    monkeypatch.setattr(AdditiveSums, "gradient_sum", lambda self, p: 2 * once(self, p))
    (found,) = audit(replace(SMALL, canaries=1000, steps=1))
    assert found.differs > 1
    assert not found.sound


# Small ones, which seeds and the machine's speed do not decide: see FAR.
FORMS = {
    AuditForm.ASKED: Design(epsilon=4.0, canaries=3000, steps=2, levels=48, form=AuditForm.ASKED),
    AuditForm.MOMENTS: Design(
        epsilon=4.0, canaries=2000, steps=2, levels=48, form=AuditForm.MOMENTS
    ),
    AuditForm.LOCAL: Design(epsilon=4.0, canaries=2000, steps=2, levels=48, form=AuditForm.LOCAL),
    AuditForm.START: Design(
        epsilon=4.0, canaries=600, steps=1, levels=8, form=AuditForm.START, runs=4
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_recovers_its_claim_on_each_side(form: AuditForm) -> None:
    found = audit(FORMS[form])
    assert [one.side for one in found] == ["training", "holdout"][: 1 + (form is AuditForm.ASKED)]
    for one in found:
        assert one.differs == 0
        assert one.reach == 1.0
        assert errors_away(one, one.claimed_mu) < FAR


@pytest.mark.parametrize("form", [AuditForm.ASKED, *night(AuditForm.MOMENTS, AuditForm.LOCAL)])
def test_every_form_sees_half_the_noise(form: AuditForm) -> None:
    for one in audit(replace(FORMS[form], factor=0.5)):
        assert not one.holds
        assert one.mu_interval[0] > one.claimed_mu
        assert errors_away(one, 2 * one.claimed_mu) < FAR


def attacked(design: Design, coins: NDArray[np.bool_] | None = None) -> tuple[CanaryAttack, Any]:
    """An attack that has heard nothing, and what canaries add to the first step."""
    drawn = Canaries.draw(design)
    drawn = drawn if coins is None else replace(drawn, coins=coins)
    plan = plan_for(design.study)
    own = OwnArithmetic(drawn, plan, design.form)
    vectors = own.vectors(ReleaseKind.TRAINING, np.zeros(plan.training.vectors.entries))
    return CanaryAttack(drawn, Side.TRAINING), (plan.training, vectors)


def test_the_attackers_scores_are_those_of_one_unknown_record() -> None:
    """Without noise a canary that is in scores its length, one that is out nothing."""
    attack, (terms, vectors) = attacked(replace(SMALL, canaries=1000, steps=1))
    everybody = np.ones(len(attack.canaries.units), np.bool_)
    attack.take(terms, vectors, np.zeros(terms.vectors.entries), everybody)
    assert np.abs(attack.along).max() == 0
    expected = terms.vectors.clipping_norm / terms.sigma
    assert np.sqrt(attack.squared) == pytest.approx(expected)
    assert attack.reaches == pytest.approx(1.0)


def test_intervals_hold_the_truth_in_nineteen_of_twenty() -> None:
    """300 audits of drawn noise, without the machinery: the error that is told is the error."""
    random, inside, far = np.random.default_rng(5), 0, []
    design = replace(SMALL, canaries=1500)
    count = len(Canaries.draw(design).coins)
    for _ in range(300):
        coins: NDArray[np.bool_] = random.integers(0, 2, count).astype(bool)
        attack, (terms, vectors) = attacked(design, coins)
        truth = terms.vectors.clipping_norm / terms.sigma
        noise = random.normal(0, terms.sigma, terms.vectors.entries)
        attack.take(terms, vectors, noise, np.ones(count, np.bool_))
        found = attack.found()
        inside += found.interval[0] <= truth <= found.interval[1]
        far.append((found.mu - truth) / found.error)
    assert 0.91 * 300 <= inside <= 0.985 * 300
    assert np.std(far) == pytest.approx(1, abs=0.15)
    assert np.mean(far) == pytest.approx(0, abs=0.25)
    assert norm.cdf(np.max(np.abs(far))) < 1 - 1e-7


def test_canaries_are_read_from_files_like_any_record(tmp_path: Any) -> None:
    design = replace(SMALL, canaries=1000)
    drawn = Canaries.draw(design)
    population = load_population(design.study, drawn.write(tmp_path), seed=design.seed)
    assert sorted(population.records) == list(BANKS)
    assert sum(len(r) for r in population.records.values()) == drawn.coins.sum()
    assert not any(held.any() for held in population.holdout.values())
    sums = [
        StudySums.prepare(design.study, r.data, population.holdout[name]).training
        for name, r in population.records.items()
    ]
    parameters = np.random.default_rng(1).normal(0, 3, 1 + FEATURES * drawn.width)
    total = sum(part.gradient_sum(parameters) for part in sums)
    own = OwnArithmetic(drawn, plan_for(design.study), design.form)
    vectors = own.vectors(ReleaseKind.TRAINING, parameters)
    known = vectors.added(drawn.coins.astype(np.float64), len(parameters))
    assert (np.asarray(total) * 2.0**-28 == known).all()


def test_one_screen_says_it_all_and_json_too(
    reports: Mapping[float, CanaryReport],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = list(lines(reports[1.0]))
    assert len(screen) < 24
    assert all(len(line) <= 80 for line in screen)
    assert "DEFECT PUT IN: noise times 0.5" in next(iter(lines(reports[0.5])))
    assert any("OUTSIDE" in line for line in lines(reports[0.5]))
    assert not any("take more canaries" in line for line in screen)
    coarse = replace(reports[1.0], standard_error=0.2)
    assert any("take more canaries" in line for line in lines(coarse))
    asked: list[Design] = []

    def audited(design: Design) -> tuple[CanaryReport, ...]:
        asked.append(design)
        return (reports[design.factor],)

    monkeypatch.setattr(canaries, "audit", audited)
    assert main(["--epsilon", "4", "--canaries", "5000", "--halve-noise", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["mu"] == reports[0.5].mu
    assert (asked[0].epsilon, asked[0].canaries, asked[0].factor) == (4.0, 5000, 0.5)
    assert main([]) == int(not reports[1.0].sound)
    assert asked[1] == Design()


@pytest.mark.parametrize(
    "wrong", [["--canaries", "10"], ["--steps", "0"], ["--epsilon", "-1"], ["--epsilon", "nan"]]
)
def test_an_audit_that_cannot_be_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(wrong)
