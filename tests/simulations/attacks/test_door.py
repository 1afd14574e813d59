"""The audit of the door finds each defect, and leaves an honest door alone."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import poisson
from tests.support.rows import partly

from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.simulations.attacks.canary_study import AuditForm
from fieldfare.simulations.attacks.defects import DoorDefect
from fieldfare.simulations.attacks.door import (
    FORMS,
    TESTS,
    DoorAudit,
    DoorDesign,
    audit_door,
    chance_of_cosine,
)
from fieldfare.simulations.federation.noise_audit import LEVEL, chance_of

# Seeded, so that a fast test says the same every night; the long form has the door's own noise.
ONCE = (AuditForm.ASKED, AuditForm.MOMENTS, AuditForm.LOCAL)
SMALL = DoorDesign(canaries=400, steps=1, levels=48, protection=Protection.SIMULATED, forms=ONCE)
FLAGS = {
    DoorDefect.HALF_SIGMA: (
        *("query", "training", "evaluation", "fairness"),
        *("moments (moments)", "training (moments)", "training (local)"),
    ),
    DoorDefect.NO_CLIP: ("training", "training (local)", "training", "training (local)", "two"),
    DoorDefect.ALL_SHARE: ("training", "evaluation", "training (moments)"),
    DoorDefect.SAME_NOISE: ("two attempts",),
    DoorDefect.BARE_EVALUATION: ("evaluation",),
    DoorDefect.HALF_QUERY: ("query",),
    DoorDefect.BOTH_SIDES: ("moments (moments)",),
    DoorDefect.HALF_GUARD: ("guard (start)",),
}
LIKE_HALF_SIGMA = {DoorDefect.HALF_GUARD, DoorDefect.HALF_QUERY, DoorDefect.BOTH_SIDES}
NIGHTS = 40


@cache
def audit(defect: DoorDefect) -> DoorAudit:
    if defect is DoorDefect.HALF_GUARD:  # of one number a run, so of more runs
        return audit_door(replace(SMALL, defect=defect, canaries=2000, forms=(AuditForm.START,)))
    return audit_door(replace(SMALL, defect=defect))


@pytest.mark.parametrize("defect", partly(FLAGS, LIKE_HALF_SIGMA))
def test_each_defect_is_flagged_where_it_is(defect: DoorDefect) -> None:
    found, kinds = audit(defect), FLAGS[defect]
    flagged = [text.partition(":")[0] for text in found.flagged]
    assert len(flagged) == len(kinds), flagged
    assert all(text.startswith(kind) for text, kind in zip(flagged, kinds, strict=True)), flagged
    assert defect.words in found.finding.attack
    same = [text for text in found.flagged if "leave the same noise" in text]
    assert bool(same) is (defect is DoorDefect.SAME_NOISE)  # no clip is no noise used twice


def test_an_honest_door_is_not_flagged() -> None:
    found = audit_door(replace(SMALL, forms=FORMS))
    assert found.flagged == ()
    assert set(found.differs.values()) == {0.0}
    for kind in found.kinds:
        assert kind.interval[0] < kind.factor < kind.interval[1]
    assert "PUT IN" not in found.finding.attack
    assert found.finding.figure("noise of training").interval is not None


def test_every_kind_of_release_is_audited() -> None:
    audited = {kind for form in FORMS for kind in form.kinds}
    assert audited == set(ReleaseKind) - {ReleaseKind.REHEARSAL}
    for form in FORMS:
        planned = {terms.kind for terms in plan_for(SMALL.study(form)).releases}
        assert set(form.kinds) <= planned


def test_a_sum_beyond_what_honest_units_give_is_flagged() -> None:
    """By chance more of these canaries have one label, and unclipped units stop the run."""
    unclipped = replace(SMALL, defect=DoorDefect.NO_CLIP, epsilon=100.0, seed=4, forms=ONCE[:1])
    found = audit_door(replace(unclipped, canaries=1000, levels=8))
    assert any("found one out of range" in text for text in found.flagged), found.flagged
    assert found.kinds == ()


def test_the_sum_of_a_lost_attempt_is_read_beyond_what_honest_units_give() -> None:
    """The run goes on without the lost member: what is out of range with its part, nobody adds."""
    unclipped = replace(SMALL, defect=DoorDefect.NO_CLIP, epsilon=100.0, seed=29, forms=ONCE[:1])
    found = audit_door(replace(unclipped, canaries=1000, levels=8))
    assert [kind for kind, far in found.differs.items() if far > 0] == ["training"]
    assert any(text.startswith("two attempts") for text in found.flagged), found.flagged
    assert found.stopped == ()


def test_honest_noise_is_flagged_once_in_ten_thousand() -> None:
    """The statistic alone, on drawn noise: as often as its level says, and not much less."""
    runs, random = 100_000, np.random.default_rng(3)
    sizes = [8, 24, 12] * TESTS
    chances = [
        chance_of((random.normal(size=(runs, n)) ** 2).sum(axis=1), n) for n in sizes[: TESTS - 1]
    ]
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
    """Exact noise, masks, signatures: each defect is flagged every time."""
    for seed in range(NIGHTS):
        forms = (AuditForm.START,) if defect is DoorDefect.HALF_GUARD else ONCE
        design = DoorDesign(defect=defect, seed=seed, forms=forms)
        found = audit_door(design)
        assert bool(found.flagged) is (defect is not DoorDefect.NONE), found.finding
