import math
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.support.system.packages import LISTED, MODEL, MODULE, PACKAGE, install

from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import (
    Policy,
    limits,
    load_policy,
    pinned_coordinator,
    study_limit,
)
from fieldfare.client.home.policy_explained import policy_text
from fieldfare.client.home.policy_objections import objections, study_columns
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import KeysError, StudyError
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import delta_for, mu2_for
from fieldfare.shared.privacy.usual_budget import USUAL_DELTA, USUAL_STUDY, USUAL_YEAR
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.allowed_packages import permit
from fieldfare.shared.study.file import load_study, parse_study
from fieldfare.shared.study.study import Study
from fieldfare.shared.study.toml import parse_toml

KEY, OTHER = "a1" * 32, "b2" * 32
COLUMNS = ["customer", "reported", "amount", "channel"]


def make_policy(**changes: Any) -> Policy:
    """The policy that `init` writes, with its columns listed; `budget__delta=...` changes a key."""
    data = tomllib.loads(policy_text(KEY))
    data["records"]["columns"] = COLUMNS
    for path, value in changes.items():
        section, _, key = path.rpartition("__")
        (data[section] if section else data)[key] = value
    return Policy.model_validate(data)


def make_study(**changes: Any) -> Study:
    data: dict[str, Any] = {
        "name": "small",
        "purpose": "tests",
        "records": {"unit": "customer", "label": "reported", "units": 9000, "prevalence": 0.1},
        "features": [
            {"name": "amount", "kind": "numeric", "lower": 0, "upper": 10},
            {"name": "channel", "kind": "categorical", "levels": ["branch", "online"]},
        ],
        "privacy": {"epsilon": 1.0, "delta": 1e-5, "collusion_tolerance": 1},
        "aggregation": {"minimum_institutions": 3},
    }
    for path, value in changes.items():
        section, _, key = path.rpartition("__")
        (data[section] if section else data)[key] = value
    return Study.model_validate(data)


def broken(policy: Policy, study: Study, units: int = 1000) -> list[str]:
    return [o.rule for o in objections(policy, study, plan_for(study), units=units)]


# -- the file -------------------------------------------------------------------------------


def test_init_writes_a_policy_that_allows_nothing_yet(home: Home) -> None:
    policy = load_policy(home)
    assert (policy.coordinator, policy.records.columns) == ("", ())
    assert "auto_approve" not in home.policy.read_text()
    assert set(broken(policy, make_study())) == {"records.columns"}
    with pytest.raises(KeysError, match=r"coordinator = "):
        pinned_coordinator(home, policy)


def test_prices_at_a_coordinator_are_by_what_init_writes(home: Home) -> None:
    budget = load_policy(home).budget
    usual = (USUAL_DELTA, USUAL_STUDY, USUAL_YEAR)
    assert (budget.delta, budget.study_epsilon, budget.yearly_epsilon) == usual


MISTAKES: list[tuple[str, object]] = [
    ("format", 2),
    ("coordinator", "A1" * 32),
    ("coordinator", "a1"),
    ("auto_approve", "no"),
    ("auto_approve", 0),
    ("auto_approve", True),
    ("budget.delta", 0.1),
    ("budget.delta", 0.0),
    ("budget.study_epsilon", 0),
    ("budget.study_epsilon", 1e-15),
    ("budget.study_epsilon", 101),
    ("budget.study_epsilon", "1"),
    ("budget.study_epsilon", math.inf),
    ("budget.yearly_epsilon", 0.5),
    ("budget.lifetime_epsilon", 1.5),
    ("participants.minimum_honest", 1),
    ("participants.minimum_tolerance", 0),
    ("participants.minimum_tolerance", 1.5),
    ("releases.kinds", ["training", "everything"]),
    ("releases.kinds", "*"),
    ("records.minimum_units", 0),
    ("records.columns", ["*", "amount"]),
    ("records.columns", ["amount", "amount"]),
    ("records.columns", ["x" * 129]),
    ("records.columns", "*"),
    ("budget.epsilon", 1.0),
    ("columns", []),
]


@pytest.mark.parametrize(("path", "value"), MISTAKES, ids=str)
def test_every_mistake_is_found_at_its_key(path: str, value: object) -> None:
    data = tomllib.loads(policy_text(KEY))
    section, _, key = path.rpartition(".")
    (data[section] if section else data)[key] = value
    with pytest.raises(ValueError, match=path.replace(".", r"\.")):
        Policy.model_validate(data)


def test_all_mistakes_are_said_at_once() -> None:
    text = (
        policy_text(KEY)
        .replace("study_epsilon = 1.0", "study_epsilon = 3.0")  # above yearly_epsilon
        .replace("minimum_honest = 2", "minimum_honest = 1")
        .replace('["training"', '["gossip"')
    )
    with pytest.raises(StudyError) as refused:
        parse_toml(text, Policy, "policy.toml")
    assert [line.split(": ")[1] for line in refused.value.problems] == [
        *("budget.yearly_epsilon", "participants.minimum_honest", "releases.kinds.0")
    ]


@pytest.mark.parametrize("key", ["study_epsilon", "delta", "minimum_units", "kinds", "columns"])
def test_what_decides_has_no_silent_default(key: str) -> None:
    lines = policy_text(KEY).split("\n")
    text = "\n".join(line for line in lines if not line.startswith(f"{key} ="))
    with pytest.raises(StudyError, match=f"{key}: expected a value"):
        parse_toml(text, Policy, "policy.toml")


# -- the coordinator's key ------------------------------------------------------------------


@pytest.mark.parametrize(("in_policy", "in_file"), [(KEY, None), ("", KEY), (KEY, KEY)])
def test_the_key_is_pinned_in_either_place(home: Home, in_policy: str, in_file: str | None) -> None:
    if in_file is not None:
        home.coordinator_key.write_text(in_file + "\n")
    assert pinned_coordinator(home, make_policy(coordinator=in_policy)) == KEY


def test_two_keys_are_none(home: Home) -> None:
    home.coordinator_key.write_text(OTHER)
    with pytest.raises(KeysError, match="out of band"):
        pinned_coordinator(home, make_policy())


@pytest.mark.parametrize("content", [b"junk", b"\xff" * 64, b"a1" * 33])
def test_a_file_without_a_key_pins_nothing(home: Home, content: bytes) -> None:
    home.coordinator_key.write_bytes(content)
    with pytest.raises(KeysError, match="64 lower-case hexadecimal"):
        pinned_coordinator(home, make_policy(coordinator=""))


# -- the budget -----------------------------------------------------------------------------


def test_limits_are_the_policys_epsilons_in_mu2_rounded_down() -> None:
    found = limits(make_policy())
    for epsilon, picomu2 in ((2.0, found.yearly_picomu2), (6.0, found.lifetime_picomu2)):
        exact = Decimal(mu2_for(epsilon=epsilon, delta=1e-5, xi=XI_LIMIT)) * 10**12
        assert picomu2 <= exact < picomu2 + 1
        # an independent look: that total keeps the promise, and 1 part in 1e8 more breaks it
        assert delta_for(epsilon=epsilon, mu2=picomu2 / 1e12, xi=XI_LIMIT) <= 1e-5
        assert delta_for(epsilon=epsilon, mu2=picomu2 / 1e12 * (1 + 1e-8), xi=XI_LIMIT) > 1e-5


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-4, 100), st.floats(1e-12, 0.099))
def test_a_study_that_promises_the_limit_fits_into_it(epsilon: float, delta: float) -> None:
    try:
        plan = plan_for(make_study(privacy__epsilon=epsilon, privacy__delta=delta))
    except StudyError:
        return  # too little for any release
    sames = {f"budget__{name}_epsilon": epsilon for name in ("study", "yearly", "lifetime")}
    policy = make_policy(budget__delta=delta, **sames)
    assert plan.study_limit <= study_limit(policy)
    assert study_limit(policy) == limits(policy).yearly_picomu2 == limits(policy).lifetime_picomu2


def test_a_budget_too_small_for_anything_is_zero_and_a_large_one_is_counted() -> None:
    small = {f"budget__{name}_epsilon": 1e-6 for name in ("study", "yearly", "lifetime")}
    assert study_limit(make_policy(budget__delta=1e-30, **small)) == 0
    large = {f"budget__{name}_epsilon": 100.0 for name in ("study", "yearly", "lifetime")}
    assert limits(make_policy(budget__delta=0.0999, **large)).lifetime_picomu2 < 9e15


# -- a study against the policy -------------------------------------------------------------


def test_a_study_within_every_rule_passes() -> None:
    study = make_study()
    assert objections(make_policy(), study, plan_for(study), units=100) == ()


def test_epsilon_is_compared_at_the_policys_delta() -> None:
    """A study that promises little at a larger delta may promise too much at the policy's."""
    assert broken(make_policy(), make_study(privacy__delta=1e-4)) == ["budget.study_epsilon"]
    assert broken(make_policy(), make_study(privacy__epsilon=0.75, privacy__delta=1e-4)) == []
    assert broken(make_policy(), make_study(privacy__epsilon=1.1, privacy__delta=1e-8)) == []


@pytest.mark.parametrize(
    ("rule", "fits", "breaks"),
    [
        ("budget.study_epsilon", {"privacy__epsilon": 1.0}, {"privacy__epsilon": 1.00001}),
        (
            "participants.minimum_honest",
            {"aggregation__minimum_institutions": 5},
            {"aggregation__minimum_institutions": 4},
        ),
        (
            "participants.minimum_tolerance",
            {"privacy__collusion_tolerance": 2},
            {"privacy__collusion_tolerance": 1},
        ),
        (
            "participants.epsilon_if_masks_fail",  # n - t of 11 at epsilon 1 and 4 times epsilon
            {"aggregation__minimum_institutions": 13},
            {"aggregation__minimum_institutions": 14},
        ),
        ("records.columns", {"records__label": "reported"}, {"records__label": "Reported"}),
        ("records.columns", {"records__unit": None}, {"records__unit": "account"}),
    ],
)
def test_each_rule_at_its_limit_and_just_beyond(
    rule: str, fits: dict[str, Any], breaks: dict[str, Any]
) -> None:
    policy = make_policy(participants__minimum_honest=3, participants__minimum_tolerance=2)
    base: dict[str, Any] = {
        "aggregation__minimum_institutions": 6,
        "privacy__collusion_tolerance": 2,
    }
    assert broken(policy, make_study(**base | fits)) == []
    assert rule in broken(policy, make_study(**base | breaks))


def test_units_are_counted_at_approval_only() -> None:
    policy, study = make_policy(), make_study()
    assert broken(policy, study, units=100) == []
    assert broken(policy, study, units=99) == ["records.minimum_units"]
    assert objections(policy, study, plan_for(study), units=None) == ()


@pytest.mark.parametrize("kind", [ReleaseKind.TRAINING, ReleaseKind.EVALUATION])
def test_a_kind_that_is_not_listed_does_not_leave(kind: ReleaseKind) -> None:
    others = [k.value for k in ReleaseKind if k is not kind]
    policy, study = make_policy(releases__kinds=others), make_study()
    (found,) = objections(policy, study, plan_for(study), units=100)
    assert (found.rule, found.asked) == ("releases.kinds", kind.value)


def test_a_rehearsal_needs_no_leave() -> None:
    assert broken(make_policy(releases__kinds=["training", "evaluation"]), make_study()) == []


def test_a_star_is_every_column_and_a_name_is_one() -> None:
    assert broken(make_policy(records__columns=["*"]), make_study()) == []
    for missing in COLUMNS:
        listed = [name for name in COLUMNS if name != missing]
        study = make_study()
        (found,) = objections(
            make_policy(records__columns=listed), study, plan_for(study), units=100
        )
        assert (found.rule, found.asked) == ("records.columns", repr(missing))


def test_every_column_that_a_study_names_is_looked_at() -> None:
    assert study_columns(make_study()) == ("customer", "reported", "amount", "channel")
    assert study_columns(make_study(records__unit=None)) == ("reported", "amount", "channel")
    of_texts = make_study(features=(), model={"kind": "text", "column": "message"})
    assert study_columns(of_texts) == ("customer", "reported", "message")


DISTANCE = {
    "formula": "distance", "latitude": "lat", "longitude": "lon", "other_latitude": "shop_lat",
    "other_longitude": "shop_lon",
}  # fmt: skip
COMPUTED = [
    ({"formula": "elapsed", "start": "paid", "end": "spent"}, ["paid", "spent"]),
    ({"formula": "age", "since": "opened", "on": "day"}, ["opened", "day"]),
    ({"formula": "log", "of": "turnover"}, ["turnover"]),
    ({"formula": "ratio", "of": "out", "to": "in"}, ["out", "in"]),
    (DISTANCE, ["lat", "lon", "shop_lat", "shop_lon"]),
]


@pytest.mark.parametrize("section", ["features", "columns"])
@pytest.mark.parametrize(("formula", "sources"), COMPUTED)
def test_a_policy_that_does_not_list_a_source_refuses_what_is_computed_from_it(
    section: str, formula: dict[str, str], sources: list[str]
) -> None:
    plain = make_study().model_dump(mode="json")
    computed = {"name": "x", "kind": "numeric", "lower": 0, "upper": 1, "derived": formula}
    changes: dict[str, Any] = {section: [*plain.get(section, ()), computed]}
    if section == "columns":
        changes["queries"] = [{"name": "q", "kind": "sum", "column": "x"}]
    study, kinds = make_study(**changes), ["training", "evaluation", "query"]
    listed = [*COLUMNS, *sources]
    assert sorted(study_columns(study)) == sorted(listed)
    for missing in sources:
        kept = [name for name in listed if name != missing]
        # That the computed name is listed helps nothing: no column of that name is read.
        policy = make_policy(records__columns=[*kept, "x"], releases__kinds=kinds)
        (found,) = objections(policy, study, plan_for(study), units=1000)
        assert (found.rule, found.asked) == ("records.columns", repr(missing))
    whole = make_policy(records__columns=listed, releases__kinds=kinds)
    assert broken(whole, study) == []


def test_a_policy_that_does_not_list_a_level_column_refuses_curves_by_it() -> None:
    curves = {"by": "account_type", "levels": ["a"]}
    amount = {"name": "amount", "kind": "numeric", "lower": 0, "upper": 10, **curves}
    study = make_study(features=[amount])
    assert broken(make_policy(records__columns=COLUMNS), study) == ["records.columns"]
    assert broken(make_policy(records__columns=[*COLUMNS, "account_type"]), study) == []


def test_a_refusal_names_rule_request_and_limit_all_at_once() -> None:
    with pytest.raises(ValidationError, match="should match pattern"):
        make_study(records__label="bell\x07\u202e")
    study = make_study(privacy__epsilon=3.0, records__label="bell\ue007\u2003")
    policy = make_policy(participants__minimum_honest=4, participants__minimum_tolerance=2)
    lines = [str(found) for found in objections(policy, study, plan_for(study), units=7)]
    assert [line.partition(": ")[0] for line in lines] == [
        *("budget.study_epsilon", "participants.minimum_honest"),
        *("participants.minimum_tolerance", "records.columns", "records.minimum_units"),
    ]
    assert lines[0].endswith(
        "the study costs epsilon 3 at your delta 1e-05, and one study may cost 1"
    )
    assert lines[1].endswith("expected n - t of at least 4, found 2")
    assert lines[2].endswith("expected t of at least 2, found 1")
    assert lines[4].endswith("expected at least 100 units, found 7")
    assert all(line.isprintable() and line.isascii() for line in lines)


def test_many_columns_are_one_line() -> None:
    features = [
        {"name": f"feature_{i}", "kind": "numeric", "lower": 0, "upper": 1} for i in range(30)
    ]
    study = make_study(features=features)
    (found,) = objections(make_policy(), study, plan_for(study), units=100)
    assert found.asked.count("feature_") == 10
    assert found.asked.endswith("and 20 more")


def test_a_named_module_needs_its_package_and_version_in_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    permit([])  # the plan is computed without it
    study = make_study(model=MODEL)
    assert broken(make_policy(), study) == ["models.packages"]
    others = (f"acme-nets==1.2.1:{MODULE}", f"{PACKAGE}:acme_nets:Other", f"{PACKAGE}:a.b:Small")
    for other in others:
        assert broken(make_policy(models__packages=[other]), study) == ["models.packages"], other
    assert broken(make_policy(models__packages=[LISTED]), study) == []
    for whole in (PACKAGE, f"{PACKAGE}:acme_nets", f"{PACKAGE}:acme_nets:*"):
        with pytest.raises(ValidationError, match="list the one class that you read"):
            make_policy(models__packages=[whole])


def test_the_plan_is_the_studys_own() -> None:
    cheap = make_study(privacy__epsilon=0.1)
    with pytest.raises(StudyError, match="plan"):
        objections(make_policy(), make_study(privacy__epsilon=50.0), plan_for(cheap), units=100)


GROUPED = {"evaluation": {"groups": [{"column": "age_band", "levels": ["18-24", "25+"]}]}}


def test_counts_by_group_leave_only_where_they_are_listed() -> None:
    study, listed = make_study(**GROUPED), [*COLUMNS, "age_band"]
    kinds = ["training", "evaluation"]
    assert study_columns(study)[-1] == "age_band"
    narrow = make_policy(records__columns=listed, releases__kinds=kinds)
    assert broken(narrow, study) == ["releases.kinds"]
    assert broken(make_policy(records__columns=listed), study) == []
    assert broken(make_policy(), study) == ["records.columns"]


def test_harm_rule_4_a_star_opens_no_protected_attribute() -> None:
    kinds = ["training", "evaluation", "fairness"]
    policy = make_policy(records__columns=["*"], releases__kinds=kinds)
    (found,) = objections(
        policy, make_study(**GROUPED), plan_for(make_study(**GROUPED)), units=1000
    )
    assert (found.rule, found.asked) == ("records.columns", "'age_band'")
    plain = {"evaluation": {"groups": [{"column": "segment", "levels": ["retail"]}]}}
    assert broken(policy, make_study(**plain)) == []


# -- what is shipped ------------------------------------------------------------------------

STUDIES = sorted((Path(__file__).parents[3] / "studies").glob("*.toml"))
OWN = {  # what these studies promise or ask is their own; their files say why
    "heart.toml": ["budget.study_epsilon"],
    "heart-local.toml": ["budget.study_epsilon"],
    "amlsim-knots.toml": ["releases.kinds"],
    "amlsim-queries.toml": ["releases.kinds"],
    "helplines.toml": ["releases.kinds"],
}


@pytest.mark.parametrize("file", STUDIES, ids=lambda path: path.name)
def test_the_default_policy_takes_the_shipped_studies(file: Path) -> None:
    study = load_study(file)
    policy = make_policy(records__columns=study_columns(study))
    assert broken(policy, study) == OWN.get(file.name, [])


def test_the_default_policy_takes_the_default_draft(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{i},{i % 7 == 0:d},{i * 37 % 101},{'ab'[i % 2]}" for i in range(400)]
    source = tmp_path / "records.csv"
    source.write_text("\n".join(["customer,reported,amount,channel", *rows]) + "\n")
    assert run(["study", "new", "--records", str(source), "--label", "reported"]) == 0
    study = parse_study(capsys.readouterr().out)
    assert broken(make_policy(records__columns=study_columns(study)), study) == []


def test_a_slip_of_the_pen_in_a_column_is_answered_with_the_name_that_is_listed() -> None:
    study = make_study(records__label="reportd")
    (found,) = objections(make_policy(), study, plan_for(study), units=None)
    assert "(such as reported)" in found.limit
    assert found.asked == "'reportd'"
