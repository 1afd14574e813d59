"""What institutions learn: a part of it, late, and with mistakes that are later cleared."""

import numpy as np
import pytest
from tests.simulations.world.conftest import Written

from fieldfare.simulations.world.observed import SCHEMA, SOURCES, ObservedLabels, observe
from fieldfare.simulations.world.society import INDEX

SIZE, DAYS = 60_000, 90


@pytest.fixture(scope="module")
def labels() -> ObservedLabels:
    begun = np.full(SIZE, np.nan)
    begun[:10_000] = -30.0
    life = np.full(SIZE, INDEX["salaried"])
    life[40_000:] = INDEX["student"]
    return observe(
        np.random.default_rng(0), rows=np.arange(SIZE), begun=begun, life=life, seen=0.25, days=DAYS
    )


def test_a_part_is_ever_seen_after_a_month_to_a_year(labels: ObservedLabels) -> None:
    true = labels.customer < 10_000
    assert true.sum() == pytest.approx(2_500, rel=0.06)
    lag = labels.observed[true] - labels.effective[true]
    assert (labels.value[true] == 1).all()
    assert lag.min() >= 30
    assert lag.max() <= 365


def test_mistakes_are_few_more_often_look_alikes_and_mostly_cleared(labels: ObservedLabels) -> None:
    wrong = (labels.customer >= 10_000) & (labels.value == 1)
    cleared = labels.value == 0
    assert wrong.sum() == pytest.approx(30_000 * 0.001 + 20_000 * 0.003, rel=0.35)
    assert 0.5 < cleared.sum() / wrong.sum() < 0.9
    assert set(labels.customer[cleared]) <= set(labels.customer[wrong])
    assert (labels.source[cleared] == SOURCES.index("cleared")).all()


def test_rows_come_in_the_order_of_what_was_known_when(labels: ObservedLabels) -> None:
    assert (np.diff(labels.observed) >= 0).all()


def test_the_file_says_what_a_bank_would_know_and_when(written: Written) -> None:
    found = written.read("bank-a/labels")
    assert found.schema == SCHEMA
    assert set(found["subject_id"].to_pylist()) <= set(
        written.read("bank-a/customers")["customer_id"].to_pylist()
    )
