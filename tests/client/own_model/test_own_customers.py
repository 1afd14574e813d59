"""One institution's own customers, from fewer labels, as a newcomer, without a scenario."""

import numpy as np
import pytest
from tests.support.records.scored import quick_grid

from fieldfare.client.own_model.own_customers import NEWCOMER, RARE, SHARES, OwnCustomers, here
from fieldfare.client.own_model.paired import HeldScores
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study

STUDY = """
name = "own"
purpose = "tests"
[records]
label = "label"
units = 900
prevalence = 0.2
[training]
steps = 10
[privacy]
epsilon = 2.0
delta = 1e-4
[[features]]
name = "amount"
kind = "numeric"
lower = 0
upper = 10
knots = [0, 2, 5, 10]
"""


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr("fieldfare.client.own_model.stack.own_grid", quick_grid)
    return parse_study(STUDY)


def encoded(random: np.random.Generator, count: int) -> EncodedUnits:
    positions = random.integers(0, 700, (1, count)).astype(np.uint16)
    labels = (random.random(count) < positions[0] / 2000).astype(np.uint8)
    return EncodedUnits(positions, labels)


def customers() -> OwnCustomers:
    random = np.random.default_rng(5)
    training, held = encoded(random, 400), encoded(random, 200)
    kinds = {}
    for question, names in (("rare", ("hub", "mule", "rare")), ("left out", ("S1", "S2"))):
        sides = []
        for data in (training, held):
            weights = [0.6, 0.37, 0.03] if len(names) == 3 else [0.5, 0.5]
            drawn = random.choice(np.array(names, dtype=object), len(data.labels), p=weights)
            sides.append(np.where(data.labels == 1, drawn, ""))
        kinds[question] = (sides[0], sides[1])
    return OwnCustomers("here", 0, 0, training, held, kinds)


def test_fewer_labels_are_among_more_and_nothing_else_goes() -> None:
    own = customers()
    ordinary = int((own.training.labels == 0).sum())
    before = None
    for share in SHARES:
        part = own.with_share(share)
        cases = part.training.positions[0][part.training.labels == 1].tolist()
        assert int((part.training.labels == 0).sum()) == ordinary
        assert before is None or len(cases) < len(before)
        before = cases
    assert int(own.with_cases(10).training.labels.sum()) == 10
    assert int(own.with_cases(10**6).training.labels.sum()) == int(own.training.labels.sum())
    learned, _ = own.with_cases(10).kinds["rare"]
    assert len(learned) == ordinary + 10


def test_a_scenario_is_left_out_of_training_alone() -> None:
    own = customers()
    part = own.unseen("S1")
    assert "S1" not in part.kinds["left out"][0].tolist()
    assert "S1" in part.kinds["left out"][1].tolist()
    gone = len(own.training) - len(part.training)
    assert gone == (own.kinds["left out"][0] == "S1").sum()


def test_own_records_answer_what_they_can(study: Study) -> None:
    own, shared = customers(), model_for(study).initial(-2.0)
    rows, kinds = here(study, shared, own, 0.1)
    assert [row.labels for row in rows] == [*SHARES, *map(float, NEWCOMER)]
    assert [row.learned for row in rows[-3:]] == list(NEWCOMER)
    assert [row.alone is None for row in rows] == [False] * 4 + [True, False, False]
    assert {row.cases for row in rows} == {int(own.held.labels.sum())}
    assert {row.kind for row in kinds if row.question == "left out"} == {"S1", "S2"}
    for row in kinds:
        assert row.learned < RARE
        assert row.both <= min(row.alone, row.at_home) <= row.cases


def test_a_question_without_its_column_is_not_answered() -> None:
    own = customers()
    bare = OwnCustomers(own.name, 0, 0, own.training, own.held)
    scores = HeldScores(*(np.zeros(len(own.held)) for _ in range(3)))
    assert (list(bare.rare(scores, 0.1)), bare.scenarios()) == ([], [])
