import numpy as np

from fieldfare.shared.features.rows import GOLDEN, splitmix


def test_the_published_sequence_comes_out() -> None:
    """First outputs of SplitMix64 from seed 1234567 (its reference implementation)."""
    states = (np.arange(3, dtype=np.uint64) * np.uint64(GOLDEN)) + np.uint64(1234567)
    assert splitmix(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_nearby_values_land_far_apart() -> None:
    found = splitmix(np.arange(10_000, dtype=np.uint64))
    assert len(np.unique(found)) == 10_000
    assert abs((found >> np.uint64(63)).mean() - 0.5) < 0.02
