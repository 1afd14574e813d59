"""What a person is shown before a decision: the plan's own numbers, and every change."""

import io
import json
from dataclasses import replace
from datetime import date

import pytest
from tests.support.homes.institutions import Coordinator, home_study

from fieldfare.client.approvals.review import (
    Review,
    SpentBudget,
    all_objections,
    review_study,
    roster_problems,
)
from fieldfare.client.approvals.review_screen import show_review
from fieldfare.client.home.policy import Policy, limits, load_policy
from fieldfare.client.ledger.freeing import FreedBudget
from fieldfare.shared.harm_rules import HARM_RULES
from fieldfare.shared.privacy.discrete_noise import XI_LIMIT
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.comparison import Company
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study
from fieldfare.shared.terminal.screen import PlainConsole
from fieldfare.simulations.federation.federation import made_here

NOTHING = SpentBudget(yearly=0, lifetime=0, promised=0)

LEAVING = (ReleaseKind.REHEARSAL, ReleaseKind.TRAINING, ReleaseKind.EVALUATION)


@pytest.fixture
def policy(coordinator: Coordinator) -> Policy:
    return load_policy(coordinator.homes["bank-a"])


def reviewed(
    coordinator: Coordinator,
    policy: Policy,
    study: Study,
    *,
    spent: SpentBudget = NOTHING,
    earlier: Study | None = None,
    company: Company | None = None,
) -> Review:
    company = made_here(coordinator.roster()) if company is None else company
    return review_study(
        study,
        policy,
        coordinator.roster(),
        spent,
        institution="bank-a",
        unit="customer",
        status="waits for a decision",
        earlier=earlier,
        company=company,
    )


def test_what_leaves_is_the_plan(coordinator: Coordinator, policy: Policy) -> None:
    study = home_study()
    review, plan = reviewed(coordinator, policy, study), plan_for(study)
    assert [kind.kind for kind in review.leaving] == [kind.value for kind in LEAVING]
    for shown, kind in zip(review.leaving, LEAVING, strict=True):
        terms = plan.terms(kind)
        assert (shown.releases, shown.spare) == (terms.steps, terms.spare)
        assert (shown.entries, shown.noise) == (terms.vectors.entries, terms.sigma)
        assert shown.size * 8 == terms.vectors.entries * terms.word_bits.value
        assert shown.allowed
    training = review.leaving[1]
    assert training.most == pytest.approx(0.25, rel=1e-3)  # C
    assert review.leaving[2].most == 1  # a unit is in one cell
    assert review.problems == ()


def test_in_local_mode_the_steps_inside_are_said(coordinator: Coordinator, policy: Policy) -> None:
    study = home_study(training={"mode": "local", "steps": 5, "local_steps": 7})
    leaving = reviewed(coordinator, policy, study).leaving
    assert [kind.local_steps for kind in leaving] == [0, 7, 0]
    assert leaving[1].noise == plan_for(study).training.sigma


def test_what_is_computed_is_shown_in_words_with_its_sources(
    coordinator: Coordinator, policy: Policy
) -> None:
    derived = {"formula": "ratio", "of": "amount", "to": "turnover"}
    computed = {"name": "share", "kind": "numeric", "lower": 0, "upper": 1, "derived": derived}
    plain = home_study()
    study = home_study(features=[*plain.model_dump(mode="json")["features"], computed])
    review = reviewed(coordinator, policy, study)
    assert review.computed == ("share: amount divided by turnover",)
    shown = {(column.name, column.role, column.allowed) for column in review.columns}
    assert {("amount", "feature", True), ("turnover", "in a formula", False)} <= shown
    assert "share" not in {column.name for column in review.columns}
    assert any("turnover" in problem for problem in review.problems)
    console = PlainConsole(width=200, record=True, file=io.StringIO())
    show_review(review, console)
    said = console.export_text()
    assert "computes" in said
    assert "share: amount divided by turnover" in said
    assert reviewed(coordinator, policy, plain).computed == ()


def test_every_column_is_shown_with_what_policy_says(
    coordinator: Coordinator, policy: Policy
) -> None:
    narrow = policy.model_copy(
        update={"records": policy.records.model_copy(update={"columns": ("customer", "amount")})}
    )
    review = reviewed(coordinator, narrow, home_study())
    assert [(c.name, c.role, c.allowed) for c in review.columns] == [
        ("customer", "unit", True),
        ("reported", "label", False),
        ("amount", "feature", True),
        ("channel", "feature", False),
    ]
    assert any("records.columns" in problem for problem in review.problems)


def test_the_column_of_a_model_of_texts_is_shown_as_such(
    coordinator: Coordinator, policy: Policy
) -> None:
    study = home_study(features=(), model={"kind": "text", "column": "message"})
    shown = [(c.name, c.role, c.allowed) for c in reviewed(coordinator, policy, study).columns]
    assert shown[-1] == ("message", "text", False)


def test_a_group_is_shown_as_what_it_is_for(coordinator: Coordinator, policy: Policy) -> None:
    groups = {"groups": [{"column": "age_band", "levels": ["18-24"]}]}
    star = policy.model_copy(
        update={"records": policy.records.model_copy(update={"columns": ("*",)})}
    )
    review = reviewed(coordinator, star, home_study(evaluation=groups))
    last = review.columns[-1]
    assert (last.name, last.role, last.allowed) == ("age_band", "fairness", False)  # harm rule 4
    (leaving,) = (one for one in review.leaving if one.kind == "fairness")
    assert (leaving.releases, leaving.entries, leaving.most, leaving.allowed) == (1, 8, 1.0, True)


def test_the_budget_is_what_is_left_now(coordinator: Coordinator, policy: Policy) -> None:
    study = home_study()
    plan, granted = plan_for(study), limits(policy)
    cost = plan.study_limit
    half = SideCosts(training=cost // 2, holdout=cost // 2)
    spent = SpentBudget(
        yearly=granted.yearly_picomu2 - 2 * cost,
        lifetime=granted.lifetime_picomu2 - 4 * cost,
        study=half,
        study_in_year=half,
        promised=7 * 10**9,
    )
    budget = reviewed(coordinator, policy, study, spent=spent).budget
    assert budget.share_of_year == pytest.approx(0.25, rel=1e-9)
    assert budget.share_of_lifetime == pytest.approx(0.125, rel=1e-9)
    assert budget.yearly_left == epsilon_for(
        delta=policy.budget.delta, mu2=budget.yearly_left_mu2, xi=XI_LIMIT
    )
    assert budget.yearly_left_mu2 == 2 * cost / 10**12
    assert (budget.spent_mu2, budget.promised_mu2) == (cost // 2 / 10**12, 0.007)
    fresh = reviewed(coordinator, policy, study).budget
    assert fresh.yearly_left == pytest.approx(policy.budget.yearly_epsilon, rel=1e-6)
    assert fresh.epsilon == pytest.approx(0.5, rel=1e-3)  # the deltas agree here
    assert fresh.epsilon <= 0.5


@pytest.mark.parametrize("which", ["yearly", "lifetime"])
def test_a_budget_too_small_by_one_unit_is_an_objection(policy: Policy, which: str) -> None:
    plan, granted = plan_for(home_study()), limits(policy)
    limit = granted.yearly_picomu2 if which == "yearly" else granted.lifetime_picomu2

    def spent(picomu2: int, study: int = 0) -> SpentBudget:
        totals, costs = {"yearly": 0, "lifetime": 0, which: picomu2}, SideCosts(all=study)
        yearly, lifetime = totals["yearly"], totals["lifetime"]
        return SpentBudget(
            yearly=yearly, lifetime=lifetime, promised=0, study=costs, study_in_year=costs
        )

    assert all_objections(policy, plan, spent(limit - plan.study_limit)) == ()
    (objection,) = all_objections(policy, plan, spent(limit - plan.study_limit + 1))
    assert objection.rule == f"budget.{which}_epsilon"
    done = SideCosts(training=plan.planned.training, holdout=plan.planned.holdout)
    begun = replace(spent(limit), study=done, study_in_year=done)
    assert all_objections(policy, plan, begun) == ()  # it needs no more
    # Trained, and not evaluated: that costs nobody more who counts already.
    trained = SideCosts(training=plan.study_limit)
    begun = replace(spent(limit), study=trained, study_in_year=trained)
    assert all_objections(policy, plan, begun) == ()
    # But where the year forgot the training, the hold-out's part counts anew.
    forgotten = replace(begun, study_in_year=SideCosts())
    assert bool(all_objections(policy, plan, forgotten)) is (which == "yearly")


def test_what_is_left_and_when_more_comes_free_is_said_in_words(policy: Policy) -> None:
    plan, granted = plan_for(home_study(privacy={"epsilon": 0.9, "delta": 1e-5})), limits(policy)
    used = granted.yearly_picomu2 - plan.study_limit // 4
    freed = (
        FreedBudget(date(2027, 3, 3), plan.study_limit // 9),
        FreedBudget(date(2027, 5, 9), plan.study_limit),
    )
    (found,) = all_objections(policy, plan, replace(NOTHING, yearly=used, freed=freed))
    assert str(found) == (
        "budget.yearly_epsilon: costs 0.9, 0.422 is left of 2 in any 365 days, the next 0.27 comes "
        "free on 3 March 2027, enough on 9 May 2027 (epsilon at delta 1e-05)"
    )
    assert (found.limit, found.asked) == (  # figures are for programs
        f"at most mu^2 {plan.study_limit // 4 / 10**12!r} of {granted.yearly_picomu2 / 10**12!r}",
        f"mu^2 {plan.study_limit / 10**12!r}",
    )
    spent = replace(NOTHING, lifetime=granted.lifetime_picomu2)
    (ever,) = all_objections(policy, plan, spent)
    assert "costs 0.9, 0 is left of 6 ever, which is never freed" in str(ever)


def test_a_study_that_gives_nothing_is_said_to(coordinator: Coordinator, policy: Policy) -> None:
    study = home_study()
    records = study.records.model_copy(update={"unit": None, "units": 300})
    review = reviewed(coordinator, policy, study.model_copy(update={"records": records}))
    assert [line.partition(":")[0] for line in review.obstacles] == ["records.unit", "evaluation"]
    privacy = study.privacy.model_copy(update={"delta": 1e-3})
    weak = reviewed(coordinator, policy, study.model_copy(update={"privacy": privacy}))
    assert weak.cautions[0].startswith("privacy.delta = 0.001 is above 1 / (2 x")


def test_an_exhausted_budget_is_worth_nothing(coordinator: Coordinator, policy: Policy) -> None:
    granted = limits(policy)
    spent = replace(NOTHING, yearly=granted.yearly_picomu2 + 5, lifetime=granted.lifetime_picomu2)
    budget = reviewed(coordinator, policy, home_study(), spent=spent).budget
    assert (budget.yearly_left, budget.lifetime_left) == (0.0, 0.0)
    assert budget.share_of_year > 1


def test_the_rosters_constant_and_its_size_are_held_against_the_study(
    coordinator: Coordinator,
) -> None:
    assert roster_problems(home_study(), coordinator.roster()) == ()
    (line,) = roster_problems(home_study(privacy__multiplicity=2), coordinator.roster())
    assert line == "privacy.multiplicity: expected the roster's 1, found 2"
    (line,) = roster_problems(home_study(records__unit=None), coordinator.roster())
    assert line.startswith("records.unit: expected a column of ids, found none: a study that")
    (line,) = roster_problems(home_study(aggregation__minimum_institutions=4), coordinator.roster())
    assert "roster's 3 members, found 4" in line


def test_who_else_takes_part_and_what_remains_if_masks_fail(
    coordinator: Coordinator, policy: Policy
) -> None:
    study = home_study()
    review = reviewed(coordinator, policy, study)
    assert [(p.id, p.own) for p in review.parties] == [
        *(("bank-a", True), ("bank-b", False), ("bank-c", False))
    ]
    member = coordinator.roster().members[1]
    assert review.parties[1].fingerprint == fingerprint(bytes.fromhex(member.key))
    assert review.failed_masks == ((3, plan_for(study).epsilon_if_masks_fail(3)),)
    assert review.failed_masks[0][1] > study.privacy.epsilon


def test_json_holds_everything_in_ascii(coordinator: Coordinator, policy: Policy) -> None:
    study = home_study(purpose="für Prüfer \x1b[2J")
    text = reviewed(coordinator, policy, study, earlier=home_study()).to_json()
    assert text.isascii()
    assert "\x1b" not in text
    data = json.loads(text)
    assert data["id"] == study.id
    assert data["purpose"] == study.purpose
    assert data["comparison"]["changes"][0]["key"] == "purpose"
    assert data["harm_rules"] == [*HARM_RULES[:4], HARM_RULES[6]]
