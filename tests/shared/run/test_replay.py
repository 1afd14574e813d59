import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.runs.steps import replay_step

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.models import model_for
from fieldfare.shared.protocol.messages import ReleaseKind, parameters_hash, parameters_to_bytes
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms, plan_for
from fieldfare.shared.ring import WordBits, encode, to_ring
from fieldfare.shared.run.optimizer import TrainingState, next_state
from fieldfare.shared.run.replay import (
    add_words,
    decoded_sum,
    initial_state,
    model_hash,
    possible_starts,
    state_hash,
    words_hash,
)
from fieldfare.shared.study.study import Study

STUDY = Study.model_validate(
    {
        "name": "small",
        "purpose": "tests",
        "records": {"label": "reported", "units": 400, "prevalence": 0.2},
        "features": (
            {"name": "amount", "kind": "numeric", "lower": 0, "upper": 10, "knots": [0, 2, 5, 10]},
        ),
        "training": {"steps": 4},
        "privacy": {"epsilon": 4.0, "delta": 1e-5},
    }
)
PLAN: Plan = plan_for(STUDY)
TRAINING: ReleaseTerms = PLAN.training
BITS = TRAINING.word_bits
ENTRIES = TRAINING.vectors.entries


def wire(values: list[int], bits: WordBits = BITS) -> bytes:
    return encode(to_ring(np.array(values, dtype=np.int64), bits), bits)


def constant(value: int) -> bytes:
    return wire([value] * ENTRIES)


@given(st.sampled_from(WordBits), st.lists(st.lists(st.integers(), min_size=3, max_size=3)))
def test_words_add_up_as_python_integers_do(bits: WordBits, rows: list[list[int]]) -> None:
    modulus = 2**bits.value
    vectors = [
        b"".join((value % modulus).to_bytes(bits.value // 8, "little") for value in row)
        for row in rows
    ]
    total = add_words(vectors, bits, 3)
    expected = [sum(row[i] for row in rows) % modulus for i in range(3)]
    assert total.tolist() == expected
    content = b"".join(value.to_bytes(bits.value // 8, "little") for value in expected)
    assert words_hash(total, bits) == hashlib.sha256(content).hexdigest()


@given(st.permutations([1, -2, 3, 2**40, -(2**41)]))
def test_the_order_of_vectors_does_not_matter(values: list[int]) -> None:
    total = add_words([constant(value) for value in values], BITS, ENTRIES)
    same = add_words([constant(sum(values))], BITS, ENTRIES)
    assert total.tolist() == same.tolist()


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(ProtocolError, match="bytes"):
        add_words([constant(1), constant(1)[:-1]], BITS, ENTRIES)


def test_a_sum_is_decoded_in_its_own_unit() -> None:
    one = 1 << TRAINING.vectors.gamma_bits
    vectors = [constant(3 * one), constant(-one // 2)]
    values = decoded_sum(add_words(vectors, BITS, ENTRIES), TRAINING, 2)
    assert values.tolist() == [2.5] * ENTRIES


@pytest.mark.parametrize("kind", [ReleaseKind.TRAINING, ReleaseKind.EVALUATION])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_out_of_range_is_refused(kind: ReleaseKind, sign: int) -> None:
    terms = PLAN.terms(kind)
    limit = math.floor(math.ldexp(terms.largest_entry, terms.vectors.gamma_bits))
    row = [0] * terms.vectors.entries
    row[-1] = sign * limit
    within = add_words([wire(row, terms.word_bits)], terms.word_bits, len(row))
    assert abs(decoded_sum(within, terms, 1)[-1]) <= terms.largest_entry
    row[-1] += sign
    beyond = add_words([wire(row, terms.word_bits)], terms.word_bits, len(row))
    with pytest.raises(ProtocolError, match="out of range"):
        decoded_sum(beyond, terms, 1)


def test_a_rehearsal_is_decoded_whatever_it_is() -> None:
    total = add_words([constant(-1)], PLAN.rehearsal.word_bits, ENTRIES)
    assert decoded_sum(total, PLAN.rehearsal, 1).any()


def test_a_step_is_the_coordinators_step() -> None:
    state = initial_state(STUDY)
    one = 1 << TRAINING.vectors.gamma_bits
    for step in range(STUDY.training.steps):
        vectors = [constant(one * (step + 1)), constant(-7)]
        values = np.full(ENTRIES, step + 1 - math.ldexp(7, -TRAINING.vectors.gamma_bits))
        expected = next_state(PLAN, state, values)
        state = replay_step(PLAN, state, TRAINING, vectors)
        assert state_hash(state) == state_hash(expected)
        assert model_hash(state) == model_hash(expected)
    assert model_hash(state) == parameters_hash(parameters_to_bytes(state.model))


def test_training_starts_at_the_public_prevalence() -> None:
    expected = model_for(STUDY).initial(math.log(0.2 / 0.8))
    assert initial_state(STUDY).parameters.tolist() == expected.tolist()


@pytest.mark.parametrize("bits", [-2, -1, 0, 1, 2])
def test_another_machines_logarithm_is_found(bits: int) -> None:
    log_odds = math.log(0.2 / 0.8)
    for _ in range(abs(bits)):
        log_odds = math.nextafter(log_odds, math.copysign(math.inf, bits))
    start = TrainingState.start(model_for(STUDY).initial(log_odds))
    hashes = [state_hash(state) for state in possible_starts(STUDY)]
    assert hashes.count(state_hash(start)) == 1


def test_another_start_is_not_found() -> None:
    start = TrainingState.start(model_for(STUDY).initial(math.log(0.2 / 0.8) + 1e-12))
    assert state_hash(start) not in [state_hash(state) for state in possible_starts(STUDY)]
