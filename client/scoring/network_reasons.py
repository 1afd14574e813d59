"""Scores of a network over features, and reasons that add up to them to the last bit.

A reason is an integrated gradient (Sundararajan, Taly, Yan 2017; Captum): the part that a feature
adds on the straight line from the average unit of this institution to the unit. In theory such
parts add up to the difference of the two scores; in arithmetic a small gap is left. Where it is
small it is shared out in proportion to the parts, so that base and reasons are the score exactly;
where it is not, no reason is given.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray

from fieldfare.client.scoring.reasons import on_grid
from fieldfare.shared.errors import RunError
from fieldfare.shared.features.basis import WEIGHT_STEPS, EncodedUnits
from fieldfare.shared.models.custom_module import ModuleModel
from fieldfare.shared.models.dense_layers import one_thread
from fieldfare.shared.models.feature_network import MlpModel
from fieldfare.shared.models.unit_batches import average_row, rows_at

STEPS: Final = (64, 512, 4096)  # of the way; the next number where the one before leaves a gap
METHOD: Final = "riemann_middle"  # slopes jump: no finer rule gains, and its points cost nothing
SMALL_GAP: Final = 0.01  # log-odds: nobody reads more of a reason
LARGEST_GAP: Final = 0.05  # log-odds: a quarter of what counts as evidence (evidence.py)
BATCH: Final = 4096  # rows at a time

Values = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class ExactNetwork:
    """A network over one institution's units.

    Attributes:
        model: its shape.
        parameters: float64 (entries,).
        average: float64 (width,), the mean row of the institution's units.
        base: the average row's score, on the grid.
        shown: the units that are ranked.
        found: float64 (units,), their scores, on the grid.
    """

    model: MlpModel | ModuleModel
    parameters: Values
    average: Values
    base: float
    shown: EncodedUnits
    found: Values

    @classmethod
    def of(
        cls,
        model: MlpModel | ModuleModel,
        parameters: Values,
        units: EncodedUnits,
        shown: NDArray[np.bool_],
    ) -> Self:
        """Prepare.

        Args:
            model: its shape.
            parameters: float64 (entries,).
            units: all units, whose mean is the reference; without units it is a row of zeros.
            shown: bool (units,), which of them are ranked.
        """
        average = average_row(model.inputs, units)
        base = model.row_scores(parameters, torch.from_numpy(average)[None, :]).detach().numpy()
        scores = on_grid(model.scores(parameters, units))[shown]
        base_on_grid = float(on_grid(base)[0])
        return cls(model, parameters, average, base_on_grid, units.select(shown), scores)

    def scores(self) -> Values:
        """Return float64 (units,): log-odds."""
        return self.found

    @cached_property
    def _gradients(self) -> IntegratedGradients:
        return IntegratedGradients(lambda rows: self.model.row_scores(self.parameters, rows))

    def contributions(self, places: Places) -> Values:
        """Return float64 (places, features): the part of each feature in the score, in log-odds.

        Args:
            places: int64, of units that are ranked.

        Raises:
            RunError: the parts do not add up to a score within 0.05 log-odds.
        """
        wanted = self.found[places] - self.base
        if not len(places):
            return np.zeros((0, len(self.model.features)))
        found = np.zeros((len(places), len(self.model.features)))
        left = np.arange(len(places))
        for steps in STEPS:
            found[left] = self._integrated(places[left], steps)
            gaps = np.abs(wanted - found.sum(axis=1))
            left = np.flatnonzero(gaps > SMALL_GAP)
            if not len(left):
                break
        if len(left) and gaps.max() > LARGEST_GAP:
            raise RunError(
                f"expected reasons that add up to their score within {LARGEST_GAP:g} log-odds, "
                f"found a gap of {gaps.max():.2g}: this network bends too sharply to be explained"
            )
        return _added_up(found, wanted)

    @one_thread()
    def _integrated(self, places: Places, steps: int) -> Values:
        rows, counts = rows_at(self.model.inputs, self.shown, places)
        inputs = torch.from_numpy(rows.astype(np.float64) / WEIGHT_STEPS)
        baseline = torch.from_numpy(self.average)[None, :].expand_as(inputs)
        parts = (
            self._gradients.attribute(
                inputs,
                baselines=baseline,
                n_steps=steps,
                method=METHOD,
                internal_batch_size=max(BATCH, len(inputs)),
            )
            .detach()
            .numpy()
        )
        slices = self.model.inputs.basis.slices()
        features = np.stack(
            [parts[:, part.start - 1 : part.stop - 1].sum(axis=1) for part in slices], axis=1
        )
        owners = np.repeat(np.arange(len(places)), counts)
        found = np.zeros((len(places), len(slices)))
        np.add.at(found, owners, features / counts[owners][:, None])
        return found


def _added_up(parts: Values, wanted: Values) -> Values:
    """Return parts on the grid that add up to `wanted` exactly; gaps go where the parts are."""
    sizes = np.abs(parts)
    total = sizes.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, sizes / np.where(total > 0, total, 1.0), 1.0 / parts.shape[1])
    found = on_grid(parts + shares * (wanted - parts.sum(axis=1))[:, None])
    largest = (np.arange(len(parts)), sizes.argmax(axis=1))
    found[largest] += wanted - found.sum(axis=1)  # some steps of the grid, exact
    return found
