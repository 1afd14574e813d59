"""What a study needs is added to policy.toml, comments stay, and nothing else is loosened."""

import pytest
from tests.support.homes.institutions import home_study

from fieldfare.client.home.policy import Policy
from fieldfare.client.home.policy_explained import WiderPolicy, allowing, policy_text
from fieldfare.client.home.policy_objections import objections
from fieldfare.shared.errors import StudyError
from fieldfare.shared.protocol.plan import Plan, plan_for
from fieldfare.shared.study.toml import parse_toml

NAME = "policy.toml"


def plan(**changes: object) -> Plan:
    return plan_for(home_study(**changes))


def comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("#")]


def test_the_study_then_fits_and_comments_stay() -> None:
    text, needed = policy_text(), plan(privacy__epsilon=1.73, privacy__delta=1e-5)
    found = allowing(text, NAME, needed)
    assert [line.partition(":")[0] for line in found.added] == ["columns", "study_epsilon"]
    assert comments(found.text) == comments(text)
    policy = parse_toml(found.text, Policy, NAME)
    assert objections(policy, needed.study, needed, units=500) == ()
    assert found.left == ()
    assert '+    "customer",' in found.diff(text)
    again = allowing(found.text, NAME, needed)
    assert (again.added, again.text) == ((), found.text)


def test_the_year_and_the_lifetime_grow_with_what_one_study_costs() -> None:
    found = allowing(policy_text(), NAME, plan(privacy__epsilon=7.0, privacy__delta=1e-5))
    budget = parse_toml(found.text, Policy, NAME).budget
    assert budget.study_epsilon == budget.yearly_epsilon == budget.lifetime_epsilon
    assert 7.0 <= budget.study_epsilon < 7.1
    assert budget.delta == 1e-5  # at another delta every older limit would mean something else


def test_kinds_are_added_to_those_that_are_listed() -> None:
    text = policy_text().replace(
        '["training", "evaluation", "fairness", "guard", "moments"]', '["training"]'
    )
    found = allowing(text, NAME, plan())
    assert "kinds of sums: evaluation" in found.added
    assert 'kinds = ["training", "evaluation"]' in found.text


@pytest.mark.parametrize(("rule", "value"), [("minimum_honest", 5), ("minimum_tolerance", 3)])
def test_company_is_left_to_a_person(rule: str, value: int) -> None:
    lines = [
        f"{rule} = {value}" if line.startswith(rule) else line
        for line in policy_text().splitlines()
    ]
    found: WiderPolicy = allowing("\n".join(lines), NAME, plan())
    assert [one.rule for one in found.left] == [f"participants.{rule}"]
    assert f"{rule} = {value}" in found.text


def test_every_column_stays_every_column() -> None:
    text = policy_text().replace("columns = []", 'columns = ["*"]')
    assert allowing(text, NAME, plan()).text == text


def test_a_studys_names_turn_no_text_on_the_screen() -> None:
    needed = plan()
    first, *others = needed.study.features

    def allowed(name: str) -> WiderPolicy:
        odd = first.model_copy(update={"name": name})
        study = needed.study.model_copy(update={"features": (odd, *others)})
        return allowing(policy_text(), NAME, plan_for(study))

    with pytest.raises(StudyError, match="expected signs that can be seen"):
        allowed("am\u202eount")
    found = allowed("am\ue00e\u2003ount")
    assert "am\ue00e\u2003ount" in parse_toml(found.text, Policy, NAME).records.columns
    assert all(line.isprintable() for line in found.diff(policy_text()))
