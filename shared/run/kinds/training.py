"""Training: each step's sum moves the parameters, which the next request binds."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.run.kinds.kind import Content, Kind, SummedRelease
from fieldfare.shared.run.kinds.moments import start_contents
from fieldfare.shared.run.mismatch import expect
from fieldfare.shared.run.replay import state_hash, stepped
from fieldfare.shared.run.results import UNKNOWN, Results
from fieldfare.shared.transcript.leaves import ParametersRecord, UnsignedLeaf


class Training(Kind):
    """A step of Adam on the sum of gradients, or in local mode the average of changes."""

    release: ClassVar = ReleaseKind.TRAINING
    record: ClassVar = ParametersRecord
    missing: ClassVar = "parameters that start at the knots that were answered"
    stops: ClassVar = True

    def leads(self, plan: Plan) -> bool:
        """The next parameters follow from it."""
        del plan
        return True

    def is_due(self, plan: Plan, results: Results) -> bool:
        """Due until the study's steps are taken."""
        return results.steps < plan.training.steps

    def step(self, plan: Plan, results: Results) -> int:
        """Return the position of the next step."""
        return plan.training.first_step + results.steps

    def contents(self, plan: Plan, results: Results) -> Iterator[Content]:
        """Yield the parameters that follow; at the start on knots, as machines may round it."""
        yield from start_contents(plan, results)

    def geometry(self, plan: Plan, results: Results) -> str:
        """Return the hash of the coordinates that the study trains in."""
        del plan
        return "" if results.geometry is None else results.geometry.hash

    def after(self, plan: Plan, results: Results, summed: SummedRelease) -> Results:
        """Take the step."""
        steps, state = results.steps + 1, results.training
        if summed.values is None or state is None:
            return replace(results, steps=steps, training=None, parameters=UNKNOWN)
        state = stepped(plan, state, summed.values, summed.participants, results.geometry)
        return replace(results, steps=steps, training=state, parameters=state_hash(state))

    def write(
        self, plan: Plan, results: Results, summed: SummedRelease, words: bytes
    ) -> UnsignedLeaf:
        """Write down the parameters after the step."""
        del plan, summed, words
        return ParametersRecord(step=results.steps, parameters=results.parameters)

    def read(self, plan: Plan, results: Results, summed: SummedRelease, content: bytes) -> Results:
        """Compare the parameters after the step; believe them where the sum was deleted."""
        del plan, summed
        record = ParametersRecord.from_bytes(content)
        expect("the parameters after step", results.steps, record.step)
        if results.parameters != UNKNOWN:
            follow = "the parameters that follow from the sum"
            expect(follow, results.parameters, record.parameters)
        return replace(results, parameters=record.parameters)
