"""The guard of a public start: what was trained goes on only where it is better than the start."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from fieldfare.shared.protocol.messages import ReleaseKind, parameters_to_bytes
from fieldfare.shared.protocol.plan import GUARD_SIGMAS, Plan
from fieldfare.shared.run.kinds.kind import Content, Kind, SummedRelease, values_in
from fieldfare.shared.run.mismatch import expect
from fieldfare.shared.run.replay import delivered_state, possible_starts
from fieldfare.shared.run.results import UNKNOWN, GuardSum, Results
from fieldfare.shared.transcript.leaves import GuardRecord, UnsignedLeaf


class Guard(Kind):
    """Binds both models; which of them is evaluated and delivered follows from its sum.

    Formal Guarantees:
        It reads training units alone, so that the hold-out stays what nothing was chosen by; the
        choice is post-processing of its noised sum.
    """

    release: ClassVar = ReleaseKind.GUARD
    record: ClassVar = GuardRecord
    missing: ClassVar = "what was trained, and the public start after it"

    def leads(self, plan: Plan) -> bool:
        """The model that is evaluated follows from it."""
        del plan
        return True

    def is_due(self, plan: Plan, results: Results) -> bool:
        """Due once, where training starts from public curves."""
        return bool(plan.guard.steps) and not results.guarded

    def contents(self, plan: Plan, results: Results) -> Iterator[Content]:
        """Yield the averaged multipliers, then the start's, as machines may round its bias."""
        if results.training is None:
            return
        for start in possible_starts(plan.study):
            both = np.concatenate([results.training.model, start.parameters])
            yield Content.of(parameters_to_bytes(both), replace(results, started=start))

    def write(
        self, plan: Plan, results: Results, summed: SummedRelease, words: bytes
    ) -> UnsignedLeaf:
        """Write down which model goes on, and the sum that says so."""
        del results
        value = float(values_in(words, summed)[0])
        return GuardRecord.of(words, trained=is_better(plan, value, summed.participants))

    def read(self, plan: Plan, results: Results, summed: SummedRelease, content: bytes) -> Results:
        """Check the words and the choice that follows from them, and take it."""
        record = GuardRecord.from_bytes(content)
        value = float(values_in(record.content, summed)[0])
        better = is_better(plan, value, summed.participants)
        expect("the model that follows from the guard's sum", _named(better), record.taken)
        found = GuardSum(value, better, summed.participants)
        chosen = results.training if better else results.started
        taken = None if chosen is None else delivered_state(plan.study, chosen)
        return replace(results, guarded=True, guard=found, training=taken, parameters=UNKNOWN)

    def told(self, plan: Plan, results: Results) -> dict[str, Any]:
        """Return what the guard found: the documented `released_guard`."""
        found = read_guard(plan, results.guard)
        return {} if found is None else {"released_guard": found}


def is_better(plan: Plan, value: float, participants: int) -> bool:
    """Say whether a trained model is better than its start, beyond the noise that is on the sum.

    Args:
        plan: of the study.
        value: the decoded sum: log loss of the start less that of the trained model.
        participants: institutions whose shares of the noise are in it.
    """
    return value > GUARD_SIGMAS * _noise(plan, participants)


def read_guard(plan: Plan, guard: GuardSum | None) -> dict[str, Any] | None:
    """Read what the guard found: the documented `released_guard`; None without its sum."""
    if guard is None:
        return None
    sigma = _noise(plan, guard.participants)
    return {"taken": _named(guard.trained), "gain": guard.value, "sigma": sigma}


def _noise(plan: Plan, participants: int) -> float:
    return plan.guard.noise_on_sum(participants, plan.study.privacy.collusion_tolerance)


def _named(better: bool) -> str:
    return "trained" if better else "start"
