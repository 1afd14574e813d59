"""Wall and processor seconds of rounds of pfl-research.

python pfl_rounds.py INSTITUTIONS ENTRIES ROUNDS
"""

import json
import sys
import time
from typing import Any

import numpy as np
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import FederatedAlgorithm
from pfl.common_types import Population
from pfl.context import CentralContext
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.metrics import Metrics
from pfl.model.base import Model
from pfl.stats import MappedVectorStatistics


class Vector(Model):
    """A vector that is replaced by the mean of what came."""

    def __init__(self, entries: int) -> None:
        self.values = np.zeros(entries, dtype=np.float32)

    def apply_model_update(self, statistics: Any) -> Any:
        self.values = statistics["values"]
        return self, Metrics()


class Echo(FederatedAlgorithm):
    """Each institution sends back what came."""

    def get_next_central_contexts(self, *_: Any) -> Any:
        raise NotImplementedError

    def process_aggregated_statistics(
        self, _context: Any, _metrics: Any, model: Any, statistics: Any
    ) -> Any:
        statistics.average()
        return model.apply_model_update(statistics)

    def simulate_one_user(self, model: Any, _dataset: Any, _context: Any) -> Any:
        return MappedVectorStatistics({"values": model.values + 1.0}, weight=1.0), Metrics()


def main(institutions: int, entries: int, rounds: int) -> list[tuple[float, float]]:
    sampler = get_user_sampler("minimize_reuse", list(range(institutions)))
    data = FederatedDataset(lambda user: Dataset([np.zeros(1)], user_id=str(user)), sampler)
    backend, algorithm, model = SimulatedBackend(data, data), Echo(), Vector(entries)
    found = []
    for number in range(rounds):
        began = time.perf_counter(), time.process_time()
        context = CentralContext(number, False, institutions, Population.TRAIN, None, None, seed=0)
        statistics, metrics = backend.gather_results(model, algorithm, central_context=context)
        algorithm.process_aggregated_statistics(context, metrics, model, statistics)
        found.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    if abs(float(model.values[0]) - rounds) > 1e-3:
        raise SystemExit(f"expected {rounds}, found {model.values[0]}")
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*(int(part) for part in sys.argv[1:4]))) + "\n")
