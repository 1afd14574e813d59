"""Actors of Ray that add up: groups of institutions, or parts of all units where these are few.

Whole numbers, in any order: the same words either way.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fieldfare.client.sums.partitions import AskedSum, InOneProcess, Whole, added_up
from fieldfare.client.sums.spilled import PartUnits
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.ring import add
from fieldfare.shared.study.study import Study
from fieldfare.simulations.engines.cluster import cluster, loaded_ray
from fieldfare.simulations.engines.conducting import Members
from fieldfare.simulations.engines.one_pass import (
    AskedRelease,
    InstitutionUnits,
    OnePass,
    PooledSum,
    joined,
    sums_join,
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
        found = _answers([actor.summed.remote(asked) for actor in self._actors])
        bits, words, exact = self._plan.terms(asked.kind).word_bits, found[0].words, found[0].exact
        for one in found[1:]:
            words = add(words, one.words, bits)
            exact = np.add(exact, one.exact)
        return PooledSum(words, exact)


class RayPartitions:
    """Parts of units, each in a process of Ray."""

    def __init__(self, study: Study, parts: Sequence[PartUnits]) -> None:
        """Start an actor for each part; Ray runs already."""
        actor = loaded_ray().remote(InOneProcess)
        self._actors: list[Any] = [actor.remote(study, [part]) for part in parts]

    def added(self, asked: AskedSum) -> Whole:
        """Return the sum over all parts.

        Raises:
            FieldfareError: that a part raised.
        """
        return added_up(_answers([actor.added.remote(asked) for actor in self._actors]))


def _answers(asked: Sequence[Any]) -> list[Any]:
    """Wait for what actors were asked."""
    ray = loaded_ray()
    try:
        return list(ray.get(list(asked)))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


@contextmanager
def grouped(
    plan: Plan,
    institutions: Sequence[InstitutionUnits],
    *,
    address: str | None = None,
    workers: int | None = None,
) -> Iterator[Members]:
    """Start a group for each core of a cluster, for as long as a run lasts.

    Where there are more cores than institutions, units are shared among the cores instead.

    Args:
        plan: of the study.
        institutions: of the simulation.
        address: HOST:PORT of a cluster that runs; None: one is started on this machine alone.
        workers: cores, where it is started here; None: all.

    Raises:
        UsageError: Ray is not installed, or the cluster is not there.
    """
    with cluster(address, workers) as cores:
        study = plan.study
        if len(institutions) < cores and sums_join(study) and not plan.training.local_steps:
            parts = joined(study, institutions).cut(study, 1 << (cores - 1).bit_length())
            yield OnePass(plan, institutions, RayPartitions(study, parts))
        else:
            yield RayGroups(plan, institutions, cores)
