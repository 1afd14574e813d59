"""The closed list of kinds of release; one module for each."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.run.kinds.evaluation import Evaluation
from fieldfare.shared.run.kinds.groups import Groups
from fieldfare.shared.run.kinds.guard import Guard
from fieldfare.shared.run.kinds.kind import Content, Kind, Release, SummedRelease
from fieldfare.shared.run.kinds.moments import Moments
from fieldfare.shared.run.kinds.questions import Questions
from fieldfare.shared.run.kinds.rehearsal import Rehearsal
from fieldfare.shared.run.kinds.training import Training
from fieldfare.shared.run.results import Results

__all__ = ["KINDS", "Content", "Kind", "Release", "SummedRelease", "next_kind"]

REHEARSAL: Final = Rehearsal()
QUESTIONS: Final = Questions()
KINDS: Final[Mapping[ReleaseKind, Kind]] = MappingProxyType(
    {
        kind.release: kind
        for kind in (
            *(REHEARSAL, Moments(), Training(), Guard()),
            *(Evaluation(), Groups(), QUESTIONS),
        )
    }
)


def next_kind(plan: Plan, results: Results) -> Kind | None:
    """Return which kind of release comes next in a run; None where nothing is left to ask.

    The rehearsal, and after it whatever is due, in the order of the plan's positions. A run of
    later questions has nothing but these.
    """
    if REHEARSAL.is_due(plan, results):
        return REHEARSAL
    kinds = (QUESTIONS,) if results.later else KINDS.values()
    due = (kind for kind in kinds if kind.is_due(plan, results))
    return min(due, key=lambda kind: kind.step(plan, results), default=None)
