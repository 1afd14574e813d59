"""One institution's reply: all of it without protection, nothing with masks, little with noise."""

from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from flwr.app import Message
from tests.simulations.attacks.test_membership import population, study

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.canonical import claimed
from fieldfare.shared.errors import UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import RECORD, Call, bytes_of
from fieldfare.shared.protocol.secure_sum import RunKeys
from fieldfare.shared.ring import WordBits
from fieldfare.shared.run.replay import add_words
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.finding import Finding
from fieldfare.simulations.attacks.inversion import (
    Cover,
    InversionTask,
    inversion,
    uniform_chance,
)
from fieldfare.simulations.federation.federation import LocalFederation

ERROR = "error in cases by level, of guessing's"
CHANCE = "chance of bytes as uneven, were they uniform"
TRIALS = 300


def task(
    epsilon: float = 1.0, steps: int = 60, prevalence: float = 0.05, **given: object
) -> InversionTask:
    made = study(6, 600, steps).model_dump(mode="json", exclude_none=True)
    made["privacy"]["epsilon"] = epsilon
    made["records"]["prevalence"] = prevalence
    agreed = Study.model_validate(made)
    asked = {"study": agreed, "units": population(600, 6), "trials": TRIALS, **given}
    return InversionTask(**asked)  # type: ignore[arg-type]


@cache
def found(epsilon: float = 1.0, steps: int = 60) -> dict[Cover, Finding]:
    return dict(zip(Cover, inversion(task(epsilon, steps)), strict=True))


def test_a_bare_sum_tells_every_count_and_every_unit() -> None:
    bare = found()[Cover.NONE]
    assert bare.figure(ERROR).value == 0.0
    assert bare.figure("AUROC").value == bare.figure("TPR - FPR").value == 1.0
    assert bare.figure(CHANCE).value < 1e-9
    assert bare.flagged == ()  # nothing was promised of it


def test_where_both_labels_are_clipped_a_sum_tells_the_difference_of_counts_alone() -> None:
    bare = inversion(task(prevalence=0.2))[0]
    assert bare.figure("AUROC").value == 1.0
    assert 0.1 < bare.figure(ERROR).value < 0.9


def test_noise_alone_leaves_what_its_share_allows() -> None:
    """With little noise it works, and comes to its ceiling; with what is owed to nothing."""
    weak, owed = found(50.0, 1)[Cover.NOISE], found()[Cover.NOISE]
    area = weak.figure("AUROC")
    assert area.interval is not None
    assert area.ceiling is not None
    assert area.value > 0.9
    assert area.interval[0] <= area.ceiling
    assert weak.figure(ERROR).value < 0.7
    near = owed.figure("AUROC")
    assert near.interval is not None
    assert near.ceiling is not None
    assert near.ceiling == pytest.approx(0.514, abs=0.003)
    assert near.interval[0] <= near.ceiling
    assert owed.figure(ERROR).value > 0.9


@pytest.mark.parametrize("cover", [Cover.MASKS, Cover.BOTH])
def test_masks_leave_nothing_whatever_the_noise(cover: Cover) -> None:
    for one in (found()[cover], found(50.0, 1)[cover]):
        area, chance = one.figure("AUROC"), one.figure(CHANCE)
        assert area.interval is not None
        assert area.ceiling == 0.5
        assert area.interval[0] <= 0.5 <= area.interval[1]
        assert one.figure(ERROR).value > 0.9
        assert chance.value > 1e-4
        assert one.flagged == ()


def test_masks_that_are_not_uniform_are_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 32 bits: one in 16 is missing from the highest byte."""
    whole = RunKeys.mask

    def thin(*given: object) -> object:
        return whole(*given) & np.uint64(0xEFFFFFFF)  # type: ignore[arg-type]

    monkeypatch.setattr(RunKeys, "mask", thin)
    flagged = [one.flagged for one in inversion(task())]
    assert [bool(one) for one in flagged] == [False, False, True, True]


def test_uniform_words_pass_and_others_do_not() -> None:
    random, bits = np.random.default_rng(0), WordBits(32)
    passed = [
        uniform_chance(random.integers(0, 2**32, 20_000, dtype=np.uint64), bits) for _ in range(50)
    ]
    assert min(passed) > 1e-4
    assert min(passed) < 0.5 < max(passed)
    assert uniform_chance(random.integers(0, 2**31, 20_000, dtype=np.uint64), bits) < 1e-9
    even = random.integers(0, 2**31, 20_000, dtype=np.uint64) * np.uint64(2)
    assert uniform_chance(even, bits) < 1e-9


def test_replies_of_the_real_door_are_uniform_too(tmp_path: Path) -> None:
    """The attack puts a reply together from the door's pieces; here is what a door sends.

    With the seeds off, that is: under them are masks.
    """
    agreed = study(40, 600, 6)
    units, nobody = population(200, 40), np.zeros(200, dtype=np.bool_)
    sums = {f"bank-{x}": StudySums.prepare(agreed, units, nobody) for x in "abc"}
    sent, seeds = [], []  # in one order: everybody's of each sum

    def saw(message: Message) -> None:
        metadata, content = message.metadata, cast("Any", message.content[RECORD])
        if metadata.message_type == Call.RELEASE.message_type and metadata.reply_to_message_id:
            sent.append(bytes_of(content, "vector"))
        if metadata.message_type == Call.REVEAL.message_type and metadata.reply_to_message_id:
            seeds.append(claimed(bytes_of(content, "reply"), "seed") or "")

    with LocalFederation(agreed, sums, Protection.EXACT, seed=0, directory=tmp_path) as federation:
        federation.run(federation.job(), federation.grid(tap=saw))
        plan = federation.plan
        terms = plan.training
    entries = terms.vectors.entries
    size = entries * terms.word_bits.value // 8
    steps = [one for one in zip(sent, seeds, strict=True) if len(one[0]) == size]
    assert len(steps) >= 6 * 3
    # Each institution's own: together their masks cancel.
    own = [add_words([one], terms.word_bits, entries, [seed]) for one, seed in steps[::3]]
    assert uniform_chance(np.concatenate(own), terms.word_bits) > 1e-4


@pytest.mark.parametrize("wrong", [{"trials": 3}, {"units": population(60, 6)}])
def test_too_little_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="expected"):
        inversion(task(**wrong))  # type: ignore[arg-type]


def test_the_same_seed_finds_the_same() -> None:
    assert inversion(task()) == inversion(task())
