"""The last step's sum, sent with the next request: every party derives the new parameters from it.

A custodian that recomputes the parameters from signed replies refuses a crafted vector,
and does not merely log it (docs/design.md, "Recomputation").
"""

from dataclasses import dataclass
from typing import Final

from fieldfare.shared.protocol.plan import Plan

MOST_WORDS: Final = 2**18  # of all participants together: 2 MiB in a ring of 64 bits


@dataclass(frozen=True)
class LastSum:
    """One sum, in a form that every party can add up again.

    Attributes:
        request: signed R; empty where there is no last sum.
        replies: signed replies of R's participants, in R's order.
        vectors: the masked vectors whose hashes the replies sign, in the same order.
    """

    request: bytes = b""
    replies: tuple[bytes, ...] = ()
    vectors: tuple[bytes, ...] = ()


NO_LAST_SUM: Final = LastSum()


def carries_last_sum(plan: Plan, participants: int) -> bool:
    """Say whether requests carry the last sum: if n * d is small (docs/design.md, "Recomputation").

    Args:
        plan: the study's plan.
        participants: how many opened the run, so that everybody decides alike.
    """
    entries = plan.training.vectors.entries
    if plan.study.asks_for_knots:  # the sum that the first step's knots follow from
        entries = max(entries, plan.query.vectors.entries)
    if plan.study.groups:  # the table that the threshold of alerts follows from
        entries = max(entries, plan.evaluation.vectors.entries)
    return entries * participants <= MOST_WORDS
