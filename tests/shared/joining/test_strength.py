"""One public number says how much of a signal is left: what raises it, and what does not."""

from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.institutions import home_study

from fieldfare.shared.joining.settings import OF_TRAINING, bands, fitting_settings
from fieldfare.shared.joining.strength import PublicNumbers
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.gaussian import mu2_for
from fieldfare.shared.protocol.plan import MOST_MOMENTS, plan_for
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study

STUDIES: Final = Path(__file__).parents[3] / "studies"
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
    holds = [(b.strength, -(b.entries or 10**9)) for b in rows]
    assert holds == sorted({*holds})
    assert rows[0].strength == 0
    for row in rows:
        assert fitting_settings(kind, row.strength, row.entries or 100_000) == row
        assert (row.clipping_norm * 1024) % 1 == 0
        study = home_study(
            training={name: getattr(row, name) for name in OF_TRAINING},
            privacy={"epsilon": 1, "delta": 1e-5, "clipping_norm": row.clipping_norm},
            geometry=row.coordinates and {"kind": row.coordinates},
        )
        said = study.model_dump()
        for key, value in row.changes.items():
            section, _, name = key.partition("__")
            assert said[section][name] == value


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        (0.0, ("centred", 18, 0.15)),
        (1.2, ("centred", 18, 0.15)),
        (17.9, ("centred", 18, 0.15)),
        (18.0, ("whitened", 25, 0.05)),
        (150.0, ("whitened", 25, 0.05)),
    ],
)
def test_weak_signals_are_centred_and_others_whitened(
    strength: float, expected: tuple[str | None, int, float]
) -> None:
    found = fitting_settings("additive", strength)
    assert found is not None
    assert (found.coordinates, found.steps, found.learning_rate) == expected
    assert found.beta2 == 1.0


def test_no_more_is_whitened_than_a_transcript_holds_moments_of() -> None:
    wide, widest = (fitting_settings("additive", 40.0, d) for d in (1_000, 1_001))
    assert wide is not None
    assert widest is not None
    assert (wide.coordinates, widest.coordinates) == ("whitened", None)
    assert MOST_MOMENTS >= 1_001 * 1_002 / 2


@pytest.mark.parametrize("name", ["five-banks", "twelve-banks", "heart"])
def test_shipped_studies_say_what_fits(name: str) -> None:
    study = load_study(STUDIES / f"{name}.toml")
    numbers = PublicNumbers.of(plan_for(study))
    fitting = fitting_settings(numbers.kind, numbers.strength)
    assert fitting is not None
    assert study.geometry is not None
    training = study.training
    found = (study.geometry.kind, study.privacy.clipping_norm, training.steps, training.beta1)
    fits = (fitting.coordinates, fitting.clipping_norm, fitting.steps, fitting.beta1)
    assert found == fits
    assert training.learning_rate == fitting.learning_rate


@pytest.mark.parametrize("name", ["sms", "youtube"])
def test_studies_of_texts_say_what_fits(name: str) -> None:
    study = load_study(STUDIES / f"{name}.toml")
    numbers = PublicNumbers.of(plan_for(study))
    fitting = fitting_settings(numbers.kind, numbers.strength)
    assert fitting is not None
    training = study.training
    found = (study.privacy.clipping_norm, training.steps, training.learning_rate)
    assert found == (fitting.clipping_norm, fitting.steps, fitting.learning_rate)


def test_nobody_measured_what_fits_vectors() -> None:
    assert fitting_settings("vectors", 10.0) is None
