"""A year of an institution whose coordinator sends and opens as much as it may, and more.

An opening every third day and a study each day in the fast form; the most that is let through in
`make nightly PART=years`.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from tests.support.homes.institutions import Coordinator, home_study

from fieldfare.client.custodian.openings import COUNTED, MOST_KEPT, Openings
from fieldfare.client.custodian.ports import NoLog
from fieldfare.client.home.inbox import MOST_UNDECIDED, HomeInbox
from fieldfare.client.journal.journal import Journal, verify
from fieldfare.client.ledger.budget import Limits
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.run_states import OPENING_STATE
from fieldfare.shared.errors import PolicyRefusal

LONG: Final = bool(os.environ.get("FIELDFARE_OPERATE_LONG"))
BEGUN: Final = datetime(2026, 1, 1, tzinfo=UTC)
STUDIES: Final = ("a" * 64, "b" * 64)


class Passing:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = BEGUN

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Passing:
    return Passing()


@pytest.fixture
def ledger(tmp_path: Path, clock: Passing) -> Iterator[Ledger]:
    limits = Limits(yearly_picomu2=10**12, lifetime_picomu2=10**13)
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, population="customers", limits=limits, clock=clock) as made:
        yield made


def test_openings_of_a_year_leave_the_newest_and_a_count(
    ledger: Ledger, clock: Passing, tmp_path: Path
) -> None:
    """Each with a state of 4 KiB, and none of them ever pays."""
    openings, sizes = Openings(ledger, NoLog()), list[int]()
    step, each = (1, 16) if LONG else (3, 1)
    for day in range(0, 365, step):
        clock.at = BEGUN + timedelta(days=day)
        for study in STUDIES:
            for number in range(each):
                run = f"run-{day}-{number}"
                content = json.dumps({"body": {"number": 0, "filler": "x" * 4096}}).encode()
                one: Any = SimpleNamespace(
                    study=study, run=run, hash=f"{day * each + number:064x}", participants=("a",)
                )
                openings.admit(one)
                openings.keep(one, content)
        sizes.append(sum(path.stat().st_size for path in tmp_path.glob("ledger.sqlite")))
    for study in STUDIES:
        kept = {name for name in ledger.run_names(study) if name.startswith(OPENING_STATE)}
        assert len(kept) == 2 * MOST_KEPT  # by its name, and by its hash
        assert len(ledger.run_names(study)) == 3 * MOST_KEPT
    assert [one for one in ledger.run_names(":ledger") if not one.startswith(COUNTED)] == []
    middle = MOST_KEPT * 3 // 2 // each
    assert max(sizes[middle:]) <= max(sizes[: middle + 1]) * 1.05


def test_studies_that_nobody_decides_on_fill_their_places_and_no_more(
    coordinator: Coordinator, clock: Passing
) -> None:
    home = coordinator.homes["bank-a"]
    first, refused = home_study(), 0
    with Journal.open(home.log_folder, clock=clock) as journal:
        inbox = HomeInbox(home, coordinator.roster(), journal, clock)
        for day in range(365 if LONG else MOST_UNDECIDED + 20):
            clock.at = BEGUN + timedelta(days=day)
            study = first.model_copy(update={"name": f"{first.name} {day}"})
            with suppress(PolicyRefusal):
                inbox.study_offered(coordinator.signed(study), study)
                continue
            refused += 1
    names = [one.name for one in home.studies.iterdir()]
    assert refused == (365 if LONG else MOST_UNDECIDED + 20) - MOST_UNDECIDED
    assert len(names) == 2 * MOST_UNDECIDED
    assert verify(home.log_folder).sequence == MOST_UNDECIDED  # one line for each that was kept
