"""The year ahead is what is left and what comes free, added up in mu^2."""

from datetime import date

import pytest
from tests.client.oversight.test_ledger_report import START, spend

from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import Policy, load_policy
from fieldfare.client.oversight.budget_outlook import budget_at, outlook
from fieldfare.shared.system.clock import utc_now


@pytest.fixture
def policy(home: Home) -> Policy:
    return load_policy(home)


def test_what_comes_free_is_left_from_its_day_on(policy: Policy) -> None:
    tenth = load_limit(policy) // 10
    found = spend(policy, [tenth, tenth], days=60)  # on 2 March and 1 May 2026
    seen = outlook(found, tenth, date(2026, 5, 1))
    assert [one.day for one in seen.ahead[:2]] == [date(2026, 5, 1), date(2026, 6, 1)]
    assert [seen.ahead[9].day, seen.ahead[12].day] == [date(2027, 2, 1), date(2027, 5, 1)]
    assert seen.ahead[0].left == found.yearly.left
    lefts = {one.day: one.left for one in seen.ahead}
    assert lefts[date(2027, 3, 1)] == found.yearly.left
    assert lefts[date(2027, 4, 1)] == found.yearly.left + tenth
    for one in seen.ahead:
        assert 0 < one.sure_epsilon < one.left_epsilon
    assert sum(one.percent for one in seen.shares[next(iter(seen.shares))]) == pytest.approx(100)
    assert "epsilon" in seen.last[0]


def test_a_day_on_which_budget_comes_free_has_it(policy: Policy) -> None:
    found = spend(policy, [1000], days=89)  # on 31 March 2026
    assert [one.day for one in found.freed] == [date(2027, 4, 1)]
    lefts = {one.day: one.left for one in outlook(found, 0, date(2026, 5, 1)).ahead}
    assert lefts[date(2027, 4, 1)] == lefts[date(2027, 3, 1)] + 1000 == found.yearly.limit


def test_no_more_is_left_than_was_granted_and_never_less_than_nothing(policy: Policy) -> None:
    limit = load_limit(policy)
    seen = outlook(spend(policy, [limit]), 2 * limit, START.date())
    assert {one.sure_epsilon for one in seen.ahead} == {0.0}
    assert (seen.ahead[0].left, seen.ahead[12].left) == (0, 0)
    assert max(one.left for one in seen.ahead) <= limit


def load_limit(policy: Policy) -> int:
    return spend(policy, []).yearly.limit


def test_a_home_without_studies_has_all_of_its_budget(home: Home) -> None:
    seen = budget_at(home.path, utc_now())
    assert (seen.promised, seen.next_freed, seen.last) == (0.0, "", ())
    assert seen.ahead[0].left_epsilon == seen.report.yearly.left_epsilon
    assert not home.ledger.exists()
