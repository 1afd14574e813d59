"""What is signed at a group's queue: seen at once, collected once, in the log before the store."""

import os
import resource
import signal
import sqlite3
import stat
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.homes import journals
from tests.support.homes.reported import reported_alert

from fieldfare.client.alerts import alert_queue
from fieldfare.client.alerts.act_check import ActOutcome
from fieldfare.client.alerts.alert_queue import (
    CaseworkQueue,
    HomeQueue,
    casework_store,
    collect,
    open_queue,
    scoring_store,
    tell,
)
from fieldfare.client.alerts.casework import FILE_MODE, Act, CaseworkTerms, Deed, make_casework
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.alerts.store import store_at
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import PRIVATE_FILE, folder_lock, os_user

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
    terms = CaseworkTerms(institution="bank-a", reviewers=(ME,), console=ME)
    made = make_casework(path, os.getgid(), terms)
    text = home.settings.read_text()
    home.settings.write_text(f'{text}\n[casework]\nfolder = "{path}"\n')
    with casework_store(made) as store:
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
    terms = f'format = 1\ninstitution = "bank-a"\nconsole = "{ME}"\n'
    (folder / "casework.toml").write_text(terms)
    queue = open_queue(folder)
    with queue.store() as store:
        assert store.find(ALERT.alert).status.state == "closed"
    with pytest.raises(UsageError, match="found neither"):
        queue.act(decision())


def test_what_is_about_nothing_is_not_taken_over(home: Home, folder: Path) -> None:
    queue = open_queue(home.path)
    assert isinstance(queue, CaseworkQueue)
    said = {"person": ME, "alert": "none", "disposition": Disposition.FILE}
    queue.casework.sign(Act(time=utc_now(), deed=Deed.FEEDBACK, **said))
    found = collect(home, queue.casework)
    assert (found.taken, found.refused) == (0, 1)
    assert logged(home) == []


def test_the_operator_logs_labels_and_drafts_and_decides_nothing(home: Home, folder: Path) -> None:
    terms = folder / "casework.toml"
    terms.write_text(terms.read_text().replace(f'console = "{ME}"', 'console = ""'))
    queue = open_queue(home.path)
    with pytest.raises(UsageError, match="nobody can sign on a terminal"):
        queue.act(decision())
    queue.note(Deed.LABELS)
    assert logged(home) == ["labels exported"]
    assert not list((folder / "decisions").glob("*.jsonl"))


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


def test_who_holds_the_groups_alerts_keeps_nobody_from_collecting(home: Home, folder: Path) -> None:
    """Whoever may read a SQLite file may lock it: `casework collect` was refused after 12 s."""
    queue = open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    with closing(sqlite3.connect(f"{queue.casework.store.as_uri()}?mode=ro", uri=True)) as member:
        member.execute("BEGIN")
        assert member.execute("SELECT count(*) FROM alert").fetchall() == [(1,)]
        queue.act(decision())
        assert collect(home, queue.casework).taken == 1
        with scoring_store(home, load_settings(home)) as store:
            assert store.find(ALERT.alert).status.state == "closed"
    with queue.store() as store:
        assert store.find(ALERT.alert).status.state == "closed"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.sqlite*")}
    assert modes == {"alerts.sqlite": 0o640, "operator.sqlite": 0o600}


def test_who_holds_the_lock_of_acts_keeps_nobody_from_acting(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_queue, "LOCK_SECONDS", 0.1)
    queue = open_queue(folder)
    with folder_lock(folder / "decisions") as held:
        assert held
        assert queue.act(decision()) == ActOutcome()
    with queue.store() as store:
        assert store.find(ALERT.alert).status.state == "closed"


def test_what_is_gone_is_overwritten_in_the_groups_old_copy_too(folder: Path) -> None:
    queue = open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    with queue.casework.store.open("rb") as old:
        with casework_store(queue.casework) as store:
            store.put([reported_alert(alert="b" * 16, unit="other")])
        assert ALERT.unit.encode() in old.read()  # whoever reads it meanwhile reads on
    with queue.casework.store.open("rb") as old:
        with casework_store(queue.casework) as store:
            assert store.expire(utc_now() + timedelta(days=9999), 1)[0] == 2
        assert not old.read().strip(b"\0")
    assert ALERT.unit.encode() not in queue.casework.store.read_bytes()


def test_a_folder_of_an_earlier_version_keeps_its_alerts(folder: Path) -> None:
    queue = open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    queue.casework.operators_store.unlink()
    with casework_store(queue.casework) as store:
        assert store.find(ALERT.alert).alert == ALERT


def test_what_an_earlier_version_wrote_after_a_downgrade_is_not_overwritten(folder: Path) -> None:
    """It had one file: what it collected and scored stands in the copy alone."""
    queue = open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    newer = reported_alert(alert="b" * 16, unit="other")
    with store_at(queue.casework.store, FILE_MODE) as store:  # as version 0.1.0 opens it
        store.put([newer])
    content = queue.casework.store.read_bytes()
    for _ in range(2):  # asked again, it is still refused
        with (
            pytest.raises(UsageError, match=r"move operator\.sqlite away"),
            casework_store(queue.casework),
        ):
            pass
        assert queue.casework.store.read_bytes() == content
    queue.casework.operators_store.rename(folder.with_name("away.sqlite"))
    with casework_store(queue.casework) as store:
        assert {one.alert.alert for one in store.all()} == {ALERT.alert, newer.alert}


def test_an_older_store_that_was_put_back_with_a_new_time_replaces_nothing(folder: Path) -> None:
    """As `cp` and many backup tools write it."""
    queue = open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    older = queue.casework.operators_store.read_bytes()
    newer = reported_alert(alert="b" * 16, unit="other").model_copy(
        update={"scored": (utc_now() + timedelta(days=1)).isoformat(timespec="seconds")}
    )
    with casework_store(queue.casework) as store:
        store.put([newer])
    content = queue.casework.store.read_bytes()
    queue.casework.operators_store.write_bytes(older)
    with (
        pytest.raises(UsageError, match=r"an older operator\.sqlite was put back"),
        casework_store(queue.casework),
    ):
        pass
    assert queue.casework.store.read_bytes() == content


def test_a_full_disk_at_the_first_upgrade_loses_nothing(folder: Path) -> None:
    """A store that was made in part was taken for the later one, and the alerts were zeroed."""
    queue = open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    queue.casework.operators_store.unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(UsageError, match="disk"), casework_store(queue.casework):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert not queue.casework.operators_store.exists()
    with casework_store(queue.casework) as store:
        assert store.find(ALERT.alert).alert == ALERT


def test_what_an_earlier_version_logged_after_a_downgrade_is_not_logged_again(
    folder: Path,
) -> None:
    queue = open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    with store_at(queue.casework.store, FILE_MODE) as store:
        store.collect("a" * 64, None)  # that somebody exported labels
    with (
        pytest.raises(UsageError, match=r"move operator\.sqlite away"),
        casework_store(queue.casework),
    ):
        pass


def test_what_an_earlier_versions_retention_deleted_after_a_downgrade_does_not_come_back(
    folder: Path,
) -> None:
    """It deleted from its one file, which the operator's store, with all of it, then replaced."""
    queue = open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    with store_at(queue.casework.store, FILE_MODE) as store:
        assert store.expire(utc_now() + timedelta(days=9999), 1)[0] == 1
    with (
        pytest.raises(UsageError, match=r"move operator\.sqlite away"),
        casework_store(queue.casework),
    ):
        pass
    queue.casework.operators_store.rename(folder.with_name("away.sqlite"))
    with casework_store(queue.casework) as store:
        assert not store.all()


def test_a_copy_that_was_not_replaced_after_something_went_is_no_later_one(
    folder: Path,
) -> None:
    queue = open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    with store_at(queue.casework.operators_store, PRIVATE_FILE) as store:  # and then a crash
        assert store.expire(utc_now() + timedelta(days=9999), 1)[0] == 1
    with casework_store(queue.casework) as store:
        assert not store.all()


def test_a_desk_is_a_home_or_a_casework_folder(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="institution's folder"):
        open_queue(tmp_path)
    (folder / "alerts.sqlite").unlink()
    with pytest.raises(UsageError, match="the operator scores first"), open_queue(folder).store():
        pass
