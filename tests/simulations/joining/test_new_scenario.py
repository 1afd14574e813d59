"""A scenario begins: who is there, who is known, and the review that finds the first account."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.records.scored import quick_grid, scored_study

from fieldfare.client.own_model.own_customers import HomeFits, OwnCustomers
from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.simulations.federation.homes import JointTrainer
from fieldfare.simulations.joining import new_scenario
from fieldfare.simulations.joining.new_scenario import NewAccounts, months_until_found

STUDY = scored_study()


def bank(name: str, begun: list[str], known: list[str]) -> OwnCustomers:
    """Sixty training units, of which the first few serve the new scenario; six are held out."""
    random = np.random.default_rng(len(name))
    size, count = 66, len(begun)
    positions = random.integers(0, 3, (6, size)).astype(np.uint16)
    labels = np.zeros(size, np.uint8)
    labels[:count] = 1
    labels[40:50] = 1  # of another scenario
    texts = {
        "left out": np.array([*["new"] * count, *[""] * (size - count)], dtype=object),
        "begun": np.array([*begun, *[""] * (size - count)], dtype=object),
        "known": np.array([*known, *[""] * (size - count)], dtype=object),
    }
    units = EncodedUnits(positions, labels)
    training = np.arange(size) < 60
    kinds = {key: (text[training], text[~training]) for key, text in texts.items()}
    return OwnCustomers(name, 0, 0, units.select(training), units.select(~training), kinds)


class Marked(SumModel):
    """Scores the unit at the one place highest."""

    place = 0

    def scores(self, data: EncodedUnits) -> NDArray[np.float64]:
        found = np.zeros(len(data))
        found[self.place] = 1.0
        return found


def test_accounts_are_there_and_known_on_their_days() -> None:
    watched = NewAccounts.of(bank("a", ["-10", "20", "50"], ["35", "", "400"]), "new")
    assert watched.first == -10
    assert watched.there(0)[:3].tolist() == [True, False, False]
    assert watched.unknown(20)[:3].tolist() == [True, True, False]
    assert watched.unknown(60)[:3].tolist() == [False, True, True]  # the first is known by then
    early, late = watched.learning(0).training, watched.learning(60).training
    assert (len(early), len(late)) == (58, 60)
    assert early.labels[:1].tolist() == [0]  # nobody knows: taken for ordinary
    assert late.labels[:3].tolist() == [1, 0, 0]
    assert int(late.labels.sum()) == 11  # and the others' cases are known throughout


@pytest.fixture
def found_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldfare.client.own_model.stack.own_grid", quick_grid)
    model = model_for(STUDY)
    nothing = model.initial(0.0)
    monkeypatch.setattr(JointTrainer, "shared", lambda *_: nothing)
    monkeypatch.setattr(
        HomeFits, "of", lambda study, _, data: HomeFits(study, data, None, SumModel(model, nothing))
    )
    monkeypatch.setattr(HomeFits, "at_home", lambda *_: Marked(model, nothing))
    monkeypatch.setattr(new_scenario, "reviewed", lambda scores, _: scores > 0)


@pytest.mark.usefixtures("found_by")
def test_the_first_review_that_finds_one_counts() -> None:
    """At home the first unit is looked at: it is of the scenario. Alone nobody is."""
    banks = [bank("a", ["0"], [""]), bank("bb", ["40"], [""]), bank("ccc", [], [])]
    rows = months_until_found(JointTrainer.of(STUDY, 0), banks, "new", 100)
    assert [(row.institution, row.months, row.alone, row.at_home) for row in rows] == [
        ("a", 3, None, 1),
        ("bb", 2, None, 1),
    ]  # the third bank never has one
    assert months_until_found(JointTrainer.of(STUDY, 0), banks, "unheard of", 100) == []
