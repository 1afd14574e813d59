"""The evaluation: hold-out units counted by label and score of the averaged model."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import rfc8785

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.evaluation.metrics import evaluate, same_metrics
from fieldfare.shared.protocol.messages import ReleaseKind, parameters_to_bytes
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.run.kinds.kind import Content, Kind, SummedRelease
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.results import Results, Values
from fieldfare.shared.transcript.leaves import MetricsRecord, UnsignedLeaf


class Evaluation(Kind):
    """Binds the averaged model; metrics and the alert threshold follow from its table."""

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
        if results.plain_model is not None:
            yield Content.of(parameters_to_bytes(results.plain_model), results)

    def after(self, plan: Plan, results: Results, summed: SummedRelease) -> Results:
        """Keep the table, and which model it is of."""
        del plan
        return replace(results, table=summed.values, model=results.bound)

    def write(
        self, plan: Plan, results: Results, summed: SummedRelease, words: bytes
    ) -> UnsignedLeaf:
        """Return the record of the metrics that everybody reads off the table."""
        del words
        metrics = _read_off(plan, results, summed)
        if metrics is None:
            raise MismatchError("a sum that metrics can be read off", found="a deleted one")
        return MetricsRecord(metrics=metrics)

    def read(self, plan: Plan, results: Results, summed: SummedRelease, content: bytes) -> Results:
        """Compare the metrics with the table; believe them where the sum was deleted.

        Raises:
            MismatchError: other metrics than the table gives.
        """
        record = MetricsRecord.from_bytes(content)
        own = _read_off(plan, results, summed)
        if own is not None and not same_metrics(own, record.metrics):
            raise MismatchError("the metrics that follow from the evaluation's sum", found="others")
        return replace(results, metrics=record.metrics, measured=own is not None)


def _read_off(plan: Plan, results: Results, summed: SummedRelease) -> str | None:
    """Return what a table says, as canonical JSON; None where only a deleted sum would tell."""
    model = results.plain_model
    if summed.values is None or model is None:
        return None
    found = read_metrics(plan, summed.values, summed.participants, model)
    return "" if found is None else rfc8785.dumps(found).decode()


def read_metrics(
    plan: Plan, table: Values, participants: int, model: Values
) -> dict[str, Any] | None:
    """Read one released table of counts: `evaluate` with the noise that is on this sum.

    Replicates are seeded by the released sum, so that every reader gets the same figures.

    Args:
        plan: of the study.
        table: float64 (2 * bins,), the decoded sum.
        participants: institutions whose shares of the noise are in it.
        model: float64 (entries,), the parameters that were evaluated.
    """
    seed = int(bytes_hash(parameters_to_bytes(model) + table.tobytes())[:16], 16)
    tolerance = plan.study.privacy.collusion_tolerance
    noise = plan.evaluation.noise_on_sum(participants, tolerance)
    return evaluate(plan.study, table, noise, np.random.default_rng(seed))
