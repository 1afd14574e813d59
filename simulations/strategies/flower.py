"""Flower's strategies by name, and its wrappers for differential privacy, over the same units.

Unmodified strategies conduct ClientApps over the Grid in memory. In each round an institution
begins at the model that came, takes steps of the study's optimizer on its own training units, and
sends the model that it reached. **Whoever adds up sees every update**: there are no masks, no
ledger and no door here, so a study cannot name any of this (docs/design.md, "The door").

What Flower's wrappers promise is of a whole institution, and holds for averages of equal weight
only: noise is set for a mean that one institution moves by at most C / n.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import adaptiveclipping_mod, fixedclipping_mod
from flwr.serverapp import Grid
from flwr.serverapp.strategy import (
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
    FedMedian,
    FedProx,
    Krum,
    Strategy,
)
from numpy.typing import NDArray

from fieldfare.shared.errors import RunError
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.run.optimizer import TrainingState, next_state
from fieldfare.shared.terminal.stderr import without_log
from fieldfare.simulations.federation.baselines import Trainer
from fieldfare.simulations.federation.federation import FIRST_NODE
from fieldfare.simulations.federation.grid import InProcessGrid
from fieldfare.simulations.federation.others import Scorer, TrainingInputs

STEPS_A_ROUND: Final = 10
PROXIMAL: Final = 0.001  # FedProx's mu, on the mean loss, whose curvature is about the prevalence
SERVER_RATE: Final = 0.1  # FedAdam's eta, Flower's default
NOISE: Final = 1.0  # noise multiplier z of the wrappers
CLIP: Final = 1.0  # C: how far an institution's update may reach (L2)
_SEED_STREAM: Final = 21

Vector = NDArray[np.float64]


class FlowerStrategy(Enum):
    """Flower's strategies, as they are named on the command line."""

    FEDAVG = "fedavg"
    FEDPROX = "fedprox"
    FEDADAM = "fedadam"
    FEDMEDIAN = "fedmedian"
    KRUM = "krum"

    @property
    def averages(self) -> bool:
        """True where what follows from a round is the plain weighted mean of its updates."""
        return self in (FlowerStrategy.FEDAVG, FlowerStrategy.FEDPROX)


class Wrapper(Enum):
    """Flower's wrappers for differential privacy: who clips, and whether the norm adapts."""

    SERVER_FIXED = "server-fixed"
    CLIENT_FIXED = "client-fixed"
    SERVER_ADAPTIVE = "server-adaptive"
    CLIENT_ADAPTIVE = "client-adaptive"


@dataclass(frozen=True)
class FlowerRun:
    """One of Flower's strategies, and a wrapper around it or none.

    Attributes:
        named: the strategy.
        wrapper: None: without any privacy.
        steps_a_round: of the study's optimizer, inside an institution.
    """

    named: FlowerStrategy
    wrapper: Wrapper | None = None
    steps_a_round: int = STEPS_A_ROUND

    @property
    def name(self) -> str:
        """What it is called: `fedavg`, `fedavg+client-fixed`."""
        return self.named.value + (f"+{self.wrapper.value}" if self.wrapper else "")

    def rounds(self, trainer: Trainer) -> int:
        """Return how many: institutions take as many steps as the study's training has."""
        return max(1, round(trainer.plan.study.training.steps / self.steps_a_round))

    def epsilon(self, trainer: Trainer) -> float:
        """Return what adding or removing a whole *institution* costs, at the study's delta.

        *Formal Guarantees*: a mean of equal weights that one institution moves by at most C / n,
        with noise z C / n on it, is mu = 1 / z (Dong et al. 2022, theorem 2.7); R rounds compose to
        mu^2 = R / z^2 (corollary 3.3). Flower draws floats from a generator that is no secret, so
        this is what the plan costs, and no deployment may claim it.

        | Edge case | Result |
        |---|---|
        | no wrapper | infinite |
        | a strategy that is no mean | infinite: the noise was set for a mean |
        """
        if self.wrapper is None or not self.named.averages:
            return math.inf
        delta = trainer.plan.study.privacy.delta
        return epsilon_for(delta=delta, mu2=self.rounds(trainer) / NOISE**2)

    def scorer(self, given: TrainingInputs) -> Scorer:
        """Return what scores by the model that the strategy comes to.

        Raises:
            RunError: as `train`.
        """
        model, reached = model_for(given.trainer.plan.study), self.train(given.trainer)
        return lambda units: model.scores(reached, units)

    def train(self, trainer: Trainer) -> Vector:
        """Return the model, float64 (entries,), that the strategy comes to.

        Args:
            trainer: training units by institution, steps and start; its seed is that of noise.

        Raises:
            RunError: Flower gave up, or an institution could not answer.
        """
        start = trainer.start.parameters
        clients = _Clients(trainer, self, len(trainer.sums))
        nodes = {name: FIRST_NODE + place for place, name in enumerate(sorted(trainer.sums))}
        grid = _InOrder(clients.app(), nodes)
        with _seeded(trainer.seed), without_log("flwr"):  # of each round
            reached = _conducted(self, grid, start, self.rounds(trainer), len(nodes))
        return trainer.delivered(TrainingState.start(reached))


def _conducted(run: FlowerRun, grid: Grid, start: Vector, rounds: int, nodes: int) -> Vector:
    strategy = _strategy(run, nodes)
    try:
        result = strategy.start(grid, ArrayRecord([start]), num_rounds=rounds)
    except ZeroDivisionError:  # flwr 1.42 divides by the norm of an update
        raise RunError(
            f"{run.name}: expected an update of every institution, found one that moved nothing, "
            "by whose norm Flower divides: leave out institutions without units"
        ) from None
    done = len(result.train_metrics_clientapp)
    if done != rounds or not result.arrays:
        raise RunError(f"{run.name}: expected {rounds} rounds, found that {done} came to an end")
    return np.asarray(result.arrays.to_numpy_ndarrays()[0], dtype=np.float64)


def _strategy(run: FlowerRun, nodes: int) -> Strategy:
    """Return Flower's own object, over all institutions in each round, without evaluation."""
    terms: dict[str, Any] = {
        "fraction_evaluate": 0.0,
        "min_train_nodes": nodes,
        "min_available_nodes": nodes,
    }
    made: Mapping[FlowerStrategy, Callable[[], Strategy]] = {
        FlowerStrategy.FEDAVG: lambda: FedAvg(**terms),
        FlowerStrategy.FEDPROX: lambda: FedProx(proximal_mu=PROXIMAL, **terms),
        FlowerStrategy.FEDADAM: lambda: FedAdam(eta=SERVER_RATE, **terms),
        FlowerStrategy.FEDMEDIAN: lambda: FedMedian(**terms),
        # Blanchard et al. 2017, proposition 4.2: n >= 2 f + 3.
        FlowerStrategy.KRUM: lambda: Krum(num_malicious_nodes=max(0, (nodes - 3) // 2), **terms),
    }
    inner = made[run.named]()
    # Andrew et al. 2021, theorem 1: noise on the count of clipped updates takes a share of z.
    adapting = {"initial_clipping_norm": CLIP, "clipped_count_stddev": max(nodes / 20, NOISE)}
    wrapped: Mapping[Wrapper | None, Callable[[], Strategy]] = {
        None: lambda: inner,
        Wrapper.SERVER_FIXED: lambda: DifferentialPrivacyServerSideFixedClipping(
            inner, NOISE, CLIP, nodes
        ),
        Wrapper.CLIENT_FIXED: lambda: DifferentialPrivacyClientSideFixedClipping(
            inner, NOISE, CLIP, nodes
        ),
        Wrapper.SERVER_ADAPTIVE: lambda: DifferentialPrivacyServerSideAdaptiveClipping(
            inner, NOISE, nodes, **adapting
        ),
        Wrapper.CLIENT_ADAPTIVE: lambda: DifferentialPrivacyClientSideAdaptiveClipping(
            inner, NOISE, nodes, **adapting
        ),
    }
    return wrapped[run.wrapper]()


MODS: Final[Mapping[Wrapper | None, list[Any]]] = {
    Wrapper.CLIENT_FIXED: [fixedclipping_mod],
    Wrapper.CLIENT_ADAPTIVE: [adaptiveclipping_mod],
}


@dataclass(frozen=True)
class _Clients:
    """All institutions of a run, as one ClientApp that is asked on behalf of each."""

    trainer: Trainer
    run: FlowerRun
    institutions: int

    def app(self) -> ClientApp:
        """Return the app that Flower calls at each institution."""
        app = ClientApp(mods=list(MODS.get(self.run.wrapper, [])))
        app.train()(self._trained)
        return app

    def _trained(self, message: Message, context: Context) -> Message:
        name = str(context.node_config["institution"])
        arrays, config = (message.content[key] for key in ("arrays", "config"))
        if not isinstance(arrays, ArrayRecord) or not isinstance(config, ConfigRecord):
            raise RunError("expected arrays and a configuration of Flower's strategy, found others")
        begin, pull = arrays.to_numpy_ndarrays()[0], config.get("proximal-mu", 0.0)
        reached = self._stepped(name, begin, float(str(pull)))
        # Of equal weight where noise was set for a mean of equal weights.
        weight = 1 if self.run.wrapper else max(1, self.trainer.units[name])
        metrics = MetricRecord({"num-examples": weight})
        content = RecordDict({"arrays": ArrayRecord([reached]), "metrics": metrics})
        return Message(content, reply_to=message)

    def _stepped(self, name: str, begin: Vector, pull: float) -> Vector:
        """Take steps on the mean loss of own units, drawn to where they began by `pull`."""
        gradient, plan = self.trainer.own_gradient(name), self.trainer.plan
        state = TrainingState.start(begin)
        for _ in range(self.run.steps_a_round):
            slope = gradient(state.parameters)
            moved = (state.parameters - begin)[: len(slope)]
            state = next_state(plan, state, slope + pull * plan.study.training_units * moved)
        return state.parameters


class _InOrder(InProcessGrid):
    """Hands messages over by institution: Flower shuffles them, and float sums would differ."""

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        return super().push_messages(sorted(messages, key=lambda one: one.metadata.dst_node_id))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Let Flower draw its noise from a stream of its own; it asks numpy's global generator."""
    kept = np.random.normal
    np.random.normal = np.random.default_rng([seed, _SEED_STREAM]).normal
    try:
        yield
    finally:
        np.random.normal = kept
