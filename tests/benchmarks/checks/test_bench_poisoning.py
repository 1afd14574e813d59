"""The poisoning bench lies as it says, and tells where a run stopped."""

import numpy as np
import pytest
from tests.benchmarks import poisoning
from tests.benchmarks.poisoning import BENCH, STOPPED, lying, words
from tests.support.federations.bench import make_study, make_sums
from typer.testing import CliRunner

from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.simulations.demo.five_banks import banks_study


def test_a_lie_is_as_long_as_it_says_and_points_from_the_target() -> None:
    study = make_study()
    honest = make_sums(study, units=40, seed=3)
    entries = honest.model.vectors.entries
    target, now = np.full(entries, 2.0), np.zeros(entries)
    lie = lying(honest, target, 0.5)
    found = np.ldexp(lie.vector(ReleaseKind.TRAINING, now), -honest.model.vectors.gamma_bits)
    length = 0.5 * honest.training_count * study.privacy.clipping_norm
    assert np.linalg.norm(found) == pytest.approx(length, rel=1e-6)
    assert found @ (now - target) == pytest.approx(length * np.linalg.norm(target), rel=1e-6)
    kind = ReleaseKind.EVALUATION
    assert np.array_equal(lie.vector(kind, now), honest.vector(kind, now))


@pytest.mark.promises
def test_a_run_is_bent_or_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    study = banks_study()
    training = study.training.model_copy(update={"steps": 5})
    brief = study.model_copy(update={"training": training, "features": study.features[:3]})
    monkeypatch.setattr(poisoning, "frozen_study", lambda: brief)
    arguments = ["--people", "700", "--seed", "4", "--factors", "1,100000000"]
    found = CliRunner().invoke(BENCH.app(), arguments)
    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    assert [STOPPED in line for line in lines[1:]] == [False, False, True]


def test_figures_stand_in_words() -> None:
    rows = [
        {"reach": 0.0, "towards": -1.0, "recall": 0.25},
        {"reach": 4.0, "towards": 0.5, "recall": 0.125},
    ]
    said = words({"liar": "bank-b", "share": 0.1, "rows": rows})
    assert said[0] == "bank-b lies; it holds 10% of the training units"
    assert "0.125" in said[2]
    assert "+0.50" in said[2]
