"""Made-up units for tests of networks, and an explicit loop over them."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from fieldfare.shared.features.basis import WEIGHT_STEPS, EncodedUnits, UnitTables, encode_numeric
from fieldfare.shared.features.features import NumericFeature
from fieldfare.shared.models.feature_network import MlpModel

FEATURES = tuple(
    NumericFeature(name=f"f{place}", kind="numeric", lower=0, upper=1, knots=(0, 0.25, 0.5, 1))
    for place in range(3)
)


def made_up_units(counts: Sequence[int], rows: int, seed: int) -> EncodedUnits:
    """Units of so many rows each; of one row each where `rows` is 1."""
    random, units = np.random.default_rng(seed), len(counts)
    labels = random.integers(0, 2, units, dtype=np.uint8)
    order = random.integers(0, 2**63, units, dtype=np.uint64) * np.uint64(2)
    size = units if rows == 1 else sum(counts)
    positions = np.stack([encode_numeric(feature, random.random(size)) for feature in FEATURES])
    if rows == 1:
        return EncodedUnits(positions, labels, order=order)
    tables = UnitTables(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), positions)
    return EncodedUnits(np.empty((0, units), np.uint16), labels, order=order, tables=tables)


def dense_rows(model: MlpModel, data: EncodedUnits) -> list[NDArray[np.float64]]:
    """Each unit's rows, (its rows, slots)."""
    positions = data.positions if data.tables is None else data.tables.positions
    folds = model.inputs.basis.folds
    weights = [fold.take(column, axis=0) for fold, column in zip(folds, positions, strict=True)]
    starts = np.arange(len(data) + 1) if data.tables is None else data.tables.starts
    rows = np.concatenate(weights, axis=1) / WEIGHT_STEPS
    return [rows[first:last] for first, last in pairwise(starts.tolist())]


def row_scores(
    model: MlpModel, parameters: torch.Tensor, rows: NDArray[np.float64]
) -> torch.Tensor:
    """As the formulas say it, in float64."""
    last, before, values = model.hidden[-1], rows.shape[1], torch.tensor(rows)
    left = parameters[1 + last :]
    for width in model.hidden:
        weights = left[: width * before].reshape(width, before)
        biases = left[width * before : width * (before + 1)]
        values, left = torch.relu(values @ weights.T + biases), left[width * (before + 1) :]
        before = width
    return values @ parameters[1 : 1 + last] + parameters[0]


def unit_gradients(
    model: MlpModel, parameters: NDArray[np.float64], data: EncodedUnits
) -> list[NDArray[np.float64]]:
    """Each unit's gradient of its mean loss by torch, one by one, in float64."""
    found = []
    for rows, label in zip(dense_rows(model, data), data.labels.tolist(), strict=True):
        whole = torch.tensor(parameters, requires_grad=True)
        if not len(rows):
            found.append(np.zeros(len(parameters)))
            continue
        scores = row_scores(model, whole, rows)
        target = torch.full_like(scores, float(label))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, target)
        loss.backward()  # type: ignore[no-untyped-call]
        if whole.grad is not None:
            found.append(whole.grad.numpy())
    return found


def clipped_sum(
    gradients: Sequence[NDArray[np.float64]], limit: float, size: int
) -> NDArray[np.float64]:
    """Add up what the loop clips, one by one."""
    total = np.zeros(size)
    for gradient in gradients:
        total += gradient * min(1.0, limit / max(float(np.linalg.norm(gradient)), 1e-300))
    return total
