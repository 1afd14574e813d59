"""Cases found alone and together, as counts: against brute force, and what the truth judges."""

import json
from math import comb
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.own_model.paired import HeldScores
from fieldfare.shared.models import model_for
from fieldfare.simulations.demo.five_banks import banks_task
from fieldfare.simulations.federation.found import (
    COUNTED,
    JudgedUnits,
    difference,
    found_figures,
    rank_hidden,
)
from fieldfare.simulations.federation.homes import OwnFits, homes_of
from fieldfare.simulations.federation.population import load_population
from fieldfare.simulations.metrics import UNKNOWN


def tail(many: int, least: int, chance: float) -> float:
    """Return the chance of at least so many heads, summed up."""
    return sum(
        comb(many, n) * chance**n * (1 - chance) ** (many - n) for n in range(least, many + 1)
    )


@pytest.mark.parametrize(("more", "fewer"), [(8, 2), (2, 8), (5, 0), (0, 5), (1, 1), (40, 31)])
def test_the_interval_is_the_exact_one_of_those_that_one_side_alone_finds(
    more: int, fewer: int
) -> None:
    found, many = difference(more, fewer), more + fewer
    low = brentq(lambda p: tail(many, more, p) - 0.025, 0, 1) if more else 0.0
    high = brentq(lambda p: tail(many, more + 1, p) - 0.975, 0, 1) if fewer else 1.0
    assert found["value"] == more - fewer
    assert found["low"] == pytest.approx(many * (2 * low - 1), abs=1e-6)
    assert found["high"] == pytest.approx(many * (2 * high - 1), abs=1e-6)


def test_where_both_find_the_same_nothing_differs() -> None:
    assert set(difference(0, 0).values()) == {0}


def judge(alone: list[float], home: list[float], cases: list[int]) -> JudgedUnits:
    scores = HeldScores(np.array(alone), np.array(home)[::-1], np.array(home))
    return JudgedUnits(scores, np.array(cases) == 1)


def test_counts_of_institutions_add_up_with_their_denominators() -> None:
    one = judge([9, 8, 1, 0], [9, 0, 8, 1], [1, 0, 1, 0])
    two = judge([9, 8, 1, 0], [0, 1, 8, 9], [0, 0, 1, 1])
    found = found_figures("labels", {"one": one, "two": two}, 0.5)["found"]
    first, second = found["institutions"]
    assert [first[key] for key in ("cases", "reviews", "alone", "together")] == [2, 2, 1, 2]
    assert [second[key] for key in ("cases", "alone", "together", "only_together")] == [2, 0, 2, 2]
    assert all(found[key] == first[key] + second[key] for key in COUNTED)
    assert found["difference"] == difference(3, 0)


def test_without_a_case_nothing_is_said() -> None:
    assert found_figures("labels", {"one": judge([1, 0], [1, 0], [0, 0])}, 0.5) == {}


def test_the_truth_judges_everybody_whom_no_bank_knows_out_of_fold(tmp_path: Path) -> None:
    task = banks_task(tmp_path, seed=3, people=6_000)
    population = load_population(task.study, task.choice, seed=3)
    shared = model_for(task.study).initial(-3.0)
    fits = OwnFits.begin(task.study, shared, population.training)
    homes = homes_of(fits, shared)
    units = rank_hidden(population, homes, SumModel(model_for(task.study), shared))
    for name, one in units.items():
        records = population.records[name]
        assert len(one.cases) == int((records.data.labels == 0).sum())
        assert one.known == int(records.data.labels.sum())
        assert records.audit is not None
        assert one.cases.sum() == (records.audit == UNKNOWN).sum()
    stacked = [name for name, apart in homes.apart.items() if apart[0] is not None]
    assert stacked
    for name in stacked:
        records, seen = population.records[name], ~population.holdout[name]
        free = (records.data.labels == 0)[seen]
        plain = homes.alone[name].scores(population.training[name])[free]
        told = units[name].scores.alone
        assert told is not None
        apart = told[seen[records.data.labels == 0]]
        assert not np.allclose(apart, plain)  # scored by models that had not seen them
    cases = sum(int(one.cases.sum()) for one in units.values())
    known = json.loads(json.dumps(task.world))["known"]["cases"]
    assert cases == task.world["positives"] - known if task.world else False
