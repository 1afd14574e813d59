"""The bench of the sum check counts real messages, and takes no points that do not add up."""

from collections.abc import Sequence
from typing import Final

import pytest
from tests.benchmarks.scale.sum_check import check_linear, message_bytes

from fieldfare.shared.errors import RunError

PRIME: Final = 2**255 - 19


def commit(words: Sequence[int], ring: int) -> int:
    bases = (int(pow(3, place + 1, PRIME)) for place in range(len(words)))
    return sum(base * (word % ring) for base, word in zip(bases, words, strict=True)) % PRIME


def add(one: int, other: int) -> int:
    return (one + other) % PRIME


def test_points_save_the_vectors_less_two_points_and_nothing_else() -> None:
    few, many = message_bytes(3), message_bytes(20)
    saved = [size["vectors_in"] - size["points_in"] for size in (few, many)]
    assert saved[1] - saved[0] == 17 * (401 * 8 - 2 * 75)
    assert few["vectors_out"] == many["vectors_out"]


def test_points_add_up_over_the_integers_and_not_over_the_ring() -> None:
    check_linear(lambda words: commit(words, 2**72), add)
    with pytest.raises(RunError, match="add up"):
        check_linear(lambda words: commit(words, 2**64), add)
