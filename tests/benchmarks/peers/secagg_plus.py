"""Flower's SecAgg+ at its best: its own workflow and mod over the Grid in memory, one process.

No network, no Ray, no other process: what is timed is its four stages and its arithmetic.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, Final

import numpy as np
from flwr.app import Context, Message, RecordDict
from flwr.client import Client, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import ndarrays_to_parameters
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_PARAMS_RECORD
from numpy.typing import NDArray
from tests.benchmarks.peers.environments import Spent
from tests.benchmarks.peers.ours import between, now

from fieldfare.simulations.federation.federation import FIRST_NODE
from fieldfare.simulations.federation.grid import InProcessGrid

CLIPPING: Final = 8.0  # of each entry, Flower's default
CLOSE: Final = 1e-2  # what quantization may cost


class Held(NumPyClient):
    """An institution that holds a vector."""

    def __init__(self, vector: NDArray[np.float64]) -> None:
        """Take the vector."""
        self._vector = vector

    def fit(self, parameters: Any, config: Any) -> tuple[list[NDArray[np.float64]], int, Any]:
        """Send it; every institution counts one."""
        del parameters, config
        return [self._vector], 1, {}


class Remembering(InProcessGrid):
    """The Grid in memory, with what Flower's stages leave in an institution's context kept."""

    _contexts: ClassVar[dict[int, Context]] = {}

    @property
    def run(self) -> Any:
        """The run, of which Flower asks the number."""
        return SimpleNamespace(run_id=self._run_id)

    def _call(self, message: Message, context: Context) -> Message:
        kept = self._contexts.setdefault(context.node_id, context)
        return super()._call(message, kept)


def secagg_plus(vectors: Sequence[NDArray[np.float64]]) -> Spent:
    """Return what one secure mean of all vectors took, masks between all pairs.

    Args:
        vectors: float64 (entries,) of each institution, within +-8.

    Raises:
        ValueError: another mean came out.
    """
    names = {f"bank-{place:03d}": FIRST_NODE + place for place in range(len(vectors))}
    held = dict(zip(names, vectors, strict=True))

    def client(context: Context) -> Client:
        return Held(held[str(context.node_config["institution"])]).to_client()

    app = ClientApp(client_fn=client, mods=[secaggplus_mod])
    count = len(vectors)
    strategy = FedAvg(
        fraction_evaluate=0.0,
        min_fit_clients=count,
        min_available_clients=count,
        initial_parameters=ndarrays_to_parameters([np.zeros_like(vectors[0])]),
    )
    context = LegacyContext(
        Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={}),
        config=ServerConfig(num_rounds=1),
        strategy=strategy,
    )
    workflow = DefaultWorkflow(
        fit_workflow=SecAggPlusWorkflow(
            num_shares=1.0, reconstruction_threshold=1.0, clipping_range=CLIPPING
        )
    )
    began = now()
    Remembering._contexts.clear()
    workflow(Remembering(app, names), context)
    (spent,) = between([began, now()])
    found = context.state.array_records[MAIN_PARAMS_RECORD].to_numpy_ndarrays()[0]
    if float(np.abs(found - np.mean(vectors, axis=0)).max()) > CLOSE:
        raise ValueError("expected the mean of all vectors, found another")
    return spent
