"""One step of each side of a run: how a federation opens, how a state follows from vectors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.hello import RunTerms
from fieldfare.server.run.opening import Opener
from fieldfare.server.run.record import Record, RunCheckpoint
from fieldfare.server.run.rounds import Federation
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import add_words, decoded_sum, stepped


def open_federation(
    channel: GridChannel,
    terms: RunTerms,
    record: Record | None = None,
    checkpoint: RunCheckpoint | None = None,
) -> Federation:
    """Open a run, or join it again; see `Opener.begin`."""
    return Opener(channel, terms, record or Record()).begin(checkpoint or RunCheckpoint())


def summed_again(
    terms: ReleaseTerms, vectors: Sequence[bytes], seeds: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Return float64 (entries,): the decoded sum of all masked vectors.

    Raises:
        ProtocolError: a vector of another length, or a sum out of range.
    """
    words = add_words(vectors, terms.word_bits, terms.vectors.entries, seeds)
    return decoded_sum(words, terms, len(vectors))


def replay_step(
    plan: Plan,
    state: TrainingState,
    terms: ReleaseTerms,
    vectors: Sequence[bytes],
    seeds: Sequence[str] = (),
) -> TrainingState:
    """Take one step from the masked vectors of all its participants, and the seeds of these.

    Raises:
        ProtocolError: a vector of another length, or a sum out of range.
    """
    return stepped(plan, state, summed_again(terms, vectors, seeds), len(vectors))
