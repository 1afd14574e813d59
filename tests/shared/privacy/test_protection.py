"""What a run promises is one of two things, and its files say which."""

import numpy as np

from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise, SimulatedNoise


def test_each_source_of_noise_says_what_it_is() -> None:
    assert ExactNoise().protection is Protection.EXACT
    assert SimulatedNoise(np.random.default_rng(0)).protection is Protection.SIMULATED
    assert len(Protection) == 2
