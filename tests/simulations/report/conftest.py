"""A made-up run: six banks, a hold-out, and results that are measured on it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fieldfare.shared.pages.charts import Shape
from fieldfare.simulations.report.curves import ModelScores

BUDGET = 0.02
BANKS = tuple(f"bank_{number}" for number in range(6))
QUALITY = {
    "federated": 1.9,
    "at_home": 1.95,
    "alone": 1.4,
    "alone_dp": 0.8,
    "local_dp": 1.7,
    "central": 2.0,
    "central_dp": 1.9,
}


class Run(NamedTuple):
    """Arguments of write_report."""

    results: dict[str, Any]
    scores: dict[str, list[ModelScores]]
    shapes: list[Shape]


MakeRun = Callable[..., Run]


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    return _make_run


def _make_run(
    *,
    units: int = 2000,
    features: int = 4,
    names: tuple[str, ...] = BANKS,
    quality: Mapping[str, float] = QUALITY,
    noise: str = "simulated",
) -> Run:
    random = np.random.default_rng(7)
    labels = (random.random(units) < 0.08).astype(np.uint8)
    home = random.integers(0, len(names), units)
    scores = {}
    for key, separation in quality.items():
        several = names if key.startswith(("alone", "at_home")) else (key,)
        scores[key] = [_scores(random, name, labels, separation) for name in several]
    models = {key: _model(names, home, several) for key, several in scores.items()}
    results = {
        "format": 1,
        "study": {
            "name": "six banks",
            "id": "3f" * 32,
            "purpose": "Rank accounts for review.",
            "prohibited_uses": ["automated account closure", "immigration enforcement"],
            "unit": "account",
            "model": "additive",
            "steps": 50,
        },
        "institutions": [
            {"name": name, "units": int((home == i).sum())} for i, name in enumerate(names)
        ],
        "privacy": {
            "epsilon": 1.0,
            "delta": 1e-5,
            "mu2_planned": 0.07,
            "mu2_spent": 0.064,
            "epsilon_spent": 0.95,
            "sigma": 31.4,
            "sensitivity": 1.0,
            "collusion_tolerance": 1,
            "participants": len(names),
            "noise": noise,
            "masked": noise == "exact",
            "epsilon_if_masks_fail": 2.52,
        },
        "models": models,
        "released_metrics": _released(models["federated"], units, int(labels.sum())),
        "groups": {
            "column": "life",
            "alert_budget": BUDGET,
            "rows": [
                {
                    "name": "night-shift workers",
                    "units": 410,
                    "alerts": 13,
                    "false_positive_rate": 0.031,
                    "times": {"value": 3.2, "low": 1.1, "high": 9.4},
                },
                {"name": "students", "units": 900, "alerts": 5, "false_positive_rate": 0.006},
                {"name": "travelling nurses", "units": 0, "alerts": 0, "false_positive_rate": None},
            ],
        },
        "version": "0.1.0",
        "seed": 3,
        "timing": {
            "started": "2026-01-02T03:04:05+00:00",
            "total_seconds": 14.2,
            "training_seconds": 5.1,
            "step_seconds_median": 0.09,
        },
        "files": {"results": "out/demo/results.json", "report": "out/demo/report.html"},
    }
    return Run(results, scores, [_shape(random, number) for number in range(features)])


def _scores(
    random: np.random.Generator, name: str, labels: np.ndarray[Any, Any], separation: float
) -> ModelScores:
    logits = random.normal(size=labels.size) + separation * labels - 2.5
    return ModelScores(name=name, labels=labels, probabilities=1 / (1 + np.exp(-logits)))


def _metrics(scores: ModelScores, rows: np.ndarray[Any, Any] | None = None) -> dict[str, Any]:
    keep = slice(None) if rows is None else rows
    labels, probabilities = scores.labels[keep], scores.probabilities[keep]
    if labels.min(initial=1) == labels.max(initial=0):
        return {"auroc": None, "average_precision": None, "brier": None}
    return {
        "auroc": float(roc_auc_score(labels, probabilities)),
        "average_precision": float(average_precision_score(labels, probabilities)),
        "brier": float(np.mean((probabilities - labels) ** 2)),
    }


def _model(
    names: tuple[str, ...], home: np.ndarray[Any, Any], several: list[ModelScores]
) -> dict[str, Any]:
    pooled = [_metrics(one) for one in several]
    model: dict[str, Any] = {key: float(np.mean([m[key] for m in pooled])) for key in pooled[0]}
    top = [np.argsort(-one.probabilities)[: int(BUDGET * home.size)] for one in several]
    found = [one.labels[rows].sum() for one, rows in zip(several, top, strict=True)]
    model["recall_at_budget"] = float(np.mean(found) / several[0].labels.sum())
    model["precision_at_budget"] = float(np.mean(found) / top[0].size)
    model["per_institution"] = {
        name: {
            "pooled": pooled[i % len(pooled)],
            "own": _metrics(several[i % len(several)], home == i),
        }
        for i, name in enumerate(names)
    }
    return model


def _released(federated: Mapping[str, Any], units: int, positives: int) -> dict[str, Any]:
    def around(value: float, reach: float) -> dict[str, float]:
        return {"value": value, "low": value - reach, "high": value + reach}

    return {
        "auroc": around(federated["auroc"] + 0.004, 0.012),
        "average_precision": around(federated["average_precision"] - 0.01, 0.03),
        "alert_budget": BUDGET,
        "precision": around(federated["precision_at_budget"], 0.05),
        "recall": around(federated["recall_at_budget"], 0.02),
        "units": around(units + 5.4, 40.0),
        "positives": around(positives - 3.2, 30.0),
        "calibration": [
            {"predicted": 0.05, "observed": 0.06, "low": 0.02, "high": 0.1},
            {"predicted": 0.4, "observed": 0.35, "low": 0.28, "high": 0.43},
        ],
    }


def _shape(random: np.random.Generator, number: int) -> Shape:
    if number % 4 == 3:
        return Shape(
            feature=f"channel_{number}",
            kind="categorical",
            x=["cash", "wire", "card"],
            contribution=random.normal(size=3).tolist(),
            slots={"other": -0.1, "missing": 0.05},
        )
    return Shape(
        feature=f"amount_{number}",
        kind="numeric",
        x=np.expm1(np.linspace(0, 9, 10)).tolist(),
        contribution=random.normal(size=10).tolist(),
        slots={"0": -0.4, "missing": 0.1},
        scale="log1p" if number % 2 else "linear",
    )
