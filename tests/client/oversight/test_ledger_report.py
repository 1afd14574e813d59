"""The owner's figures are the ledger's own, and no rounding hides a spend or a rest."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from tests.support.federations.debits import commit_release

from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import Policy, limits, load_policy
from fieldfare.client.ledger.budget import Debit, from_picomu2
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.oversight.ledger_report import (
    BAR,
    LedgerReport,
    report,
    report_json,
    report_lines,
    spent_bar,
)

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)


@pytest.fixture
def policy(home: Home) -> Policy:
    return load_policy(home)


def spend(policy: Policy, costs: list[int], *, days: int = 0) -> LedgerReport:
    """Debit each cost, for two studies in turn, `days` apart; look at it after the last."""
    now = [START]
    with Ledger.open(
        None, population="units", limits=limits(policy), clock=lambda: now[0]
    ) as ledger:
        for step, cost in enumerate(costs):
            now[0] += days * DAY
            debit = Debit(
                study="ab"[step % 2] * 64,
                run="r",
                step=step,
                attempt=0,
                kind="evaluation" if step == 3 else "training",
                request=hashlib.sha256(bytes([step])).hexdigest(),
                cost=cost,
            )
            commit_release(
                ledger,
                debit,
                vector=b"masked",
                study_limit=10**15,
                max_attempts=1,
                sign=lambda _: b"signed",
                run_states={"r": b""},
            )
        return report(ledger, "units", policy, now[0])


def test_sums_by_study_kind_and_window(policy: Policy) -> None:
    found = spend(policy, [10, 20, 30, 40], days=150)
    assert found.studies == {"b" * 64: 60, "a" * 64: 40}
    assert found.kinds == {"training": 60, "evaluation": 40}
    assert (found.lifetime.spent, found.yearly.spent, found.carried) == (100, 90, 0)
    assert found.yearly.left == limits(policy).yearly_picomu2 - 90
    assert len(found.last) == 4


def test_a_spent_limit_shows_as_its_epsilon(policy: Policy) -> None:
    found = spend(policy, [limits(policy).yearly_picomu2])
    assert found.yearly.spent_epsilon == pytest.approx(policy.budget.yearly_epsilon, rel=1e-9)
    assert found.yearly.spent_epsilon <= policy.budget.yearly_epsilon
    assert (found.yearly.left, found.yearly.left_epsilon) == (0, 0.0)
    assert "nothing is left" in "\n".join(report_lines(found))


def test_a_fresh_ledger_has_everything_left(policy: Policy) -> None:
    found = spend(policy, [])
    assert found.lifetime.left_epsilon == pytest.approx(policy.budget.lifetime_epsilon)
    assert list(report_lines(found))[-1] == "nothing was ever released"


def test_only_the_last_entries_are_shown_in_order(policy: Policy) -> None:
    found = spend(policy, [1] * 20)
    assert [entry.position.sequence for entry in found.last] == [*range(13, 21)]


@pytest.mark.parametrize(
    ("spent", "limit", "filled", "text"),
    [
        (0, 100, 0, "0.0 %"),
        (1, 10**9, 1, "below 0.1 %"),
        (50, 100, BAR // 2, "50.0 %"),
        (10**9 - 1, 10**9, BAR - 1, "above 99.9 %"),
        (100, 100, BAR, "100.0 %"),
        (150, 100, BAR, "150.0 %"),
        (0, 0, BAR, "no budget"),
    ],
)
def test_a_bar_hides_neither_a_spend_nor_a_rest(
    spent: int, limit: int, filled: int, text: str
) -> None:
    found = spent_bar(spent, limit)
    assert (found.count("#"), found.count("#") + found.count("-")) == (filled, BAR)
    assert found.endswith(f"] {text}")


def test_programs_get_exact_sums(policy: Policy) -> None:
    found = report_json(spend(policy, [10, 20]))
    assert found["lifetime"]["spent"]["picomu2"] == 30
    assert found["lifetime"]["spent"]["mu2"] == from_picomu2(30)
    assert found["studies"]["a" * 64] == {"mu2": from_picomu2(10), "picomu2": 10}
    assert [entry["type"] for entry in found["last"]] == ["debit", "debit"]
