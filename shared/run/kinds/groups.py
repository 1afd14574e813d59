"""Counts by group: alerts among hold-out units, from a threshold that the table gives."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from fieldfare.shared.evaluation.groups import read_fairness
from fieldfare.shared.evaluation.score_table import thresholds_near, with_threshold
from fieldfare.shared.protocol.messages import ReleaseKind, parameters_to_bytes
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.run.kinds.kind import Content, Kind, SummedRelease, values_in
from fieldfare.shared.run.mismatch import MismatchError, expect
from fieldfare.shared.run.results import GroupsSum, Results
from fieldfare.shared.transcript.leaves import FairnessRecord, UnsignedLeaf


class Groups(Kind):
    """Binds the model and the threshold of an alert."""

    release: ClassVar = ReleaseKind.FAIRNESS
    record: ClassVar = FairnessRecord
    missing: ClassVar = "the model and the threshold that follows from its table"

    def is_due(self, plan: Plan, results: Results) -> bool:
        """Due once, where the study names groups."""
        return bool(plan.study.groups) and results.groups is None

    def contents(self, plan: Plan, results: Results) -> Iterator[Content]:
        """Yield the model with the threshold of its table, and with neighbours of that."""
        model, table, known = results.plain_model, results.table, results.threshold
        if model is None or table is None:
            return
        for place in thresholds_near(plan.study, table) if known is None else [known]:
            bound = parameters_to_bytes(with_threshold(model, place))
            yield Content.of(bound, replace(results, threshold=place))

    def write(
        self, plan: Plan, results: Results, summed: SummedRelease, words: bytes
    ) -> UnsignedLeaf:
        """Write down the threshold, and the sum for everybody to read."""
        del plan, summed
        if results.threshold is None:
            raise MismatchError("a threshold that a request has bound")
        return FairnessRecord.of(results.threshold, words)

    def read(self, plan: Plan, results: Results, summed: SummedRelease, content: bytes) -> Results:
        """Check the words and the threshold, and keep the counts."""
        del plan
        record = FairnessRecord.from_bytes(content)
        values = values_in(record.content, summed)
        if results.threshold is not None:
            expect("the threshold of the request", results.threshold, record.threshold)
        return replace(results, groups=GroupsSum(record.threshold, values, summed.participants))

    def told(self, plan: Plan, results: Results) -> dict[str, Any]:
        """Return how alerts fall on groups: the documented `released_groups`."""
        found = read_groups(plan, results.groups)
        return {} if found is None else {"released_groups": found}


def read_groups(plan: Plan, groups: GroupsSum | None) -> dict[str, Any] | None:
    """Read how alerts fall on groups: the documented `released_groups`; None without counts."""
    if groups is None:
        return None
    tolerance = plan.study.privacy.collusion_tolerance
    noise = plan.fairness.noise_on_sum(groups.participants, tolerance)
    return read_fairness(plan.study, groups.values, noise, groups.threshold)
