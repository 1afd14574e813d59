"""The rehearsal: masks over zeros, before anything is spent. They cancel, or somebody lied."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.protocol.messages import ReleaseKind, parameters_to_bytes
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.run.kinds.kind import Content, Kind, SummedRelease
from fieldfare.shared.run.replay import possible_starts
from fieldfare.shared.run.results import Results


class Rehearsal(Kind):
    """Binds where training starts, and sums nothing."""

    release: ClassVar = ReleaseKind.REHEARSAL
    missing: ClassVar = "parameters that start at the study's prevalence"
    stops: ClassVar = True

    def leads(self, plan: Plan) -> bool:
        """Whoever masks records wants to see first that the masks cancel."""
        del plan
        return True

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

    def after(self, plan: Plan, results: Results, summed: SummedRelease) -> Results:
        """Masks cancel, and the first step binds the same parameters; or the run is over.

        The hash of zeros is known, so that a remainder shows without the vectors too.
        """
        del plan
        terms = summed.terms
        if summed.words != bytes_hash(bytes(terms.vectors.entries * terms.word_bits.value // 8)):
            return replace(results, remains=True)
        known = None if summed.values is None else results.training
        return replace(results, rehearsed=True, training=known, parameters=results.bound)
