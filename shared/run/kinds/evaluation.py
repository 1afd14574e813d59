"""The evaluation: hold-out units counted by label and score of the averaged model."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from fieldfare.shared.protocol.messages import ReleaseKind, parameters_to_bytes
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.run.kinds.kind import Content, Kind, Summed
from fieldfare.shared.run.results import Results
from fieldfare.shared.transcript.leaves import MetricsRecord, UnsignedLeaf


class Evaluation(Kind):
    """Binds the averaged model; its table is what metrics and the place of an alert follow from."""

    release: ClassVar = ReleaseKind.EVALUATION
    record: ClassVar = MetricsRecord
    stops: ClassVar = True

    def leads(self, plan: Plan) -> bool:
        """The threshold of alerts by group follows from it."""
        return bool(plan.study.groups)

    def is_due(self, plan: Plan, results: Results) -> bool:
        """Due once, where something is trained."""
        return plan.study.trains and results.metrics is None

    def contents(self, plan: Plan, results: Results) -> Iterator[Content]:
        """Yield the averaged model."""
        del plan
        if results.training is not None:
            yield Content.of(parameters_to_bytes(results.training.model), results)

    def after(self, plan: Plan, results: Results, summed: Summed) -> Results:
        """Keep the table, and which model it is of."""
        del plan
        return replace(results, table=summed.values, model=results.bound)

    def write(self, plan: Plan, results: Results, words: bytes, metrics: str) -> UnsignedLeaf:
        """Write down what the coordinator reads off the table."""
        del plan, results, words
        return MetricsRecord(metrics=metrics)

    def read(self, plan: Plan, results: Results, summed: Summed, content: bytes) -> Results:
        """Take the metrics as the coordinator's word: only its signed head holds them."""
        del plan, summed
        record = MetricsRecord.from_bytes(content)
        return replace(results, metrics=record.metrics)
