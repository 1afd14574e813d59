import sqlite3
import stat
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.support.homes.institutions import NOW

from fieldfare.client.alerts.alert import Alert
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.alerts.store import STORE, open_store
from fieldfare.client.home.layout import Home
from fieldfare.shared.errors import UsageError


def alert(name: str, unit: str, **changes: Any) -> Alert:
    data: dict[str, Any] = {
        "alert": name, "unit": unit, "study": "s" * 64, "study_name": "s", "run": "r",
        "opened": NOW.isoformat(), "scored": NOW.isoformat(), "rank": 1, "of": 10,
        "selected": "alert", "score": 1.5, "base": 1.0, "others": 0.25, "probability": None,
        "calibration": "not calibrated", "families": 0, "family_names": (), "against": (),
        "look_alikes": (), "reasons": (), "counter_evidence": (),
    }  # fmt: skip
    return Alert.model_validate(data | changes)


def decision(name: str, what: Disposition, user: str = "ana", at: datetime = NOW) -> Feedback:
    return Feedback(name, at, user, what, PartyRole.UNKNOWN, Confidence.HIGH, "because")


def test_the_store_is_made_for_its_owner_alone(home: Home) -> None:
    assert not home.scoring.exists()
    with open_store(home) as store:
        assert store.put([alert("aaaa1111", "u")]) == 1
    assert stat.S_IMODE(home.scoring.stat().st_mode) == 0o700
    assert stat.S_IMODE((home.scoring / STORE).stat().st_mode) == 0o600
    Home.open(home.path)
    (home.scoring / STORE).parent.chmod(0o755)
    with pytest.raises(UsageError, match="scoring"):
        Home.open(home.path)


def test_alerts_come_back_as_they_were_put(home: Home) -> None:
    put = [alert("aaaa1111", "u", score=0.1 + 0.2), alert("bbbb2222", "v", rank=2)]
    with open_store(home) as store:
        store.put(put)
    with open_store(home) as store:
        assert [kept.alert for kept in store.all()] == put


def test_an_open_alert_keeps_its_id_day_and_why_people_were_asked(home: Home) -> None:
    later = (NOW + timedelta(days=1)).isoformat()
    with open_store(home) as store:
        store.put([alert("aaaa1111", "u", selected="below_line")])
        again = alert("cccc3333", "u", opened=later, scored=later, score=9.0)
        assert store.put([again, alert("dddd4444", "v")]) == 1
        kept = {one.alert.unit: one.alert for one in store.all()}["u"]
    assert (kept.alert, kept.opened, kept.selected) == ("aaaa1111", NOW.isoformat(), "below_line")
    assert (kept.score, kept.scored) == (9.0, later)


def test_a_closed_alert_is_followed_by_a_new_one_and_rests(home: Home) -> None:
    with open_store(home) as store:
        store.put([alert("aaaa1111", "u")])
        store.add(decision("aaaa1111", Disposition.BENIGN_OTHER))
        assert store.resting(NOW + timedelta(days=29), 30) == {"u"}
        assert store.resting(NOW + timedelta(days=31), 30) == set()
        assert store.put([alert("bbbb2222", "u")]) == 1
        assert len(store.all()) == 2


def test_an_alert_is_found_by_its_first_digits_and_not_where_it_is_hidden(home: Home) -> None:
    with open_store(home) as store:
        store.put([alert("aaaa1111", "u"), alert("aaaa2222", "v")])
        assert store.find("aaaa1").alert.unit == "u"
        for text, hidden in (("aaaa", ()), ("aaa", ()), ("ffff", ()), ("aaaa1", ("u",)), ("", ())):
            with pytest.raises(UsageError, match="ALERT"):
                store.find(text, hidden)


def test_decisions_are_only_added(home: Home) -> None:
    with open_store(home) as store:
        store.put([alert("aaaa1111", "u")])
        store.add(decision("aaaa1111", Disposition.EDD))
        store.add(decision("aaaa1111", Disposition.MONITOR))
        assert [one.disposition for one in store.find("aaaa").decisions] == ["edd", "monitor"]
    connection = sqlite3.connect(home.scoring / STORE)
    for statement in ("DELETE FROM feedback", "UPDATE feedback SET disposition = 'file'"):
        with pytest.raises(sqlite3.IntegrityError, match="only added"):
            connection.execute(statement)
    connection.close()


def test_labels_are_what_was_known_then(home: Home) -> None:
    with open_store(home) as store:
        store.put([alert("aaaa1111", "u"), alert("bbbb2222", "v", selected="below_line")])
        store.add(decision("aaaa1111", Disposition.FILE, "ana", NOW + timedelta(days=1)))
        store.add(decision("aaaa1111", Disposition.FILE, "ben", NOW + timedelta(days=3)))
        store.add(decision("bbbb2222", Disposition.BENIGN_PERSONA, at=NOW + timedelta(days=2)))
        known = [
            [(one.unit, one.value, one.selected) for one in store.labels(NOW + timedelta(days=day))]
            for day in (1, 2, 3)
        ]
    cleared = ("v", 0, "below_line")
    assert known == [[], [cleared], [("u", 1, "alert"), cleared]]


def test_what_is_no_store_says_what_to_do(home: Home) -> None:
    home.scoring.mkdir(0o700)
    (home.scoring / STORE).write_bytes(b"no database at all, and longer than a header" * 40)
    with pytest.raises(UsageError, match="backup"), open_store(home):
        pass


def test_who_writes_elsewhere_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldfare.client.alerts.store.BUSY_SECONDS", 0.05)
    with open_store(home) as store, closing(sqlite3.connect(home.scoring / STORE)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UsageError, match="another process holds the store of alerts"):
            store.put([alert("aaaa1111", "u")])
