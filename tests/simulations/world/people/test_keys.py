"""Opaque keys: text that nothing joins on across institutions."""

import numpy as np

from fieldfare.simulations.world.society import keys, mixed


def test_splitmix64_is_the_published_one() -> None:
    """Seed 1234567's first output, as the reference implementation gives it."""
    golden = 0x9E3779B97F4A7C15
    assert int(mixed(np.array([1234567]), golden)[0]) == 6457827717110365317


def test_keys_are_the_hex_of_the_mix_and_null_where_not_valid() -> None:
    ids = np.array([0, 7, -1])
    found = keys(ids, 5, ids >= 0)
    expected = [f"{int(value):016x}" for value in mixed(ids, 5)]
    assert found.to_pylist() == [expected[0], expected[1], None]


def test_no_two_ids_and_no_two_salts_give_one_key() -> None:
    ids = np.arange(5_000)
    one, two = (set(keys(ids, salt).to_pylist()) for salt in (1, 1 << 40))
    assert len(one) == len(two) == 5_000
    assert not one & two
