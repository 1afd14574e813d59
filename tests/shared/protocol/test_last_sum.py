"""The last sum travels where it is small, which everybody decides alike."""

from dataclasses import replace

import pytest

from fieldfare.shared.protocol.messages import NO_LAST_SUM, LastSum, ReleaseKind
from fieldfare.shared.protocol.plan import MOST_WORDS, Plan, carries_last_sum, plan_for
from fieldfare.shared.study.study import Study

TRAINING = ReleaseKind.TRAINING


def plan_of(levels: int) -> Plan:
    return plan_for(
        Study.model_validate(
            {
                "name": "small",
                "purpose": "tests",
                "records": {"label": "reported", "units": 400, "prevalence": 0.2},
                "features": (
                    {
                        "name": "channel",
                        "kind": "categorical",
                        "levels": [f"c{index}" for index in range(levels)],
                    },
                ),
                "training": {"steps": 4},
                "privacy": {"epsilon": 4.0, "delta": 1e-5},
            }
        )
    )


def test_before_the_first_sum_there_is_none() -> None:
    assert LastSum() == NO_LAST_SUM
    assert (NO_LAST_SUM.request, NO_LAST_SUM.replies, NO_LAST_SUM.vectors) == (b"", (), ())


@pytest.mark.parametrize("levels", [2, 100, 500])
def test_the_words_of_all_participants_count(levels: int) -> None:
    plan = plan_of(levels)
    most = MOST_WORDS // plan.training.vectors.entries
    assert most > 4
    assert carries_last_sum(plan, TRAINING, most)
    assert not carries_last_sum(plan, TRAINING, most + 1)


def test_exactly_the_limit_is_carried() -> None:
    """2^18 words: two mebibytes in a ring of 64 bits, well within a message."""
    plan = plan_of(2)
    vectors = replace(plan.training.vectors, entries=MOST_WORDS // 4)
    wide = replace(plan, training=replace(plan.training, vectors=vectors))
    assert carries_last_sum(wide, TRAINING, 4)
    vectors = replace(vectors, entries=MOST_WORDS // 4 + 1)
    wide = replace(plan, training=replace(plan.training, vectors=vectors))
    assert not carries_last_sum(wide, TRAINING, 4)
    assert carries_last_sum(wide, TRAINING, 3)
