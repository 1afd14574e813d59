import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.ring import (
    Word,
    WordBits,
    add,
    centre,
    decode,
    encode,
    subtract,
    to_ring,
    word_bits_for,
)

RINGS = list(WordBits)
rings = st.sampled_from(RINGS)
int64s = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-5, 5),
    st.sampled_from([-(2**63), 2**63 - 1, -(2**31), 2**31, 2**31 - 1, 2**32, -1, 0]),
)
pairs = st.lists(st.tuples(int64s, int64s), max_size=20)


def ring(values: list[int], bits: WordBits) -> Word:
    return to_ring(np.array(values, dtype=np.int64), bits)


@settings(deadline=None, max_examples=300)
@given(pairs, rings)
def test_ring_arithmetic_is_that_of_integers_modulo_2_to_the_k(
    terms: list[tuple[int, int]], bits: WordBits
) -> None:
    modulus = 2**bits.value
    left, right = [a for a, _ in terms], [b for _, b in terms]
    assert ring(left, bits).tolist() == [a % modulus for a in left]
    total = add(ring(left, bits), ring(right, bits), bits)
    assert total.tolist() == [(a + b) % modulus for a, b in terms]
    difference = subtract(ring(left, bits), ring(right, bits), bits)
    assert difference.tolist() == [(a - b) % modulus for a, b in terms]
    assert subtract(total, ring(right, bits), bits).tolist() == ring(left, bits).tolist()


@settings(deadline=None, max_examples=300)
@given(pairs, rings)
def test_centred_integers_are_the_nearest_representatives(
    terms: list[tuple[int, int]], bits: WordBits
) -> None:
    half = 2 ** (bits.value - 1)
    values = [a for a, _ in terms]
    centred = centre(ring(values, bits), bits)
    assert centred.dtype == np.int64
    assert centred.tolist() == [(a + half) % (2 * half) - half for a in values]


@settings(deadline=None, max_examples=200)
@given(pairs, rings)
def test_the_wire_form_is_little_endian_and_comes_back(
    terms: list[tuple[int, int]], bits: WordBits
) -> None:
    values = [a for a, _ in terms]
    content = encode(ring(values, bits), bits)
    width = bits.value // 8
    expected = [(a % 2**bits.value).to_bytes(width, "little") for a in values]
    assert content == b"".join(expected)
    assert decode(content, bits, len(values)).tolist() == ring(values, bits).tolist()
    assert decode(content, bits, len(values)).dtype == np.uint64


def test_overflow_wraps_silently() -> None:
    top = ring([2**63 - 1], WordBits.K64)
    assert centre(add(top, ring([1], WordBits.K64), WordBits.K64), WordBits.K64) == [-(2**63)]
    assert centre(ring([2**31], WordBits.K32), WordBits.K32).tolist() == [-(2**31)]


@pytest.mark.parametrize("bits", RINGS)
@pytest.mark.parametrize("length", [0, 1, 7, 9, 16, 17, 1000])
def test_vectors_of_another_length_are_refused(bits: WordBits, length: int) -> None:
    with pytest.raises(ProtocolError, match="bytes"):
        decode(bytes(length), bits, 3)


@pytest.mark.parametrize("bits", RINGS)
def test_a_claimed_length_is_compared_before_anything_is_allocated(bits: WordBits) -> None:
    with pytest.raises(ProtocolError):
        decode(b"1234", bits, 2**53)


def test_dtypes_are_named_as_a_request_names_them() -> None:
    assert [bits.dtype.str for bits in RINGS] == ["<u4", "<u8"]


def test_the_smallest_ring_that_holds_the_sum() -> None:
    below = math.nextafter(2.0**31, 0)
    assert word_bits_for(0.0) is WordBits.K32
    assert word_bits_for(below) is WordBits.K32
    assert word_bits_for(2.0**31) is WordBits.K64
    assert word_bits_for(math.nextafter(2.0**63, 0)) is WordBits.K64
    for largest in (2.0**63, math.inf, math.nan):
        with pytest.raises(ProtocolError, match="coarser"):
            word_bits_for(largest)
