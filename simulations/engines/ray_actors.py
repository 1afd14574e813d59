"""Groups of institutions as actors of Ray, each adding up its own: whole numbers, in any order."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.ring import add
from fieldfare.simulations.engines.cluster import cluster, loaded_ray
from fieldfare.simulations.engines.one_pass import (
    AskedRelease,
    InstitutionUnits,
    OnePass,
    PooledSum,
)


class RayGroups:
    """Institutions in groups, each in a process of Ray."""

    def __init__(self, plan: Plan, institutions: Sequence[InstitutionUnits], groups: int) -> None:
        """Start an actor for each group; Ray runs already."""
        self._plan, ray = plan, loaded_ray()
        actor = ray.remote(OnePass)
        parts = [institutions[first::groups] for first in range(groups)]
        self._actors: list[Any] = [actor.remote(plan, part) for part in parts if part]

    def summed(self, asked: AskedRelease) -> PooledSum:
        """Return everybody's sum and noise, added up.

        Raises:
            FieldfareError: that a group raised.
        """
        ray = loaded_ray()
        try:
            found = ray.get([actor.summed.remote(asked) for actor in self._actors])
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        bits, words, exact = self._plan.terms(asked.kind).word_bits, found[0].words, found[0].exact
        for one in found[1:]:
            words = add(words, one.words, bits)
            exact = np.add(exact, one.exact)
        return PooledSum(words, exact)


@contextmanager
def grouped(
    plan: Plan,
    institutions: Sequence[InstitutionUnits],
    *,
    address: str | None = None,
    workers: int | None = None,
) -> Iterator[RayGroups]:
    """Start a group for each core of a cluster, for as long as a run lasts.

    Args:
        plan: of the study.
        institutions: of the simulation.
        address: HOST:PORT of a cluster that runs; None: one is started on this machine alone.
        workers: cores, where it is started here; None: all.

    Raises:
        UsageError: Ray is not installed, or the cluster is not there.
    """
    with cluster(address, workers) as cores:
        yield RayGroups(plan, institutions, cores)
