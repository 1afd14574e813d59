"""Labels from a released evaluation: all of them without noise, as many as mu allows with it."""

from functools import cache

import pytest
from tests.simulations.attacks.test_membership import population, study

from fieldfare.shared.errors import UsageError
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.ceilings import best_area
from fieldfare.simulations.attacks.finding import Finding
from fieldfare.simulations.attacks.labels import LabelsTask, labels


def task(epsilon: float = 1.0, **given: object) -> LabelsTask:
    made = study(6, 1500, 10).model_dump(mode="json", exclude_none=True)
    made["privacy"]["epsilon"] = epsilon
    asked = {"study": Study.model_validate(made), "units": population(1500, 6), "trials": 400}
    return LabelsTask(**{**asked, **given})  # type: ignore[arg-type]


@cache
def found(epsilon: float = 1.0) -> tuple[Finding, Finding]:
    bare, noised = labels(task(epsilon))
    return bare, noised


def test_a_bare_table_tells_the_one_label_that_is_not_known() -> None:
    bare = found()[0]
    for name in ("AUROC", "TPR - FPR", "AUROC by the calibration"):
        assert bare.figure(name).value == 1.0


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_a_noised_table_tells_what_its_price_allows(epsilon: float) -> None:
    noised = found(epsilon)[1]
    for name in ("AUROC", "AUROC by the calibration"):
        figure = noised.figure(name)
        assert figure.interval is not None
        assert figure.ceiling is not None
        assert figure.interval[0] <= figure.ceiling
    ceiling = noised.figure("AUROC").ceiling
    assert ceiling == pytest.approx({1.0: 0.575, 8.0: 0.9}[epsilon], abs=0.06)
    assert best_area(0.0) < (ceiling or 0.0) < 1.0


def test_the_attack_comes_to_its_ceiling() -> None:
    """The table's own test is the best there is: less noise, and it finds more."""
    figure = found(8.0)[1].figure("AUROC")
    assert figure.interval is not None
    assert figure.ceiling is not None
    assert figure.value > 0.75
    assert figure.interval[0] <= figure.ceiling <= figure.interval[1]


def test_where_no_label_is_known_noise_takes_what_the_table_adds_to_the_score() -> None:
    bare, noised = found()
    name, score = "AUROC, no label known", "AUROC of the score's bin alone"
    assert bare.figure(name).value >= bare.figure(score).value
    assert noised.figure(name).value < bare.figure(name).value


@pytest.mark.parametrize("wrong", [{"trials": 3}, {"units": population(30, 6)}])
def test_too_little_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="expected"):
        labels(task(**wrong))  # type: ignore[arg-type]
