"""One public number says how much of a signal is left: what raises it, and what does not."""

import pytest
from tests.support.homes.institutions import home_study

from fieldfare.shared.expectation.settings import bands, fitting_settings
from fieldfare.shared.expectation.strength import PublicNumbers
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.gaussian import mu2_for
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study

NUMBERS = PublicNumbers(
    kind="additive",
    units=30_000.0,
    prevalence=0.02,
    entries=100,
    epsilon=1.0,
    delta=1e-5,
    multiplicity=1,
    institutions=5,
    tolerance=1,
)


def test_it_is_what_its_formula_says() -> None:
    mu = mu2_for(epsilon=1.0, delta=1e-5) ** 0.5
    assert NUMBERS.strength == pytest.approx(600 * mu / 10 / (5 / 4) ** 0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"units": 60_000.0}, 2.0),
        ({"prevalence": 0.01}, 0.5),
        ({"prevalence": 0.98}, 1.0),
        ({"entries": 400}, 0.5),
        ({"multiplicity": 2}, 0.5),
        ({"institutions": 2}, (5 / 4) ** 0.5 / 2**0.5),
    ],
)
def test_what_changes_it_and_by_how_much(changes: dict[str, float], factor: float) -> None:
    other = PublicNumbers(**{**vars(NUMBERS), **changes})
    assert other.strength == pytest.approx(NUMBERS.strength * factor)


def test_it_is_read_off_a_plan_whatever_clipping_steps_and_records_are() -> None:
    study = home_study()
    numbers = PublicNumbers.of(plan_for(study), 4)
    assert numbers.entries == model_for(study).vectors.entries
    assert (numbers.units, numbers.institutions) == (study.training_units, 4)
    other = home_study(training={"steps": 7}, privacy={**_privacy(study), "clipping_norm": 2.0})
    assert PublicNumbers.of(plan_for(other), 4).strength == numbers.strength


def _privacy(study: Study) -> dict[str, object]:
    return study.privacy.model_dump(mode="json", exclude={"spare_releases", "query_share"})


def test_another_epsilon_and_fewer_cases_are_other_numbers() -> None:
    assert NUMBERS.at(epsilon=2.0).strength > NUMBERS.strength
    assert NUMBERS.at(cases=0.25).cases == NUMBERS.cases / 4
    assert NUMBERS.at(cases=0.25).units == NUMBERS.units


@pytest.mark.parametrize("kind", ["additive", "mlp"])
def test_settings_fit_from_the_weakest_signal_on(kind: str) -> None:
    rows = bands()[kind]
    assert [row.strength for row in rows] == sorted({row.strength for row in rows})
    assert rows[0].strength == 0
    for row in rows:
        assert fitting_settings(kind, row.strength) == row
        assert (row.clipping_norm * 1024) % 1 == 0
        home_study(
            training={"steps": row.steps, "learning_rate": row.learning_rate},
            privacy={"epsilon": 1, "delta": 1e-5, "clipping_norm": row.clipping_norm},
        )


def test_nobody_measured_what_fits_texts() -> None:
    assert fitting_settings("text", 10.0) is None
