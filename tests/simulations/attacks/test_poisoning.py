"""One liar of ten: the damage, what each defence does about it, and what none does."""

from functools import cache
from pathlib import Path

import pytest
from pydantic import ValidationError

from fieldfare.shared.errors import StudyError
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.poisoning import (
    Defence,
    MemberLie,
    PoisoningOutcome,
    damage_table,
    damage_words,
    epsilon_of_group,
    poisoned,
    poisoned_study,
)

ROOT = Path(__file__).parents[3]


@cache
def run(poison: MemberLie, defence: Defence = Defence.NONE) -> PoisoningOutcome:
    return poisoned(poison, defence)


@pytest.mark.parametrize("defence", [Defence.BOUND, Defence.GROUPS, Defence.GATE])
def test_no_defence_costs_an_honest_run_two_points(defence: Defence) -> None:
    found = run(MemberLie.HONEST, defence)
    assert found.stopped is None
    assert found.precision > run(MemberLie.HONEST).precision - 0.02


def test_flipped_labels_cost_points_and_groups_take_some_back() -> None:
    honest, bare = run(MemberLie.HONEST), run(MemberLie.LABEL_FLIP)
    grouped = run(MemberLie.LABEL_FLIP, Defence.GROUPS)
    assert bare.precision < honest.precision - 0.02
    assert bare.precision + 0.01 < grouped.precision < honest.precision


def test_a_sum_within_what_honest_units_give_turns_the_model_round() -> None:
    bare = run(MemberLie.SCALED_SUM)
    assert bare.found < 0.05
    assert run(MemberLie.SCALED_SUM, Defence.BOUND) == PoisoningOutcome(
        MemberLie.SCALED_SUM, Defence.BOUND, bare.precision, bare.found, bare.hidden, None
    )  # the bound misses it
    assert bare.precision + 0.1 < run(MemberLie.SCALED_SUM, Defence.GROUPS).precision
    assert run(MemberLie.SCALED_SUM, Defence.GATE).stopped == 0  # no model instead of that one


def test_a_bound_ends_the_run_of_whoever_is_loud() -> None:
    assert run(MemberLie.LOUD_SUM, Defence.BOUND).stopped == 0


def test_a_backdoor_hides_its_own_and_nothing_shows_it() -> None:
    honest, bare = run(MemberLie.HONEST), run(MemberLie.BACKDOOR)
    assert bare.hidden < honest.hidden / 2
    assert bare.precision > honest.precision - 0.02
    for defence in (Defence.BOUND, Defence.GATE):
        assert run(MemberLie.BACKDOOR, defence).stopped is None
    assert run(MemberLie.BACKDOOR, Defence.GROUPS).hidden < honest.hidden / 2


def test_a_row_says_what_its_runs_say() -> None:
    row = next(damage_table(1))
    assert (row.poison, row.defence, row.damage, row.runs) == ("honest", "none", 0.0, 1)
    assert damage_words(row).startswith("| honest | none | 0.")


def test_nothing_that_opens_partial_sums_reaches_a_deployed_study() -> None:
    """No study can ask for it, no release is of it, and no deployed part knows this room."""
    content = poisoned_study().model_dump(mode="json", exclude_none=True)
    for key in ("groups", "group_rounds", "subgroups"):
        with pytest.raises((StudyError, ValidationError)):
            Study.model_validate(content | {"aggregation": {key: 2}})
    kinds = {"rehearsal", "moments", "training", "guard", "evaluation", "fairness", "query"}
    assert {kind.value for kind in ReleaseKind} == kinds
    for part in ("shared", "client", "server"):
        for path in (ROOT / part).rglob("*.py"):
            assert "simulations.attacks" not in path.read_text("utf-8"), path
    # What it would cost where it were: a sum of two, one of whom may collude.
    assert epsilon_of_group(poisoned_study()) > 3
