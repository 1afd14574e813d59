"""A queue is asked by a URL's query, and no row of it tells who was drawn at random."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.alerts.test_alert_store import alert, decision
from tests.support.homes.institutions import NOW

from fieldfare.client.alerts.acts import CaseAct, CaseActKind
from fieldfare.client.alerts.feedback import Disposition
from fieldfare.client.alerts.queue_view import (
    DueFilter,
    QueueFilter,
    QueueItem,
    QueuePage,
    QueueState,
    places,
)
from fieldfare.client.alerts.store import AlertStore, open_store
from fieldfare.client.home.layout import Home
from fieldfare.shared.errors import UsageError

TODAY = NOW.date()
FAMILIES = ("FLOW", "TIME", "TRAVEL")


def made(number: int, **changes: Any) -> Any:
    families = number % 4
    data: dict[str, Any] = {
        "rank": number,
        "families": families,
        "family_names": FAMILIES[:families],
        "opened": (NOW - timedelta(days=number)).isoformat(),
    }
    return alert(f"{number:08x}", f"u{number}", **data | changes)


def filled(store: AlertStore, number: int = 40) -> None:
    store.put([made(at) for at in range(number)], draw=np.random.default_rng(1).random)


def ids(page: QueuePage) -> list[int]:
    return [int(one.alert, 16) for one in page.items]


def asked(store: AlertStore, query: str = "", hidden: set[str] | None = None) -> QueuePage:
    return store.page(QueueFilter.parse(query), TODAY, hidden or set())


def test_alerts_come_by_tier_and_then_by_rank(home: Home) -> None:
    with open_store(home) as store:
        filled(store)
        found = asked(store)
    expected = sorted(range(40), key=lambda at: (-(at % 4), at))
    assert ids(found) == expected
    assert found.total == 40
    assert {one.tier: one.families for one in found.items} == {
        3: FAMILIES,
        2: FAMILIES[:2],
        1: FAMILIES[:1],
        0: (),
    }


FILTERS: dict[str, Callable[[int], bool]] = {
    "tier=2": lambda at: at % 4 == 2,
    "family=TIME": lambda at: at % 4 >= 2,
    "older=30": lambda at: at >= 30,
    "due=overdue": lambda at: at > 14,
    "due=soon": lambda at: at > 10,
    "state=closed": lambda at: at == 5,
    "state=all": lambda _: True,
    "state=in_review": lambda at: at == 6,
    "assigned=ana": lambda at: at in {6, 7},
    "assigned=nobody": lambda at: at not in {6, 7},
    "tier=2&due=overdue&assigned=nobody": lambda at: at % 4 == 2 and at > 14,
}


@pytest.mark.parametrize("query", FILTERS)
def test_a_filter_shows_what_it_says_and_counts_say_how_many(home: Home, query: str) -> None:
    with open_store(home) as store:
        filled(store)
        acted(store)
        found = asked(store, query)
        counts = asked(store, "state=all").counts
    closed: set[int] = set() if "state" in query else {5}
    expected = {at for at in range(40) if FILTERS[query](at)} - closed
    assert set(ids(found)) == expected
    assert found.total == len(expected)
    assert counts["state"] == {"new": 38, "in_review": 1, "closed": 1, "open": 39, "all": 40}
    assert counts["tier"] == {"0": 10, "1": 10, "2": 10, "3": 10}
    assert counts["assigned"] == {"ana": 2, "nobody": 38}
    assert counts["family"] == {"FLOW": 30, "TIME": 20, "TRAVEL": 10}
    assert counts["older"] == {"7": 33, "30": 10}


def acted(store: AlertStore) -> None:
    store.add(decision(f"{5:08x}", Disposition.BENIGN_OTHER))
    store.add(decision(f"{6:08x}", Disposition.EDD))
    for at in (6, 7):
        store.add(CaseAct(f"{at:08x}", NOW, "ana", CaseActKind.TAKE))


def test_a_facets_counts_say_what_another_value_would_show(home: Home) -> None:
    with open_store(home) as store:
        filled(store)
        acted(store)
        found = asked(store, "tier=2&due=overdue")
        for tier, number in found.counts["tier"].items():
            assert asked(store, f"tier={tier}&due=overdue").total == number
        for state, number in found.counts["state"].items():
            assert asked(store, f"tier=2&due=overdue&state={state}").total == number


def test_pages_follow_each_other_without_a_gap_or_a_double(home: Home) -> None:
    with open_store(home) as store:
        filled(store, 130)
        seen, query = [], "family=FLOW"
        while query:
            page = asked(store, query)
            seen += ids(page)
            query = page.following
        whole = [at for at in sorted(range(130), key=lambda at: (-(at % 4), at)) if at % 4]
    assert seen == whole


def test_hidden_alerts_are_on_no_page_and_in_no_count(home: Home) -> None:
    with open_store(home) as store:
        filled(store)
        found = asked(store, "", {"u7", "u8", "elsewhere"})
    assert {7, 8}.isdisjoint(ids(found))
    assert found.total == 38
    assert sum(found.counts["tier"].values()) == 38


@pytest.mark.parametrize(
    "query",
    ["tier=x", "tier=99", "state=gone", "unknown=1", "tier=1&tier=2", "after=a'b", "x" * 3000],
)
def test_what_is_no_view_is_refused_without_repeating_it(query: str) -> None:
    with pytest.raises(UsageError) as error:
        QueueFilter.parse(query)
    assert "a'b" not in str(error.value)
    assert "gone" not in str(error.value)


@given(
    st.builds(
        QueueFilter,
        state=st.sampled_from(QueueState),
        tier=st.none() | st.integers(0, 10),
        assigned=st.text(max_size=20),
        due=st.sampled_from(DueFilter),
        family=st.sampled_from(("", *FAMILIES)),
        older=st.integers(0, 400),
        after=st.text("0123456789abcdef", max_size=16),
    )
)
def test_a_view_is_its_text(view: QueueFilter) -> None:
    assert QueueFilter.parse(view.query()) == view
    assert QueueFilter.parse(view.query(tier=3)) == view.model_copy(update={"tier": 3, "after": ""})


def test_the_usual_view_has_no_text() -> None:
    assert QueueFilter().query() == ""


# -- below the line -------------------------------------------------------------------------------


def drawn(number: int, sampled: int, seed: int) -> tuple[list[Any], set[str]]:
    """Alerts of one scoring: a top with two to four families, and a sample that mostly has none."""
    random = np.random.default_rng(seed)
    found = [
        made(at, families=int(random.integers(1, 4)), opened=NOW.isoformat())
        for at in range(number)
    ]
    found += [
        made(
            1000 + int(random.integers(9000)),
            selected="below_line",
            opened=NOW.isoformat(),
            families=int(random.choice([0, 0, 0, 1])),
        )
        for _ in range(sampled)
    ]
    found = [one.model_copy(update={"family_names": FAMILIES[: one.families]}) for one in found]
    return found, {one.alert for one in found if one.selected.value == "below_line"}


def shown_of(item: QueueItem) -> tuple[Any, ...]:
    return (item.tier, item.or_fewer, item.families, item.age, item.due, item.state, item.holder)


def test_no_field_of_a_row_is_of_sampled_alerts_only(home: Home) -> None:
    alerts, sample = drawn(36, 10, seed=3)
    with open_store(home) as store:
        store.put(alerts, draw=np.random.default_rng(4).random)
        items = asked(store, "state=all").items
    by_row: dict[Any, Counter[bool]] = {}
    for one in items:
        by_row.setdefault(shown_of(one), Counter())[one.alert in sample] += 1
    assert sum(row[True] for row in by_row.values()) == len(sample)
    assert all(row[False] for row in by_row.values())


def test_a_sampled_alerts_place_is_as_likely_as_any_other() -> None:
    """Mean place among its tier's alerts: a half, within four standard errors of it."""
    seen = []
    for seed in range(300):
        alerts, sample = drawn(20, 1, seed)
        rows = places(alerts, np.random.default_rng(seed).random)
        (name,) = sample
        tier = [one for one in rows if rows[one][0] == rows[name][0]]
        order = sorted(tier, key=lambda one: rows[one][1])
        if len(order) > 1:
            seen.append(order.index(name) / (len(order) - 1))
    expected, error = 0.5, 1 / (12 * len(seen)) ** 0.5
    assert abs(np.mean(seen) - expected) < 4 * error * 1.3
    assert np.std(seen) > 0.2


def test_a_due_day_is_counted_from_the_day_it_was_opened(home: Home) -> None:
    with open_store(home) as store:
        store.put([made(1)], due_days=3)
        (found,) = asked(store).items
    assert (found.age, found.due) == (1, 2)
