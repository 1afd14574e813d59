"""Moments: how features go together, once, before training; its coordinates follow from them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from fieldfare.shared.protocol.messages import ReleaseKind, parameters_to_bytes
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.run.coordinates import geometry_of
from fieldfare.shared.run.kinds.kind import Content, Kind, SummedRelease, values_in
from fieldfare.shared.run.replay import possible_starts
from fieldfare.shared.run.results import Results
from fieldfare.shared.transcript.leaves import MomentsRecord, UnsignedLeaf


class Moments(Kind):
    """Binds where training starts, with the knots that moments are taken on."""

    release: ClassVar = ReleaseKind.MOMENTS
    record: ClassVar = MomentsRecord
    missing: ClassVar = "parameters that start at the knots that were answered"
    stops: ClassVar = True

    def leads(self, plan: Plan) -> bool:
        """The first step's coordinates follow from it."""
        del plan
        return True

    def is_due(self, plan: Plan, results: Results) -> bool:
        """Due once, where the study trains in other coordinates."""
        return plan.study.geometry is not None and results.geometry is None

    def contents(self, plan: Plan, results: Results) -> Iterator[Content]:
        """Yield where training starts, as machines may round it."""
        yield from start_contents(plan, results)

    def write(
        self, plan: Plan, results: Results, summed: SummedRelease, words: bytes
    ) -> UnsignedLeaf:
        """Write the sum down for everybody to read, and for good."""
        del plan, results, summed
        return MomentsRecord.of(words)

    def read(self, plan: Plan, results: Results, summed: SummedRelease, content: bytes) -> Results:
        """Check the words, and keep the coordinates that follow from them."""
        values = values_in(MomentsRecord.from_bytes(content).content, summed)
        return replace(results, geometry=geometry_of(plan, values, summed.participants))


def start_contents(plan: Plan, results: Results) -> Iterator[Content]:
    """Yield the parameters that training starts at, or stands at, as machines may round them."""
    if results.training is not None:
        yield Content.of(parameters_to_bytes(results.training.parameters), results)
    elif results.parameters:
        yield Content(results.parameters, results)
    elif not results.steps:
        answer = results.answers[0].values if results.answers else None
        for start in possible_starts(plan.study, answer):
            bound = replace(results, training=start)
            yield Content.of(parameters_to_bytes(start.parameters), bound)
