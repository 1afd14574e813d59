"""How long a page of the queue and a statement take with many alerts: `python -m` this file.

Prints milliseconds of processor time, the median of several, for each view; 100,000 alerts and
1,000,000 entries unless told otherwise.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from fieldfare.client.alerts.acts import CaseAct, CaseActKind
from fieldfare.client.alerts.alert import Alert
from fieldfare.client.alerts.entry_keys import EntryKeys
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.alerts.kept_entries import Entry, KeptEntries
from fieldfare.client.alerts.queue_view import QueueFilter
from fieldfare.client.alerts.store import AlertStore, store_at

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
ALERTS: Final = 100_000
PER_ALERT: Final = 10
REPEATS: Final = 5
FAMILIES: Final = ("FLOW", "TIME", "TRAVEL", "LIVING", "ALT_PAY", "CONTROL", "LABOUR", "PROFILE")
VIEWS: Final = (
    "",
    "tier=2",
    "state=all",
    "state=closed",
    "assigned=nobody",
    "assigned=p3",
    "due=overdue",
    "family=LABOUR",
    "older=30",
    "tier=3&family=TIME&due=overdue&assigned=nobody",
    "tier=1&family=PROFILE&older=90&assigned=p7",
)
ENTRY: Final = Entry(
    "2026-05-31",
    "22:05",
    False,
    6_100,
    "CAD",
    "P2P",
    "a" * 32,
    "person",
    "Port Alder",
    None,
    ("R01", "R02"),
)


def alerts_of(number: int, random: np.random.Generator) -> list[Alert]:
    """Return alerts opened over 200 days, with zero to four families."""
    counts = random.integers(0, 5, number)
    days = random.integers(0, 200, number)
    found = []
    for at in range(number):
        names = tuple(sorted(random.choice(FAMILIES, counts[at], replace=False)))
        data: dict[str, Any] = {
            "alert": f"{at:016x}",
            "unit": f"u{at}",
            "study": "s" * 64,
            "study_name": "s",
            "run": "r",
            "opened": (NOW - timedelta(days=int(days[at]))).isoformat(),
            "scored": NOW.isoformat(),
            "rank": at,
            "of": 10 * number,
            "selected": "alert",
            "score": 1.5,
            "base": 1.0,
            "others": 0.25,
            "probability": None,
            "calibration": "not calibrated",
            "families": len(names),
            "family_names": names,
            "against": (),
            "look_alikes": (),
            "reasons": (),
            "counter_evidence": (),
        }
        found.append(Alert.model_validate(data))
    return found


def fill(store: AlertStore, keys: EntryKeys, number: int, entries: int) -> None:
    """Keep alerts, a fifth of them taken by one of ten persons, and their entries."""
    random = np.random.default_rng(0)
    store.put(alerts_of(number, random), draw=random.random)
    day = NOW.date()
    packed = KeptEntries(day.isoformat(), entries, (ENTRY,) * entries).packed()
    closed = {f"{at:016x}": keys.close(packed, f"{at:016x}", day) for at in range(number)}
    store.keep_entries(closed, day)
    with store.transaction():
        for at in range(0, number, 5):
            act = CaseAct(f"{at:016x}", NOW, f"p{at // 5 % 10}", CaseActKind.TAKE)
            store.add(act)
        for at in range(0, number, 7):
            store.add(
                Feedback(
                    f"{at:016x}",
                    NOW,
                    "p1",
                    Disposition.BENIGN_OTHER,
                    PartyRole.BYSTANDER,
                    Confidence.HIGH,
                )
            )


def milliseconds(work: Callable[[], object]) -> float:
    """Return the median of some runs, in milliseconds of processor time."""
    taken = []
    for _ in range(REPEATS):
        begin = time.process_time()
        work()
        taken.append((time.process_time() - begin) * 1000)
    return statistics.median(taken)


def measured(folder: Path, number: int = ALERTS, entries: int = PER_ALERT) -> dict[str, float]:
    """Return milliseconds by view, for a page with its counts, and for one statement."""
    keys = EntryKeys(folder / "keys", 0o700, 0o600)
    found = {}
    with store_at(folder / "alerts.sqlite", 0o600) as store:
        fill(store, keys, number, entries)
        today = NOW.date()
        for view in VIEWS:
            asked = QueueFilter.parse(view)
            found[f"page ?{view}"] = milliseconds(partial(store.page, asked, today))
            found[f"next ?{view}"] = milliseconds(partial(store.following, asked, today))
        found["one alert"] = milliseconds(lambda: store.kept(f"{number // 2:016x}"))
        found["statement"] = milliseconds(lambda: statement(store, keys, number // 2))
    return found


def statement(store: AlertStore, keys: EntryKeys, at: int) -> KeptEntries:
    """Read and open one alert's entries."""
    name = f"{at:016x}"
    day, closed = store.entries(name) or (NOW.date(), b"")
    return KeptEntries.unpacked(keys.open(closed, name, day) or b"")


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as made:
        for name, taken in measured(Path(made), *given).items():
            sys.stdout.write(f"{taken:8.1f} ms  {name}\n")
