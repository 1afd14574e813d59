"""Models of others by their names."""

from typing import Final

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.federation.others import MakerSight, OtherModel
from fieldfare.simulations.strategies.flower import FlowerRun, FlowerStrategy, Wrapper
from fieldfare.simulations.strategies.pooled import PooledModel

STRATEGIES: Final = tuple(named.value for named in FlowerStrategy)
WRAPPERS: Final = tuple(wrapper.value for wrapper in Wrapper)
POOLED: Final = tuple(pooled.value for pooled in PooledModel)


def other_named(name: str) -> OtherModel:
    """Return the model of others of a name.

    Args:
        name: `logistic`, `boosting` or `dp-ebm`; one of Flower's strategies, and after a `+` one of
            its wrappers for differential privacy.

    Raises:
        UsageError: another name.
    """
    if name in POOLED:
        pooled = PooledModel(name)
        promised = "unit" if pooled is PooledModel.DP_EBM else ""
        return OtherModel(name, MakerSight.RECORDS, promised, pooled.epsilon, pooled.fit)
    strategy, plus, wrapper = name.partition("+")
    if strategy not in STRATEGIES or (plus and wrapper not in WRAPPERS):
        raise UsageError(
            f"expected one of {', '.join((*POOLED, *STRATEGIES))}, after a strategy + and one of "
            f"{', '.join(WRAPPERS)} if you like, found {name!r}"
        )
    run = FlowerRun(FlowerStrategy(strategy), Wrapper(wrapper) if plus else None)
    promised = "institution" if plus else ""
    return OtherModel(
        name, MakerSight.UPDATES, promised, lambda g: run.epsilon(g.trainer), run.scorer
    )
