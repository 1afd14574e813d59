import numpy as np
from tests.support.runs.grouped import AGES, FARED, SEGMENTS, grouped_study, released_groups

from fieldfare.shared.evaluation.group_cells import group_scale
from fieldfare.shared.evaluation.groups import read_fairness
from fieldfare.shared.finished_model.card_page import group_tables


def test_each_grouping_is_a_table_that_begins_with_everybody() -> None:
    (table,) = group_tables(released_groups())
    assert table["column"] == "age_band"
    everybody, young, old, rest = table["rows"]
    assert (everybody["name"], everybody["verdict"]) == ("everybody", "")
    assert young["units"] == "10,100"
    assert young["alerts"].startswith("10.5 % (")
    assert young["wrong"].startswith("10 % (9.4")
    assert young["verdict"] == "more than twice: 9.1 times"
    assert old["verdict"] == "no more than twice: 0.1 times"
    assert rest["verdict"] == "too few to say"


def test_there_are_as_many_tables_as_groupings() -> None:
    study = grouped_study(evaluation={"groups": [AGES, SEGMENTS]})
    values = np.concatenate([np.array(FARED), np.full(16, 500.0)]) * group_scale(study.groups)
    tables = group_tables(read_fairness(study, values, 1.0, 0.0))
    assert [len(one["rows"]) for one in tables] == [4, 5]


def test_without_groups_there_is_no_table() -> None:
    assert group_tables(None) == []
    assert group_tables({}) == []


def test_what_noise_hides_is_said_to_be_hidden() -> None:
    (table,) = group_tables(released_groups(noise=1e6))
    assert {row["alerts"] for row in table["rows"]} == {"too few to say"}
