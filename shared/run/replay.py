"""The coordinator's arithmetic on replies, step by step, so that anybody can repeat it.

Pure: vectors in, words, sums and parameters out, bit for bit the same on another machine
(docs/design.md, "Recomputation"). The coordinator runs this code, custodians run it before they
answer the next step, and an audit runs it over the whole transcript.

From the answered sum of a study's questions to the knots that its model is trained on.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.evaluation.score_table import prevalence_log_odds
from fieldfare.shared.features.knots import asked_features, chosen_places, value_places
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.models import started_model, trained_model
from fieldfare.shared.protocol.messages import parameters_hash, parameters_to_bytes
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT, Plan, ReleaseTerms
from fieldfare.shared.protocol.secure_sum import seed_words
from fieldfare.shared.ring import Word, WordBits, centre, encode, encoded_words
from fieldfare.shared.run.optimizer import TrainingState, averaged_state, next_state
from fieldfare.shared.study.question_layout import WEIGHT_BITS, layout_for
from fieldfare.shared.study.study import Study


def asked_knots(study: Study, total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the knots of all features that ask for theirs, as a model's parameters hold them.

    Args:
        study: whose declared questions were answered.
        total: float64 (entries,), the decoded sum, in the vector's own unit.

    Returns:
        float64 (knots,), whole places on each feature's grid, features in the study's order.

    Formal Guarantees:
        Post-processing of the released sum: no further record is read and nothing more is spent.
        Integers only, so that every party gets the same knots from the same sum.
    """
    group = study.questions
    if group is None:
        return np.zeros(0)
    layout = layout_for(group, study.asked_columns)
    names = [question.name for question in group.questions]
    steps = np.ldexp(total, WEIGHT_BITS)  # exact: whole grid steps
    found: list[int] = []
    for feature in asked_features(study.features):
        block = layout.blocks[layout.reads[names.index(str(feature.knots_from))][0]]
        cells = [int(step) for step in steps[block.part]]
        bins = cells[:-1]  # the last cell counts the units without a value
        found += chosen_places(
            bins,
            quantiles=feature.quantile_knots,
            even=feature.even_knots,
            values=value_places(feature),
        )
    return np.array(found, dtype=np.float64)


# -- replay ---------------------------------------------------------------------------------------

LAST_BITS: Final = (0, 1, -1, 2, -2)  # how far logarithms of two machines may lie apart


def add_words(
    vectors: Sequence[bytes], word_bits: WordBits, entries: int, seeds: Sequence[str] = ()
) -> Word:
    """Add masked vectors up in Z_2^k and open the sum; the order does not matter.

    Args:
        vectors: wire form of each participant's vector.
        word_bits: the ring.
        entries: of each vector.
        seeds: that open them, hex.

    Returns:
        uint64 (entries,), reduced modulo 2^k; zeros where there are no vectors.

    Raises:
        ProtocolError: a vector or a seed of another length.
    """
    total = np.zeros(entries, dtype=word_bits.dtype)  # words of this width wrap as the ring does
    for vector in vectors:
        np.add(total, encoded_words(vector, word_bits, entries), out=total)
    for seed in seeds:
        np.subtract(total, seed_words(bytes.fromhex(seed), entries, word_bits), out=total)
    return total.astype(np.uint64)


def words_hash(total: Word, word_bits: WordBits) -> str:
    """Return the SHA-256 of a sum's words in wire form, as a transcript's sum states it."""
    return bytes_hash(encode(total, word_bits))


def decoded_sum(total: Word, terms: ReleaseTerms, participants: int) -> NDArray[np.float64]:
    """Decode added words as centred integers in units of gamma.

    Args:
        total: uint64 (entries,), as `add_words` returns it.
        terms: ring, grid and range.
        participants: how many are in it.

    Returns:
        float64 (entries,), in the sum's own unit.

    Edge cases:
        | release | a sum beyond `terms.largest_sum` |
        |---|---|
        | training, evaluation | refused |
        | rehearsal | returned: it holds no records, and must be zero to be accepted |

    Raises:
        ProtocolError: out of range: masks did not cancel, or somebody poisoned the sum.
    """
    values, largest = decode_words(total, terms), terms.largest_sum(participants)
    if terms.cost and bool((np.abs(values) > largest).any()):
        raise ProtocolError(
            f"expected a sum within {largest:.4g}, found one out of range: masks did not cancel or "
            "an institution poisoned the sum"
        )
    return values


def decode_words(total: Word, terms: ReleaseTerms) -> NDArray[np.float64]:
    """Decode uint64 (entries,) words as float64 of the sum's own unit, whatever their range."""
    integers = centre(total, terms.word_bits)
    # Exact below 2^53 grid steps; on the finer grid of whitened steps rounded, everywhere alike.
    return np.asarray(np.ldexp(integers.astype(np.float64), -terms.vectors.gamma_bits))


def initial_state(study: Study, answer: NDArray[np.float64] | None = None) -> TrainingState:
    """Return where training starts: the public prevalence, and the knots that were asked for.

    Args:
        study: prevalence, model and questions.
        answer: float64 (entries,), the decoded sum of the questions that knots follow from;
            without one they are evenly spaced, as in a rehearsal.
    """
    return _start(study, prevalence_log_odds(study), answer)


def _start(study: Study, log_odds: float, answer: NDArray[np.float64] | None) -> TrainingState:
    parameters = trained_model(study).initial(log_odds)
    if answer is not None and study.asks_for_knots:
        knots = asked_knots(study, answer)
        parameters[len(parameters) - len(knots) :] = knots
    return TrainingState.start(parameters)


def delivered_state(study: Study, state: TrainingState) -> TrainingState:
    """Return a finished training at the plain model that it leads to: curves times multipliers.

    Args:
        study: which public start; without one the state is what it was.
        state: of the study's bias and multipliers.
    """
    model = started_model(study)
    if model is None:
        return state
    parameters = np.clip(model.delivered(state.model), -PARAMETER_LIMIT, PARAMETER_LIMIT)
    return replace(TrainingState.start(parameters), step=study.training.steps)


def possible_starts(
    study: Study, answer: NDArray[np.float64] | None = None
) -> Iterator[TrainingState]:
    """Yield where training may start: here, then as other machines may round its logarithm."""
    log_odds = prevalence_log_odds(study)
    for bits in LAST_BITS:
        yield _start(study, _moved(log_odds, bits), answer)


def stepped(
    plan: Plan,
    state: TrainingState,
    total: NDArray[np.float64],
    participants: int,
    geometry: Geometry | None = None,
) -> TrainingState:
    """Take one step from a decoded sum: one of Adam, or in local mode the average of changes.

    Args:
        plan: of the study, which says which mode; its constants and its noise.
        state: before the step.
        total: float64 (entries,), the decoded sum.
        participants: how many are in it.
        geometry: the run's coordinates; None: the features' own.
    """
    if plan.study.training.local:
        return averaged_state(plan.study, state, total, participants)
    return next_state(plan, state, total, geometry)


def state_hash(state: TrainingState) -> str:
    """Return the hash of the current parameters, as the next request binds it."""
    return parameters_hash(parameters_to_bytes(state.parameters))


def model_hash(state: TrainingState) -> str:
    """Return the hash of the averaged parameters: the model."""
    return parameters_hash(parameters_to_bytes(state.model))


def _moved(value: float, bits: int) -> float:
    """Return the double that lies `bits` places from `value`."""
    direction = math.copysign(math.inf, bits)
    for _ in range(abs(bits)):
        value = math.nextafter(value, direction)
    return value
