"""A card's statements about its finished run, read off the run's state."""

import json

from fieldfare.shared.finished_model.card_writing import CardFacts
from fieldfare.shared.run.kinds.groups import read_groups
from fieldfare.shared.run.kinds.guard import read_guard
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.state import RunState


def card_facts(state: RunState, *, size: int, root: str) -> CardFacts:
    """Return the facts of a run for its card; coordinator and audit read them here.

    Args:
        state: of a run that trained a model.
        size: leaves of its log when the card was written.
        root: of these leaves, hex.

    Raises:
        MismatchError: nothing was asked yet.
    """
    if state.asked is None:
        raise MismatchError("a finished model", found="no step")
    results = state.results
    return CardFacts(
        run=state.run.opening.run,
        roster=state.run.roster_hash,
        institutions=state.asked.body.n,
        steps=results.steps,
        spent=max((one.total for one in state.debits.values()), default=0),
        failed_attempts=state.failed,
        metrics=json.loads(results.metrics) if results.metrics else None,
        groups=read_groups(state.run.plan, results.groups),
        guard=read_guard(state.run.plan, results.guard),
        transcript_size=size,
        transcript_root=root,
    )
