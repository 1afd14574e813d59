"""What anybody can compute again from signed replies: sums, and where training starts.

Integers and elementwise IEEE operations only, so that it comes out the same, bit for bit,
at the coordinator, at every custodian and at an auditor (design section 4).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.adam import TrainingState
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.grid import Word, WordBits, add, centre, decode
from fieldfare.shared.models import model_for
from fieldfare.shared.plan import ReleaseTerms
from fieldfare.shared.score_bins import prevalence_log_odds
from fieldfare.shared.study import Study


def initial_state(study: Study) -> TrainingState:
    """Return the state before the first step: the bias at the study's public prevalence."""
    return TrainingState.start(model_for(study).initial(prevalence_log_odds(study)))


def add_words(vectors: Sequence[bytes], word_bits: WordBits, entries: int) -> Word:
    """Add masked vectors up in Z_2^k; masks of all participants cancel.

    Args:
        vectors: little-endian ring words of each participant.
        word_bits: the ring.
        entries: words in each vector.

    Raises:
        ProtocolError: a vector of another length.
    """
    total: Word = np.zeros(entries, dtype=np.uint64)
    for vector in vectors:
        total = add(total, decode(vector, word_bits, entries), word_bits)
    return total


def decoded_sum(total: Word, terms: ReleaseTerms) -> NDArray[np.float64]:
    """Return a sum in its own unit, float64 (entries,): integers times gamma, exactly.

    Raises:
        ProtocolError: an entry of a sum that has a price is out of range: masks did not
            cancel, or somebody poisoned the sum (design section 2).
    """
    # Exact: |sum| / gamma is far below 2^53 for every sum that is in range.
    centred = centre(total, terms.word_bits).astype(np.float64)
    values: NDArray[np.float64] = np.ldexp(centred, -terms.vectors.gamma_bits)
    if terms.cost and bool((np.abs(values) > terms.largest_entry).any()):
        raise ProtocolError(f"a sum within {terms.largest_entry:.4g} expected, one out of range")
    return values
