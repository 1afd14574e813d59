"""Whom reviews fall on: each institution's own queue, and those whom a reading fits last."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.records.scored import customers, parameters, scored_study

from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.scoring.selection import AlertBudget
from fieldfare.shared.models import model_for
from fieldfare.simulations.federation.population import Population, RecordsChoice, load_population
from fieldfare.simulations.federation.reviews import (
    fairness_figures,
    reviews_of,
)
from fieldfare.simulations.metrics import UNKNOWN

STUDY = scored_study()
BUDGET = AlertBudget(share=0.1)


@pytest.fixture
def population(tmp_path: Path) -> Population:
    rows = customers(1200)
    of_x = [one == "x" for one in rows["group"]]
    rows |= {"bank": [f"bank-{row % 3}" for row in range(1200)], "R21": [0.0] * 1200}
    rows["R39_kept"] = [0.5 if one else 0.0 for one in of_x]
    pq.write_table(pa.table(rows), tmp_path / "all.parquet")
    choice = RecordsChoice(
        (str(tmp_path / "all.parquet"),), institution_column="bank", audit_column="group"
    )
    return load_population(STUDY, choice, seed=0)


def models(population: Population) -> dict[str, SumModel]:
    return dict.fromkeys(population.records, SumModel(model_for(STUDY), parameters(STUDY)))


def test_every_institution_reviews_its_own_and_readings_come_last(population: Population) -> None:
    found = reviews_of(models(population), population, BUDGET)
    held = [int(one.sum()) for one in population.holdout.values()]
    assert len(found.labels) == sum(held)
    assert found.reviewed.sum() == found.by_score.sum() == sum(map(BUDGET.alerts, held))
    assert not found.reviewed[found.groups == "x"].any()
    assert found.by_score[found.groups == "x"].any()
    figures = fairness_figures(found)
    assert figures["recall"] < figures["recall_by_score"]
    assert [row["alerts"] for row in figures["rows"]] == [0, int(found.reviewed.sum())]


def test_without_the_numbers_the_score_alone_decides(population: Population) -> None:
    bare = {name: replace(one, beside=None) for name, one in population.records.items()}
    found = reviews_of(models(population), replace(population, records=bare), BUDGET)
    assert np.array_equal(found.reviewed, found.by_score)


def test_cases_that_nobody_knows_are_in_no_group(population: Population) -> None:
    found = reviews_of(models(population), population, BUDGET)
    hidden = replace(found, groups=np.where(found.groups == "x", UNKNOWN, found.groups))
    rows, before = (fairness_figures(one)["rows"] for one in (hidden, found))
    assert [row["name"] for row in rows] == [row["name"] for row in before if row["name"] != "x"]
    assert [row["times"] for row in rows] == [None]
