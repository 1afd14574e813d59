"""What a custodian asks of an institution's units in a run, wherever they are summed."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.id_sketch import NO_IDS, IdSketch
from fieldfare.shared.models.interface import GridVectors
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.release_sums import ReleaseSums
from fieldfare.shared.run.optimizer import local_change, local_step
from fieldfare.shared.study.study import Study


class RunSums(ReleaseSums, ABC):
    """One institution's units, prepared for every release of one study.

    Attributes:
        study: the public plan.
        split: names the key and the share by which units were held out.
        ids: a sketch of the units' ids; of nobody in simulations.
    """

    study: Study
    split: str
    ids: IdSketch = NO_IDS

    @property
    @abstractmethod
    def gradients(self) -> GridVectors:
        """Public facts about a unit's vector of a training step."""

    def local_change(
        self, parameters: NDArray[np.float64], noise: Iterable[NDArray[np.int64]], participants: int
    ) -> NDArray[np.int64]:
        """Return int64 (entries,): how far noised steps move the parameters, in units of gamma.

        Args:
            parameters: float64, where everybody starts.
            noise: for each step int64 (entries,), the institution's full noise for its sum, in
                units of gamma; independent of everything else.
            participants: n, of the request.

        Formal Guarantees:
            Records are read by one clipped sum at each step, and nothing is computed from a sum
            before its own noise is on it. The result is therefore post-processing of as many
            Gaussian releases as there are steps, each chosen after seeing the last
            (Dong-Roth-Su 2019, Cor. 3.3): it costs mu^2 as often as it has steps, whoever else
            colludes. Every entry is within +-16, whatever the records.

        Edge cases:
            | input | result |
            |---|---|
            | no units, one class only | steps on noise, or on one side's sums, like any other |
            | sums and noise beyond int64 | wraps silently (docs/design.md, "Integers") |
            | parameters that end with knots | they do not move, and no change of them leaves |

        Source: as one composition, Abadi et al. 2016; averaging, McMahan et al. 2017.
        """
        bits, entries, after = self.gradients.gamma_bits, self.gradients.entries, parameters
        for drawn in noise:
            noised = self.vector(ReleaseKind.TRAINING, after) + drawn
            total = np.ldexp(noised.astype(np.float64), -bits)
            after = local_step(self.study, after, total, participants)
        return local_change(parameters[:entries], after[:entries], bits)
