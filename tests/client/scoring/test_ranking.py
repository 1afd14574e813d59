from pathlib import Path

import numpy as np
from tests.support.records.scored import KEY, customers, ranking_of, scored_study, units_of

from fieldfare.client.records import holdout_mask
from fieldfare.client.scoring.calibration import Method, calibrate
from fieldfare.client.scoring.ranking import Ranking
from fieldfare.client.scoring.selection import AlertBudget

STUDY = scored_study()


def ids(ranking: Ranking, what: int) -> set[str]:
    units = ranking.units.units.to_pylist()
    return {units[row] for row in np.flatnonzero(ranking.chosen == what)}


def test_everyone_is_ranked_by_score(tmp_path: Path) -> None:
    ranking = ranking_of(units_of(tmp_path, customers(300), STUDY), STUDY, known_too=True)
    order = np.argsort(ranking.ranks)
    assert sorted(ranking.ranks.tolist()) == list(range(1, 301))
    assert (np.diff(ranking.scores[order]) <= 0).all()
    assert (ranking.ranks[ranking.chosen == 1] <= 20).all()
    assert len(ids(ranking, 2)) == 1


def test_harm_rule_5_whom_a_harmless_reading_fits_comes_after_all_others(tmp_path: Path) -> None:
    rows = customers(300)
    first = ids(ranking_of(units_of(tmp_path, rows, STUDY), STUDY), 1)
    chosen = [unit in first for unit in rows["customer"]]
    rows["R39_kept"] = [0.5 if one else 0.0 for one in chosen]
    rows["R21"] = [0.1] * 300
    ranking = ranking_of(units_of(tmp_path, rows, STUDY), STUDY)
    assert not ids(ranking, 1) & first
    assert len(ids(ranking, 1)) == 20
    last = {ranking.units.units[int(at)].as_py() for at in np.argsort(-ranking.ranks)[:20]}
    assert last == first
    order = np.argsort(ranking.ranks)
    assert (np.diff(ranking.scores[order][:280]) <= 0).all()
    assert (np.diff(ranking.scores[order][280:]) <= 0).all()


def test_a_ranking_depends_on_nobodys_place_in_the_file(tmp_path: Path) -> None:
    rows = customers(200)
    rows["R01"] = [1.0] * 200
    there = ranking_of(units_of(tmp_path, rows, STUDY), STUDY)
    back = ranking_of(
        units_of(tmp_path, {name: column[::-1] for name, column in rows.items()}, STUDY), STUDY
    )
    assert there.ranks.tolist() == back.ranks.tolist()[::-1]
    assert ids(there, 1) == ids(back, 1)


def test_who_is_suppressed_is_not_there_at_all(tmp_path: Path) -> None:
    units = units_of(tmp_path, customers(300), STUDY)
    first = ids(ranking_of(units, STUDY), 1)
    found = ranking_of(units, STUDY, suppressed=sorted(first)[:5])
    assert found.suppressed == 5
    assert len(found.units) == 295
    assert not first.intersection(sorted(first)[:5]) & set(found.units.units.to_pylist())
    assert len(ids(found, 1)) == 20


def test_who_rests_is_ranked_and_not_asked_about(tmp_path: Path) -> None:
    units = units_of(tmp_path, customers(300), STUDY)
    first = ids(ranking_of(units, STUDY), 1)
    found = ranking_of(units, STUDY, resting=sorted(first)[:5])
    assert (found.resting, len(found.units)) == (5, 300)
    assert not set(sorted(first)[:5]) & (ids(found, 1) | ids(found, 2))


def test_whom_the_records_already_label_is_ranked_and_no_alert(tmp_path: Path) -> None:
    units = units_of(tmp_path, customers(300), STUDY)
    labels = dict(zip(units.units.to_pylist(), units.labels.tolist(), strict=True))
    every = AlertBudget(units=300, below_line=1.0)
    found = ranking_of(units, STUDY, budget=every)
    said = ids(found, 1) | ids(found, 2)
    assert found.known == sum(labels.values()) > 5
    assert said == {unit for unit, label in labels.items() if label == 0}
    # The ranking and its probabilities are those of everybody.
    again = ranking_of(units, STUDY, budget=every, known_too=True)
    assert ids(again, 1) == set(labels)
    assert (again.ranks == found.ranks).all()
    assert (again.scores == found.scores).all()


def test_probabilities_rest_on_held_out_labels_alone(tmp_path: Path) -> None:
    units = units_of(tmp_path, customers(3000), STUDY)
    ranking = ranking_of(units, STUDY)
    held = holdout_mask(units.units.to_pylist(), key=KEY, share=STUDY.evaluation.holdout)
    expected = calibrate(ranking.scores[held], units.labels[held].astype(np.uint8))
    assert ranking.calibration == expected
    assert expected.method is not Method.NONE
    assert (ranking.probabilities == expected.apply(ranking.scores)).all()


def test_without_labels_no_probability_is_made_up(tmp_path: Path) -> None:
    rows = customers(300)
    rows["reported"] = [None] * 300
    ranking = ranking_of(units_of(tmp_path, rows, STUDY), STUDY)
    assert np.isnan(ranking.probabilities).all()
    assert "no labels" in ranking.calibration.words
