"""Chance by concern: the same again, and each apart from all others."""

from fieldfare.simulations.world.society import Concern, stream


def test_the_same_concern_draws_the_same() -> None:
    one, two = (stream(3, Concern.LINES, 1, 2).random(8).tolist() for _ in range(2))
    assert one == two


def test_every_concern_path_and_seed_draws_apart() -> None:
    first = {
        tuple(stream(seed, concern, *path).random(4))
        for seed in (0, 1)
        for concern in Concern
        for path in ((), (0,), (1,), (0, 0), (0, 1))
    }
    # a trailing zero is no path of its own to the generator's seed: pinned, so nobody relies on it
    assert len(first) >= 2 * len(Concern) * 3
