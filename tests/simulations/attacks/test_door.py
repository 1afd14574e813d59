"""The audit of the door finds each defect, and leaves an honest door alone."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import poisson

from fieldfare.shared.privacy.protection import Protection
from fieldfare.simulations.attacks.defects import DoorDefect
from fieldfare.simulations.attacks.door import (
    TESTS,
    DoorAudit,
    DoorDesign,
    audit_door,
    chance_of_cosine,
)
from fieldfare.simulations.federation.noise_audit import LEVEL, chance_of

# Seeded, so that a fast test says the same every night; the long form has the door's own noise.
SMALL = DoorDesign(canaries=400, steps=1, levels=48, protection=Protection.SIMULATED)
FLAGS = {
    DoorDefect.HALF_SIGMA: ("query", "training", "evaluation"),
    DoorDefect.NO_CLIP: ("training", "training", "two attempts"),
    DoorDefect.ALL_SHARE: ("training", "evaluation"),
    DoorDefect.SAME_NOISE: ("two attempts",),
    DoorDefect.BARE_EVALUATION: ("evaluation",),
    DoorDefect.HALF_QUERY: ("query",),
}
NIGHTS = 40


@cache
def audit(defect: DoorDefect) -> DoorAudit:
    return audit_door(replace(SMALL, defect=defect))


@pytest.mark.parametrize(("defect", "kinds"), FLAGS.items())
def test_each_defect_is_flagged_where_it_is(defect: DoorDefect, kinds: tuple[str, ...]) -> None:
    found = audit(defect)
    assert all(text.startswith(kind) for text, kind in zip(found.flagged, kinds, strict=True))
    assert defect.words in found.finding.attack
    same = [text for text in found.flagged if "leave the same noise" in text]
    assert bool(same) is (defect is DoorDefect.SAME_NOISE)  # no clip is no noise used twice


def test_an_honest_door_is_not_flagged() -> None:
    found = audit(DoorDefect.NONE)
    assert found.flagged == ()
    assert set(found.differs.values()) == {0.0}
    for kind in found.kinds:
        assert kind.interval[0] < kind.factor < kind.interval[1]
    assert "PUT IN" not in found.finding.attack
    assert found.finding.figure("noise of training").interval is not None


def test_honest_noise_is_flagged_once_in_ten_thousand() -> None:
    """The statistic alone, on drawn noise: as often as its level says, and not much less."""
    runs, random = 100_000, np.random.default_rng(3)
    chances = [chance_of((random.normal(size=(runs, n)) ** 2).sum(axis=1), n) for n in (8, 24, 12)]
    first, second = random.normal(size=(2, runs, 16))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    chances.append(chance_of_cosine((first * second).sum(axis=1) / lengths, 16))
    flagged = np.min(chances, axis=0)
    for level in (LEVEL, 1e-2):
        wrong = int((flagged < level / TESTS).sum())
        assert poisson.ppf(1e-4, runs * level) <= wrong <= poisson.ppf(1 - 1e-4, runs * level)


@pytest.mark.promises
@pytest.mark.parametrize("defect", DoorDefect)
def test_the_door_with_its_own_noise(defect: DoorDefect) -> None:
    """Exact noise, masks, signatures: each defect is flagged every time, within a minute."""
    for seed in range(NIGHTS):
        found = audit_door(DoorDesign(defect=defect, seed=seed))
        assert bool(found.flagged) is (defect is not DoorDefect.NONE), found.finding
        assert found.seconds < 60
