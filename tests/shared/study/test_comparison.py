from tests.support.homes.institutions import home_study

from fieldfare.shared.study.comparison import StudyChange, change_line, compare
from fieldfare.shared.study.study import Study


def test_changes_are_named_by_canonical_key() -> None:
    before = home_study()
    after = home_study(
        privacy__epsilon=0.75,
        prohibited_uses=["anything else"],
        features=[
            {"name": "amount", "kind": "numeric", "lower": 0, "upper": 10, "special": [0]},
            {"name": "age_of_account", "kind": "numeric", "lower": 0, "upper": 9},
        ],
    )
    found = {change.key: (change.before, change.after) for change in compare(before, after).changes}
    assert found["privacy.epsilon"] == ("0.5", "0.75")
    assert found["features[amount].special"] == ("[]", "[0]")
    assert found["features[channel].levels"] == ('["branch", "online"]', None)
    assert found["features[age_of_account].upper"] == (None, "9")
    assert found["prohibited_uses"][1] == '["anything else"]'
    assert "purpose" not in found
    assert not any(key.startswith("training") for key in found)


def test_the_order_of_features_is_a_change_and_the_same_study_has_none() -> None:
    study = home_study()
    turned = Study.model_validate(
        study.model_dump(mode="json")
        | {"features": study.model_dump(mode="json")["features"][::-1]}
    )
    assert turned.id != study.id
    (change,) = compare(study, turned).changes
    assert (change.key, change.before) == ("features", '["amount", "channel"]')
    assert compare(study, study).changes == ()


def test_different_studies_always_differ_in_some_key() -> None:
    studies = [
        home_study(name="other"),
        home_study(purpose="x"),
        home_study(records__units=601),
        home_study(records__missing=["-"]),
        home_study(training__beta1=0.5),
        home_study(evaluation__score_bins=8),
        home_study(aggregation__deadline_seconds=5.0),
    ]
    for study in studies:
        assert len(compare(home_study(), study).changes) == 1


def test_a_change_is_one_line_and_moves_nothing() -> None:
    assert change_line(StudyChange("a", None, "1"), 40) == "+ a: 1"
    assert change_line(StudyChange("a", "1", None), 40) == "- a: 1"
    assert change_line(StudyChange("a\n", "1\x1b[2J", "2" * 50), 9) == "~ a : 1 [2J -> 222222..."
