"""A user's own file, as `mypy --strict` of the gate and Python itself see it."""

from pathlib import Path

import numpy as np
import pytest

import fieldfare


def records(rows: int = 600, seed: int = 0) -> dict[str, object]:
    random = np.random.default_rng(seed)
    amount = random.gamma(2, 100, rows).clip(0, 900)
    return {
        "amount": amount,
        "night": random.random(rows) < 0.2,
        "fraud": (random.random(rows) < amount / 600).astype(int),
    }


def drafted(data: object, epsilon: float = 8.0) -> fieldfare.Study:
    study = fieldfare.Study.draft(
        data, label="fraud", bounds={"amount": (0, 900)}, units=600, prevalence=0.3,
        epsilon=epsilon,
    )  # fmt: skip
    return study.with_(training={"steps": 8})


def compared(study: fieldfare.Study, data: object, folder: Path) -> float:
    found: fieldfare.Result = fieldfare.simulate(
        study, data, institutions=3, baselines=("central",), progress=False
    )
    plot: fieldfare.Plot = found.plot_comparison("auroc")
    written: Path = plot.save(folder / "a.svg")
    answers: fieldfare.Answers = fieldfare.ask(
        study, data, [{"name": "n", "kind": "count"}], institutions=3, progress=False
    )
    attack: fieldfare.Attack = fieldfare.attacks.membership(study, data, shadows=0)
    told: fieldfare.Plot = attack.plot_figure("AUROC")
    ceiling: float | None = attack.findings[0].figure("AUROC").ceiling
    assert written.is_file()
    assert "<svg" in told.svg
    assert ceiling is not None
    assert answers["n"]["true"] == 600
    return found.figure("auroc").value or study.with_(privacy={"epsilon": 2.0}).epsilon


def test_it_runs(tmp_path: Path) -> None:
    data = records()
    assert compared(drafted(data), data, tmp_path) > 0.6


def test_a_wrong_word_is_seen_by_both(tmp_path: Path) -> None:
    """Where mypy did not see them, `warn_unused_ignores` would fail the gate."""
    study, data = drafted(records()), records()
    with pytest.raises(fieldfare.UsageError, match="noise: expected exact or simulated, found"):
        fieldfare.simulate(study, data, institutions=3, noise="none")  # type: ignore[arg-type]
    with pytest.raises(fieldfare.UsageError, match="trials: expected 40"):
        fieldfare.attacks.labels(study, data, trials="many")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword"):
        fieldfare.simulate(study, data, instituions=3)  # type: ignore[call-arg]
