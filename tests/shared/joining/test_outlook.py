"""Expectations follow the trials that ship, and widen where nothing is known."""

import math
from importlib.resources import files
from pathlib import Path

import pytest
from tests.benchmarks.learning.expectations import table_text
from tests.support.homes.institutions import home_study

from fieldfare.shared.joining.expectation import (
    EPSILONS,
    LEAST_LEFT,
    StudyAdvice,
    Window,
    four_times,
    outlook_of,
)
from fieldfare.shared.joining.outlook import (
    Anchor,
    LiftCurve,
    Trial,
    beyond,
    calibration,
    expected,
    fitted,
    left_out,
    logit,
    rate_of,
    trials,
)
from fieldfare.shared.joining.strength import PublicNumbers
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study

DOCS = Path(__file__).parents[3] / "docs"
CURVE = LiftCurve(half=3.0, bend=1.2, alone_half=10.0, alone_bend=0.5, lift=2.0, slope=-0.5)


def numbers(**changes: float) -> PublicNumbers:
    found = {
        "units": 33_000.0,
        "prevalence": 0.02,
        "entries": 117,
        "epsilon": 1.0,
        "delta": 1e-5,
        "multiplicity": 1,
        "institutions": 5,
        "tolerance": 1,
    } | changes
    return PublicNumbers(kind="additive", **found)  # type: ignore[arg-type]


def made_up(curve: LiftCurve) -> list[Trial]:
    """Trials that lie on a curve exactly."""
    rows = []
    for name, prevalence, entries in (("a", 0.02, 117), ("b", 0.2, 60), ("c", 0.005, 200)):
        for strength in (0.5, 2.0, 6.0, 30.0):
            base, lift = logit(prevalence), curve.lift_at(prevalence)
            cases = 20_000 * prevalence / 4
            rows.append(
                Trial(
                    set=name,
                    units=20_000,
                    prevalence=prevalence,
                    entries=entries,
                    institutions=4,
                    epsilon=1.0,
                    strength=strength,
                    together=rate_of(base + lift * curve.share(strength)),
                    pooled=rate_of(base + lift),
                    alone=rate_of(base + lift * curve.share_alone(cases)),
                )
            )
    return rows


def study_of(**records: float) -> Study:
    return home_study(
        records={"unit": "customer", "label": "label", "prevalence": 0.02, "units": 40_000}
        | records
    )


def test_a_curve_is_found_again_from_trials_that_lie_on_it() -> None:
    found = fitted(made_up(CURVE))
    assert vars(found) == pytest.approx(vars(CURVE), rel=1e-2)
    errors = left_out(made_up(CURVE))
    assert errors.guessed < 0.02
    assert errors.sets == 3


def test_the_trials_that_ship_are_of_several_sets_and_epsilons() -> None:
    assert len({row.set for row in trials()}) >= 3
    assert {row.epsilon for row in trials()} == set(EPSILONS)


def test_the_shipped_table_is_as_its_script_wrote_it() -> None:
    text = files("fieldfare.shared.joining").joinpath("trials.toml").read_text("utf-8")
    assert text == table_text([row.model_dump() for row in trials()])


def test_the_guide_says_how_far_off_the_curve_was() -> None:
    guide = " ".join((DOCS / "guides" / "which-epsilon.md").read_text("utf-8").split())
    curve, errors = calibration()
    assert f"off by {errors.precision:.2f} in average precision".replace("0.", ".") in guide
    assert f"and by {errors.anchored_precision:.2f} where".replace("0.", ".") in guide
    assert f"about half at {curve.half:.1f}" in guide


def test_more_epsilon_and_more_cases_are_never_expected_to_be_worse() -> None:
    by_epsilon = [expected(numbers(epsilon=one)).share for one in EPSILONS]
    assert by_epsilon == sorted(by_epsilon)
    by_cases = [expected(numbers(prevalence=one)).value for one in (0.0005, 0.002, 0.01, 0.05)]
    assert by_cases == sorted(by_cases)


def test_an_interval_holds_its_value_and_stays_between_0_and_1() -> None:
    for prevalence in (0.0001, 0.02, 0.5, 0.95):
        found = expected(numbers(prevalence=prevalence))
        assert 0 < found.low < found.value < found.high < 1


def test_what_an_earlier_run_released_is_what_is_expected_of_the_same() -> None:
    same = numbers()
    anchor = Anchor(same, 0.41)
    found = expected(same, anchor)
    assert found.value == pytest.approx(0.41)
    assert expected(numbers(epsilon=4.0), anchor).value > 0.41
    guess = expected(same)
    spread = [logit(one.high) - logit(one.low) for one in (found, guess)]
    assert spread[0] < spread[1]


def test_outside_of_the_trials_it_says_so() -> None:
    assert not beyond(numbers(), expected(numbers()).strength)
    far = numbers(units=5e7, entries=90_000)
    assert [one.split()[0] for one in beyond(far, 2.0)] == ["units", "entries"]


def test_four_quarters_cost_more_than_one_year_and_less_than_four_times() -> None:
    assert 1.0 < four_times(numbers()) < 4.0


def test_a_quarter_has_a_quarter_of_the_cases_whatever_the_study_covers() -> None:
    plan = plan_for(study_of())
    year = outlook_of(plan, 5, Window.YEAR).rows[1]
    quarter = outlook_of(plan_for(study_of(prevalence=0.005)), 5, Window.QUARTER).rows[1]
    assert year.quarter.strength == pytest.approx(quarter.quarter.strength)
    assert year.year.strength == pytest.approx(quarter.year.strength)
    assert year.quarter.numbers.cases == pytest.approx(year.year.numbers.cases / 4)


def test_rare_cases_at_three_small_banks_are_not_worth_a_run() -> None:
    plan = plan_for(study_of(units=30_000, prevalence=0.0005))
    found = outlook_of(plan, 3)
    assert found.answer is StudyAdvice.NOT
    assert found.here.share < LEAST_LEFT
    assert any("noise is expected to leave" in reason for reason in found.reasons)


def test_many_cases_are_worth_a_run() -> None:
    found = outlook_of(plan_for(study_of(units=100_000, prevalence=0.1)), 6)
    assert found.answer is StudyAdvice.RUN


def test_the_remedy_is_one() -> None:
    study = study_of(units=20_000, prevalence=0.0002)
    found = outlook_of(plan_for(study), 3)
    assert found.answer is StudyAdvice.NOT
    said = next(one for one in found.reasons if "would do" in one)
    cases = int(said.split("about ")[1].split(" cases")[0].replace(",", ""))
    more = found.here.numbers.at(cases=cases / found.here.numbers.cases)
    assert calibration()[0].share(more.strength) >= LEAST_LEFT


def test_a_run_that_noise_hides_is_refused_as_the_coordinator_refuses_it() -> None:
    found = outlook_of(plan_for(study_of(units=600, prevalence=0.1)), 3)
    assert found.answer is StudyAdvice.NOT
    assert any("so that noise does not hide" in reason for reason in found.reasons)


def test_log_odds_and_rates_are_inverse() -> None:
    assert rate_of(logit(0.3)) == pytest.approx(0.3)
    assert math.isclose(logit(0.5), 0.0)
