"""A year of log-ins, links, strangers and comments: what a console keeps is as small as in a month.

A day of each week in the fast form; every day in `make nightly PART=years`.
"""

import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

from tests.client.alerts.test_alert_store import alert, decision
from tests.support.homes.consoles import Ticking
from tests.support.homes.institutions import NOW

from fieldfare.client.alerts.acts import CaseAct, CaseActKind
from fieldfare.client.alerts.alert_queue import forget, open_queue
from fieldfare.client.alerts.feedback import Disposition
from fieldfare.client.alerts.store import STORE, open_store
from fieldfare.client.home.settings import load_settings
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.client.journal.journal import Journal
from fieldfare.shared.console.accounts import FILE, KNOWN_FOR, SavedView, open_accounts
from fieldfare.shared.console.log_in import TRIES, TRY_AGAIN
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.console.turns import MOST_KEYS, Turns

STEP: Final = 1 if os.environ.get("FIELDFARE_OPERATE_LONG") else 7  # days
DAY: Final = 86_400
PERSONS: Final = ("ana", "ben", "cleo")


def rows(path: Path) -> dict[str, int]:
    """How many rows each table of a database has."""
    with closing(sqlite3.connect(path)) as link:
        names = [
            name for (name,) in link.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        return {
            name: link.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names
        }


def test_accounts_keep_sessions_links_and_browsers_for_their_time_only(tmp_path: Path) -> None:
    time, largest = Ticking(), dict[str, int]()
    with open_accounts(tmp_path, time.now, time.entropy) as book:
        for name in PERSONS:
            book.add(name, ConsoleRole.ANALYST, lambda _: None)
        for day in range(0, 2 * 365, STEP):
            time.seconds = 1_800_000_000.0 + day * DAY
            for name in PERSONS:  # comes in, and never logs out
                token = book.begin(name, proved=True, instead_of=book.begin(name, proved=False))
                assert book.session(token) is not None
                browser = book.remember_browser(name)
                assert book.knows_browser(browser, name)
                book.save_view(name, SavedView(f"view {day % 50}", "/alerts", f"day={day}"))
            if day % 28 == 0:
                book.link(PERSONS[0], lambda _: None)
            found = rows(tmp_path / FILE)
            largest = {name: max(count, largest.get(name, 0)) for name, count in found.items()}
    known = KNOWN_FOR.days // STEP + 2
    assert largest["session"] <= 2 * len(PERSONS) + 1
    assert known < largest["browser"] <= known * len(PERSONS)  # some of each person's at least
    assert largest["link"] <= len(PERSONS)
    assert largest["saved_view"] <= 50 * len(PERSONS)
    assert largest["account"] == len(PERSONS)


def test_tries_of_any_number_of_strangers_are_counted_in_bounded_room() -> None:
    turns = Turns(TRIES, TRY_AGAIN)
    for number in range(MOST_KEYS + 20_000 // STEP):
        turns.take(f"stranger {number}", number * DAY / MOST_KEYS)
        assert len(turns._left) <= MOST_KEYS
    assert len(turns._left) == MOST_KEYS


def test_alerts_and_comments_of_years_stay_as_many_as_of_their_time(tmp_path: Path) -> None:
    """Scored each week; half of the alerts are decided on, and each is commented on."""
    home = create_institution(tmp_path / "home", "bank-a")
    settings = load_settings(home)
    days, sizes = 60, list[int]()
    settings = settings.model_copy(
        update={"alerts": settings.alerts.model_copy(update={"keep_days": days})}
    )
    keys, each, largest = open_queue(home.path).entry_keys, 6, dict[str, int]()
    with open_store(home) as store, Journal.open(home.log_folder, clock=lambda: NOW) as journal:
        for day in range(0, 365, STEP):
            now = NOW + timedelta(days=day)
            names = [f"{day:08x}{number:08x}" for number in range(each)]
            store.put(
                [
                    alert(name, f"unit {name}", opened=now.isoformat(), scored=now.isoformat())
                    for name in names
                ]
            )
            for number, name in enumerate(names):
                store.add(CaseAct(name, now, "ana", CaseActKind.COMMENT, "called the customer"))
                if number % 2:
                    store.add(decision(name, Disposition.BENIGN_OTHER, at=now))
            forget(store, keys, settings, now, journal)
            found = rows(home.scoring / STORE)
            largest = {name: max(count, largest.get(name, 0)) for name, count in found.items()}
            sizes.append((home.scoring / STORE).stat().st_size)
    kept = each * -(-days // STEP)  # of the days that are not over
    assert largest["alert"] == kept
    assert max(largest.values()) <= kept
    middle = len(sizes) // 2
    assert max(sizes[middle:]) <= max(sizes[:middle]) * 1.1
