"""Rarer cases: fewer to learn from, the same hold-out, the same noise."""

import pytest
from tests.simulations.conftest import SimulationFolder

from fieldfare.simulations.demo.five_banks import rarer
from fieldfare.simulations.federation.population import load_population


def test_only_labelled_units_that_are_learned_from_become_fewer(work: SimulationFolder) -> None:
    task = work.task()
    population = load_population(task.study, task.choice, seed=0)
    labelled = sum(
        int(records.data.labels[~population.holdout[name]].sum())
        for name, records in population.records.items()
    )
    whole, rows = rarer(task.study, task.choice, share=1.0, seed=0)
    third, _ = rarer(task.study, task.choice, share=0.3, seed=0)
    assert sum(row.learned for row in rows) == labelled
    assert whole["positives"] == labelled
    assert 0.15 * labelled < third["positives"] < 0.45 * labelled
    assert third["prevalence"] < whole["prevalence"]
    assert third["share"] == 0.3


def test_recall_is_measured_for_all_three(work: SimulationFolder) -> None:
    found, _ = rarer(work.task().study, work.task().choice, share=1.0, seed=0)
    assert 0 < found["alone"] <= 1  # the label follows the amount
    assert 0 <= found["together"] <= 1
    assert 0 < found["at_home"] <= 1


def test_the_same_seed_finds_the_same(work: SimulationFolder) -> None:
    task = work.task()
    one, two = (rarer(task.study, task.choice, share=0.5, seed=4) for _ in range(2))
    assert one == two


def test_without_a_case_nothing_is_measured_and_nothing_breaks(work: SimulationFolder) -> None:
    table = work.read_records()
    none = table.set_column(
        table.column_names.index("reported"), "reported", [[0] * table.num_rows]
    )
    work.write_records(none)
    found, _ = rarer(work.task().study, work.task().choice, share=0.1, seed=0)
    assert (found["positives"], found["together"], found["at_home"]) == (0, None, None)
    assert found["alone"] is None
    assert found["prevalence"] == pytest.approx(0)
