"""The rehearsal: masks over zeros, before anything is spent. They cancel, or keys are wrong."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from fieldfare.shared.protocol.messages import ReleaseKind, parameters_to_bytes
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.run.kinds.kind import Content, Kind, Summed
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.replay import possible_starts
from fieldfare.shared.run.results import Results


class Rehearsal(Kind):
    """Binds where training starts, and sums nothing."""

    release: ClassVar = ReleaseKind.REHEARSAL
    missing: ClassVar = "parameters that start at the study's prevalence"
    stops: ClassVar = True

    def is_due(self, plan: Plan, results: Results) -> bool:
        """Due first, and once."""
        del plan
        return not results.rehearsed

    def contents(self, plan: Plan, results: Results) -> Iterator[Content]:
        """Yield the start, as different machines may round it."""
        known = results.training
        for start in possible_starts(plan.study) if known is None else [known]:
            yield Content.of(
                parameters_to_bytes(start.parameters), replace(results, training=start)
            )

    def after(self, plan: Plan, results: Results, summed: Summed) -> Results:
        """Masks cancel, and the first step binds the same parameters."""
        del plan
        if summed.values is not None and summed.values.any():
            raise MismatchError("masks that cancel in the rehearsal", found="a remainder")
        known = None if summed.values is None else results.training
        return replace(results, rehearsed=True, training=known, parameters=results.bound)
