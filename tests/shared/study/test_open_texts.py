import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.study.question_layout import (
    ALPHABET,
    MISSING_TEXT,
    Sketch,
    buckets,
    checks,
    packed,
    scrambled,
    signs,
    unpacked,
    unscrambled,
)

SKETCH = Sketch("c", 5, 3, 64, "ab" * 32)
texts = st.text(ALPHABET, min_size=1, max_size=10).map(str.strip).filter(bool)


@given(texts)
def test_a_text_of_the_alphabet_comes_back(text: str) -> None:
    assert unpacked(packed(text, 10), 10) == text


@given(st.text(max_size=20))
def test_any_text_becomes_one_that_comes_back(text: str) -> None:
    value = packed(text, 5)
    assert 0 <= value < 2**30 < MISSING_TEXT
    read = unpacked(value, 5)
    assert read is None or packed(read, 5) == value


@given(st.integers(0, 2**30 - 1))
def test_what_no_text_is_packed_to_is_none(value: int) -> None:
    text = unpacked(value, 5)
    assert text is None or packed(text, 5) == value


def test_other_signs_and_case_are_folded() -> None:
    assert unpacked(packed("ro→de now", 5), 5) == "RO_DE"
    assert packed("", 5) == 0
    assert unpacked(0, 5) is None


def test_buckets_are_public_and_spread() -> None:
    values = np.arange(4000, dtype=np.uint64)
    found = buckets(SKETCH, values)
    np.testing.assert_array_equal(found, buckets(SKETCH, values))
    for row in found:
        counts = np.bincount(row, minlength=64)
        assert counts.min() > 30
        assert counts.max() < 110
    other = Sketch("c", 5, 3, 64, "cd" * 32)
    assert not np.array_equal(buckets(other, values), found)


@given(st.integers(1, 10), st.data())
def test_scrambling_is_one_to_one(length: int, data: st.DataObject) -> None:
    sketch = Sketch("c", length, 3, 64, "ab" * 32)
    given = data.draw(st.lists(st.integers(0, 2 ** (6 * length) - 1), min_size=1, max_size=5))
    values = np.array(given, dtype=np.uint64)
    codes = scrambled(sketch, values)
    assert int(codes.max()) < 2 ** (6 * length)
    np.testing.assert_array_equal(unscrambled(sketch, codes), values)


def test_texts_that_look_alike_have_signs_that_do_not() -> None:
    values = np.array([packed(f"A{i:03d}", 5) for i in range(500)], dtype=np.uint64)
    found = signs(SKETCH, values)
    alike = (found[:-1] * found[1:]).mean(axis=1)
    assert abs(alike.mean()) < 0.03
    assert alike.std() < 1.3 / np.sqrt(SKETCH.bits)


@given(st.integers(0, 2**30 - 1))
def test_signs_are_the_bits(value: int) -> None:
    values = np.array([value], dtype=np.uint64)
    bits = (signs(SKETCH, values)[0] + 1) // 2
    assert len(bits) == SKETCH.bits
    read = sum(int(bit) << place for place, bit in enumerate(bits))
    assert read == int(scrambled(SKETCH, values)[0]) | (int(checks(SKETCH, values)[0]) << 30)
