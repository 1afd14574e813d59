"""What is signed at a group's queue: seen at once, collected once, in the log before the store."""

import os
from pathlib import Path

import pytest
from tests.support.homes import journals
from tests.support.homes.reported import reported_alert

from fieldfare.client.alerts.alert import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.alerts.alert_queue import (
    CaseworkQueue,
    HomeQueue,
    collect,
    open_queue,
    scoring_store,
    tell,
)
from fieldfare.client.alerts.casework import FILE_MODE, Act, CaseworkTerms, Deed, make_casework
from fieldfare.client.alerts.store import store_at
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user

ME = os_user()
ALERT = reported_alert()


def decision(what: Disposition = Disposition.BENIGN_OTHER) -> Feedback:
    return Feedback(ALERT.alert, utc_now(), ME, what, PartyRole.UNKNOWN, Confidence.HIGH)


def logged(home: Home) -> list[str]:
    return [entry["event"] for entry in journals.logged(home.log_folder)]


@pytest.fixture
def folder(home: Home, tmp_path: Path) -> Path:
    """A group's folder with one alert, named in the home's settings."""
    path = tmp_path / "casework"
    made = make_casework(path, os.getgid(), CaseworkTerms(institution="bank-a", reviewers=(ME,)))
    text = home.settings.read_text()
    home.settings.write_text(f'{text}\n[casework]\nfolder = "{path}"\n')
    with store_at(made.store, FILE_MODE) as store:
        store.put([ALERT])
    return path


def test_in_a_home_of_ones_own_everything_is_as_it_was(home: Home) -> None:
    queue = open_queue(home.path)
    assert isinstance(queue, HomeQueue)
    with queue.store() as store:
        store.put([ALERT])
        queue.act(decision())
        assert store.find(ALERT.alert).status.state == "closed"
    queue.note(Deed.LABELS)
    assert logged(home) == ["feedback", "labels exported"]


def test_a_members_decision_is_seen_at_once_and_collected_once(home: Home, folder: Path) -> None:
    queue = open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    queue.act(decision())
    queue.note(Deed.DRAFTED, kind="goaml", fingerprint="f" * 64)
    with queue.store() as store:
        assert store.find(ALERT.alert).status.state == "closed"
    assert logged(home) == []
    found = collect(home, queue.casework)
    assert (found.taken, found.refused, found.gone) == (2, 0, 0)
    assert logged(home) == ["feedback", "report drafted"]
    assert collect(home, queue.casework).taken == 0
    with queue.store() as store:
        assert len(store.find(ALERT.alert).decisions) == 1


def test_who_lost_the_right_after_collecting_still_counts(home: Home, folder: Path) -> None:
    queue = open_queue(folder)
    queue.act(decision())
    assert isinstance(queue, CaseworkQueue)
    collect(home, queue.casework)
    (folder / "casework.toml").write_text('format = 1\ninstitution = "bank-a"\n')
    queue = open_queue(folder)
    with queue.store() as store:
        assert store.find(ALERT.alert).status.state == "closed"
    with pytest.raises(UsageError, match="found neither"):
        queue.act(decision())


def test_what_is_about_nothing_is_not_taken_over(home: Home, folder: Path) -> None:
    queue = open_queue(home.path)
    assert isinstance(queue, CaseworkQueue)
    stray = Act(time=utc_now(), deed=Deed.FEEDBACK, alert="none", disposition=Disposition.FILE)
    queue.casework.sign(stray)
    found = collect(home, queue.casework)
    assert (found.taken, found.refused) == (0, 1)
    assert logged(home) == []


def test_the_operators_own_decisions_are_collected_at_once(home: Home, folder: Path) -> None:
    queue = open_queue(home.path)
    queue.act(decision())
    assert logged(home) == ["feedback"]


def test_hidden_alerts_and_codes_reach_members_without_the_home(home: Home, folder: Path) -> None:
    home.suppression.write_text(f"unit,reason\n{ALERT.unit},recovery\n")
    home.suppression.chmod(0o600)
    text = home.settings.read_text()
    home.settings.write_text(f'{text}\n[alerts]\nindicator_codes = {{ R01 = "MURCW" }}\n')
    with scoring_store(home, load_settings(home)) as store:
        tell(store, home, load_settings(home))
    queue = open_queue(folder)
    with queue.store() as store:
        assert queue.hidden(store) == {ALERT.unit}
        assert queue.codes(store) == {"R01": "MURCW"}
    assert ALERT.unit.encode() not in (folder / "casework.toml").read_bytes()


def test_a_desk_is_a_home_or_a_casework_folder(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="institution's folder"):
        open_queue(tmp_path)
    (folder / "alerts.sqlite").unlink()
    with pytest.raises(UsageError, match="the operator scores first"), open_queue(folder).store():
        pass
