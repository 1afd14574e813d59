"""Models of others by their names."""

from typing import Final

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.federation.others import Other, Sees
from fieldfare.simulations.strategies.flower import FlowerRun, Named, Wrapper
from fieldfare.simulations.strategies.pooled import Pooled

STRATEGIES: Final = tuple(named.value for named in Named)
WRAPPERS: Final = tuple(wrapper.value for wrapper in Wrapper)
POOLED: Final = tuple(pooled.value for pooled in Pooled)


def other_named(name: str) -> Other:
    """Return the model of others of a name.

    Args:
        name: `logistic`, `boosting` or `dp-ebm`; one of Flower's strategies, and after a `+` one of
            its wrappers for differential privacy.

    Raises:
        UsageError: another name.
    """
    if name in POOLED:
        pooled = Pooled(name)
        promised = "unit" if pooled is Pooled.DP_EBM else ""
        return Other(name, Sees.RECORDS, promised, pooled.epsilon, pooled.fit)
    strategy, plus, wrapper = name.partition("+")
    if strategy not in STRATEGIES or (plus and wrapper not in WRAPPERS):
        raise UsageError(
            f"expected one of {', '.join((*POOLED, *STRATEGIES))}, after a strategy + and one of "
            f"{', '.join(WRAPPERS)} if you like, found {name!r}"
        )
    run = FlowerRun(Named(strategy), Wrapper(wrapper) if plus else None)
    promised = "institution" if plus else ""
    return Other(name, Sees.UPDATES, promised, lambda g: run.epsilon(g.trainer), run.scorer)
