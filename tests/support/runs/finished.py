"""A run that has finished: parameters, what happened in it, and what is delivered."""

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import CARD, ENVELOPE, MODEL, KeptModel, keep_files
from fieldfare.server.run.closing import ComposedDelivery, compose
from fieldfare.shared.finished_model.card_writing import CardFacts
from fieldfare.shared.models import model_for
from fieldfare.shared.protocol.messages import Signer
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study

FINISHED: Final = datetime(2025, 6, 2, 9, 30, tzinfo=UTC)
RUN: Final = "run-1"
METRICS: Final[dict[str, Any]] = {
    **{
        name: {"value": value, "low": value - 0.02, "high": value + 0.01}
        for name, value in (
            ("auroc", 0.88),
            ("average_precision", 0.74),
            ("precision", 0.61),
            ("recall", 0.42),
        )
    },
    "alert_budget": 0.01,
    "units": {"value": 8012.5, "low": 7990.0, "high": 8035.0},
    "positives": {"value": 410.0, "low": 395.0, "high": 425.0},
    "sigma": 3.5,
    "calibration": [
        {"predicted": 0.02, "observed": 0.018, "low": 0.01, "high": 0.03, "units": 7000.0},
        {"predicted": 0.6, "observed": 0.55, "low": 0.4, "high": 0.7, "units": 300.0},
    ],
}


def facts_of(study: Study, **changes: Any) -> CardFacts:
    facts: dict[str, Any] = {
        "run": RUN,
        "roster": "ab" * 32,
        "institutions": 3,
        "steps": study.training.steps,
        "spent": plan_for(study).study_limit // 2,
        "failed_attempts": 1,
        "metrics": METRICS,
        "transcript_size": 42,
        "transcript_root": "cd" * 32,
    }
    return CardFacts(**(facts | changes))


def parameters_of(study: Study, *, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=model_for(study).vectors.entries)


def delivered(
    study: Study, signer: Signer, *, seed: int = 0, at: datetime = FINISHED, **changes: Any
) -> ComposedDelivery:
    """What a coordinator would send; `run="..."` and other facts may be changed."""
    facts = facts_of(study, **changes)
    return compose(plan_for(study), parameters_of(study, seed=seed), facts, signer, at)


def kept_delivery(home: Home, study: Study, signer: Signer) -> KeptModel:
    """Keep a delivery in a home as it came: nobody there has recomputed it."""
    made = delivered(study, signer)
    keep_files(home, study.id, RUN, {ENVELOPE: made.envelope, MODEL: made.model, CARD: made.card})
    return KeptModel(study.id, RUN, home.model(study.id, RUN))
