import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tests.support.records.scored_rows import network, network_units

from fieldfare.client.own_model.tuning import own_head
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.features.rows import unit_rows


def data(units: int, *, seed: int, own: float = 0.0) -> EncodedUnits:
    vectors, labels = network_units(units, seed=seed, own=own)
    empty = np.empty((0, units), np.uint16)
    return EncodedUnits(empty, labels.astype(np.uint8), unit_rows(vectors))


def loss(parameters: NDArray[np.float64], held: EncodedUnits) -> float:
    scores = network()[0].scores(parameters, held)
    return float((np.logaddexp(0, scores) - held.labels * scores).mean())


def test_a_head_learns_what_matters_here_and_the_body_stays_shared() -> None:
    model, shared = network()
    made = own_head(model, shared, data(1500, seed=1, own=2.0))
    held = data(1500, seed=2, own=2.0)
    before, after = (roc_auc_score(held.labels, model.scores(p, held)) for p in (shared, made))
    assert after > before + 0.03
    body = np.setdiff1d(np.arange(len(shared)), model.head_places)
    assert np.array_equal(made[body], shared[body])


def test_few_labels_move_it_less_than_they_would_alone() -> None:
    model, shared = network()
    few = own_head(model, shared, data(80, seed=5))
    held = data(3000, seed=6)
    zero = shared.copy()
    zero[model.head_places] = 0.0
    alone = own_head(model, zero, data(80, seed=5))
    assert loss(few, held) < loss(alone, held)


def test_the_shared_head_stays_where_no_other_is_better_on_validation_units() -> None:
    model, shared = network()
    vectors, labels = network_units(400, seed=7)
    chosen = np.zeros(400, np.bool_)
    for value in (0, 1):
        chosen[np.flatnonzero(labels == value)[::4]] = True
    # What the validation units say is the shared head's own word, the others say its opposite.
    signs = np.where(chosen, 1.0, -1.0)[:, None]
    wrong = EncodedUnits(
        np.empty((0, 400), np.uint16), labels.astype(np.uint8), unit_rows(signs * vectors)
    )
    assert np.array_equal(own_head(model, shared, wrong), shared)
