"""Models of all records in one place, as others make them: scikit-learn's, and interpret's DP-EBM.

They learn from the training units of all institutions and are measured on the same hold-out.
Their maker **sees every record**; the two of scikit-learn promise nothing. DP-EBM keeps its own
accounts, at the study's epsilon and delta, for one unit in one place. Settings are the libraries'
own but for seeds.
"""

import math
import warnings
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fieldfare.client.own_model.own_fits import SumFits
from fieldfare.client.own_model.own_grid import own_grid
from fieldfare.client.own_model.stack import is_stackable
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits, concatenate, table_size
from fieldfare.shared.features.features import NumericFeature
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.others import Scorer, TrainingInputs

LEAST_CHANCE = 1e-12  # log-odds of a chance of 0 would be infinite

Vector = NDArray[np.float64]


class PooledModel(Enum):
    """Models of one pool, as they are named on the command line."""

    LOGISTIC = "logistic"
    BOOSTING = "boosting"
    DP_EBM = "dp-ebm"

    def epsilon(self, given: TrainingInputs) -> float:
        """Return the study's epsilon where the library accounts for it itself, else infinity."""
        return given.trainer.plan.study.privacy.epsilon if self is PooledModel.DP_EBM else math.inf

    def fit(self, given: TrainingInputs) -> Scorer:
        """Return the model of all training units in one place.

        Raises:
            UsageError: the study is of something that the library does not read, units lack a
                class, or interpret-core is not installed.
        """
        study, data = given.trainer.plan.study, concatenate(list(given.training.values()))
        if not 0 < int(data.labels.sum()) < len(data):
            raise UsageError(f"{self.value}: expected training units of both classes, found one")
        if self is PooledModel.LOGISTIC:
            return _logistic(given, data)
        if study.rows is not None or not study.features:
            raise UsageError(f"{self.value}: expected a study of features, found another")
        if self is PooledModel.BOOSTING:
            made = HistGradientBoostingClassifier(random_state=_seed(given))
            return _fitted(made, data)
        return _fitted(_dp_ebm(study, _seed(given)), data)


def _log_odds(found: Vector) -> Vector:
    kept = np.clip(found, LEAST_CHANCE, 1 - LEAST_CHANCE)
    return np.asarray(np.log(kept) - np.log1p(-kept), dtype=np.float64)


def _columns(data: EncodedUnits) -> Vector:
    return np.ascontiguousarray(data.positions.T, dtype=np.float64)


def _seed(given: TrainingInputs) -> int:
    return given.trainer.seed % 2**31


def _logistic(given: TrainingInputs, data: EncodedUnits) -> Scorer:
    study = given.trainer.plan.study
    if not is_stackable(study):
        raise UsageError("logistic: expected a study of features, texts or vectors, found another")
    fits = SumFits(study, own_grid(), given.trainer.start.parameters)
    made = LogisticRegression(max_iter=1000)
    with threadpool_limits(1):
        made.fit(fits.inputs(data), data.labels)
    return lambda units: np.asarray(made.decision_function(fits.inputs(units)), dtype=np.float64)


def _fitted(made: Any, data: EncodedUnits) -> Scorer:
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # interpret warns that a seed is no secret: results say so
        made.fit(_columns(data), data.labels)
    return lambda units: _log_odds(made.predict_proba(_columns(units))[:, 1])


def _dp_ebm(study: Study, seed: int) -> Any:
    """Return interpret's own object, told the public bounds of every feature.

    Raises:
        UsageError: interpret-core is not installed.
    """
    try:
        # An optional library.
        from interpret.privacy import DPExplainableBoostingClassifier  # noqa: PLC0415
    except ModuleNotFoundError:
        raise UsageError(
            "dp-ebm: expected interpret-core, found none here: pip install 'fieldfare[peers]'"
        ) from None
    features = study.features
    kinds = ["continuous" if isinstance(f, NumericFeature) else "nominal" for f in features]
    bounds = {place: (0.0, float(table_size(f) - 1)) for place, f in enumerate(features)}
    return DPExplainableBoostingClassifier(
        feature_types=kinds,
        privacy_bounds=bounds,
        epsilon=study.privacy.epsilon,
        delta=study.privacy.delta,
        random_state=seed,
        n_jobs=1,
    )
