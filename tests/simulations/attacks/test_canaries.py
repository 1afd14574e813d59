"""The audit with canaries as records: it recovers the claim, and sees what is wrong."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.models.additive import AdditiveSums
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.simulations.attacks import canaries
from fieldfare.simulations.attacks.canaries import (
    Canaries,
    CanaryAttack,
    CanaryReport,
    Design,
    audit,
    lines,
    main,
)
from fieldfare.simulations.federation.population import load_population

# Noise of the operating system cannot be seeded: 5.5 standard errors pass by chance once in
# 50 million audits. At this size the error is 4 % of mu, at the command's own 3.3 %.
SMALL = Design(epsilon=4.0, canaries=4000, steps=4, levels=64)
FAR = 5.5


@pytest.fixture(scope="module")
def reports() -> Mapping[float, CanaryReport]:
    return {factor: audit(replace(SMALL, factor=factor)) for factor in (1.0, 0.5)}


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
    found = audit(replace(SMALL, canaries=1000, steps=1))
    assert found.differs > 1
    assert not found.sound


def test_the_attackers_scores_are_those_of_one_unknown_record() -> None:
    """Without noise a canary that is in scores its length, one that is out nothing."""
    design = replace(SMALL, canaries=1000, steps=1)
    drawn = Canaries.draw(design)
    entries = 1 + canaries.FEATURES * drawn.width
    parameters = np.zeros(entries)
    own = drawn.residuals(parameters)
    exact = drawn.added(np.where(drawn.coins, own, 0.0), entries)
    attack = CanaryAttack(drawn, np.zeros(len(own)), np.zeros(len(own)))
    attack.step(parameters, exact, exact)
    assert attack.differs == 0
    assert np.abs(attack.noise).max() == 0
    assert np.sqrt(attack.squared) == pytest.approx(canaries.CLIPPING_NORM)


def test_intervals_hold_the_truth_in_nineteen_of_twenty() -> None:
    """300 audits of drawn noise, without the machinery: the error that is told is the error."""
    random, inside, far = np.random.default_rng(5), 0, []
    drawn = Canaries.draw(replace(SMALL, canaries=1500))
    entries = 1 + canaries.FEATURES * drawn.width
    parameters, sigma = np.zeros(entries), 2 * canaries.CLIPPING_NORM
    exact = drawn.added(np.where(drawn.coins, drawn.residuals(parameters), 0.0), entries)
    for _ in range(300):
        coins: NDArray[np.bool_] = random.integers(0, 2, len(drawn.coins)).astype(bool)
        again = replace(drawn, coins=coins)
        exact = again.added(np.where(coins, again.residuals(parameters), 0.0), entries)
        attack = CanaryAttack(again, np.zeros(len(coins)), np.zeros(len(coins)))
        attack.step(parameters, exact + random.normal(0, sigma, entries), exact)
        found = attack.found(entries)
        inside += found.interval[0] <= 0.5 <= found.interval[1]
        far.append((found.mu - 0.5) / found.error)
    assert 0.91 * 300 <= inside <= 0.985 * 300
    assert np.std(far) == pytest.approx(1, abs=0.15)
    assert np.mean(far) == pytest.approx(0, abs=0.25)
    assert norm.cdf(np.max(np.abs(far))) < 1 - 1e-7


def test_canaries_are_read_from_files_like_any_record(tmp_path: Any) -> None:
    design = replace(SMALL, canaries=1000)
    drawn = Canaries.draw(design)
    population = load_population(design.study, drawn.write(tmp_path), seed=design.seed)
    assert sorted(population.records) == list(canaries.BANKS)
    assert sum(len(r) for r in population.records.values()) == drawn.coins.sum()
    assert not any(held.any() for held in population.holdout.values())
    sums = [
        StudySums.prepare(design.study, r.data, population.holdout[name]).training
        for name, r in population.records.items()
    ]
    parameters = np.random.default_rng(1).normal(0, 3, 1 + canaries.FEATURES * drawn.width)
    total = sum(part.gradient_sum(parameters) for part in sums)
    own = np.where(drawn.coins, drawn.residuals(parameters), 0.0)
    assert (np.asarray(total) * 2.0**-28 == drawn.added(own, len(parameters))).all()


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

    def audited(design: Design) -> CanaryReport:
        asked.append(design)
        return reports[design.factor]

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
