"""Who acts on an alert acts on it as it is: once, with a right, and after the log."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.client.alerts.test_alert_store import alert
from tests.support.homes import journals
from tests.support.homes.institutions import NOW

from fieldfare.client.alerts import alert_queue
from fieldfare.client.alerts.acts import CaseAct, CaseActKind, holder_of
from fieldfare.client.alerts.alert_queue import (
    CaseworkQueue,
    HomeQueue,
    casework_store,
    collect,
    open_queue,
)
from fieldfare.client.alerts.casework import CaseworkTerms, make_casework
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.alerts.queue_view import QueueFilter
from fieldfare.client.alerts.store import AlertStore, StoredAlert
from fieldfare.client.home.layout import Home
from fieldfare.shared.errors import LedgerError, UsageError
from fieldfare.shared.system.private_files import os_user

NAME = "aaaa1111"


@pytest.fixture
def queue(home: Home) -> HomeQueue:
    found = open_queue(home.path)
    assert isinstance(found, HomeQueue)
    with found.store() as store:
        store.put([alert(NAME, "u")])
    return found


def decided(what: Disposition, user: str = "ana", key: str = "", **changes: Any) -> Feedback:
    data: dict[str, Any] = {"time": NOW, "party_role": PartyRole.CONTROLLER, "reviewer": True}
    data |= changes
    return Feedback(
        NAME,
        data["time"],
        user,
        what,
        data["party_role"],
        Confidence.HIGH,
        "",
        data["reviewer"],
        key,
    )


def did(kind: CaseActKind, user: str = "ana", note: str = "", key: str = "") -> CaseAct:
    return CaseAct(NAME, NOW, user, kind, note, key)


def kept(queue: HomeQueue | CaseworkQueue) -> StoredAlert:
    with queue.store() as store:
        return store.find(NAME)


def events(home: Home) -> list[tuple[str, str, str]]:
    found = journals.logged(home.log_folder)
    return [(one["event"], one["actor"], one["details"].get("kind", "")) for one in found]


def test_each_act_is_in_the_log_under_its_person(queue: HomeQueue) -> None:
    for one in (
        did(CaseActKind.TAKE),
        did(CaseActKind.COMMENT, "ben", "seen before"),
        decided(Disposition.EDD),
        did(CaseActKind.UNDO),
        did(CaseActKind.RELEASE),
    ):
        assert queue.act(one, kept(queue).version).problem == ""
    assert events(queue.home) == [
        ("alert act", "ana", "take"),
        ("alert act", "ben", "comment"),
        ("feedback", "ana", ""),
        ("alert act", "ana", "undo"),
        ("alert act", "ana", "release"),
    ]
    found = kept(queue)
    assert (found.version, found.decisions, found.status.state) == (5, (), "new")
    assert holder_of(found.history) == ""


def test_the_second_of_two_sees_what_changed_and_decides_nothing(queue: HomeQueue) -> None:
    assert queue.act(decided(Disposition.EDD), 0).problem == ""
    refused = queue.act(decided(Disposition.BENIGN_OTHER, "ben"), 0)
    assert "ana acted on it since" in refused.problem
    assert [one.user for one in refused.since] == ["ana"]
    assert [one.user for one in kept(queue).decisions] == ["ana"]
    assert len(events(queue.home)) == 1
    assert queue.act(decided(Disposition.BENIGN_OTHER, "ben"), 1).problem == ""


def test_a_form_that_is_sent_twice_decides_once(queue: HomeQueue) -> None:
    one = decided(Disposition.FILE, key="k1")
    assert not queue.act(one, 0).repeated
    again = queue.act(one, 0)
    assert (again.repeated, again.problem) == (True, "")
    assert queue.act(did(CaseActKind.TAKE, key="k1"), 1).repeated
    assert kept(queue).version == 1
    assert len(events(queue.home)) == 1


def test_what_died_between_log_and_store_is_done_once(
    queue: HomeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def died(_store: AlertStore, _one: object) -> None:
        raise KeyboardInterrupt

    one = decided(Disposition.FILE, key="k1")
    with monkeypatch.context() as patched:
        patched.setattr(AlertStore, "add", died)
        with pytest.raises(KeyboardInterrupt):
            queue.act(one, 0)
    assert kept(queue).version == 0
    assert not queue.act(one, 0).repeated
    assert kept(queue).version == 1
    assert events(queue.home) == [("feedback", "ana", "")]


def test_what_cannot_be_logged_does_not_happen(
    queue: HomeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise LedgerError("disk full")

    monkeypatch.setattr(alert_queue, "_log", full)
    with pytest.raises(LedgerError):
        queue.act(decided(Disposition.EDD), 0)
    assert kept(queue).version == 0


REFUSED: dict[str, tuple[Feedback | CaseAct, str]] = {
    "undo another's": (did(CaseActKind.UNDO, "ben"), "your own last decision of today"),
    "undo yesterday's": (
        CaseAct(NAME, NOW + timedelta(days=1), "ana", CaseActKind.UNDO),
        "your own last decision",
    ),
    "give back what another took": (did(CaseActKind.RELEASE, "ben"), "an alert that you took"),
    "say nothing": (did(CaseActKind.COMMENT, note=" "), "note: expected words"),
    "say too much": (did(CaseActKind.COMMENT, note="a " * 3000), "at most 4000"),
    "a picture": (did(CaseActKind.COMMENT, note="data:image/png;base64,AAAA"), "note: expected"),
    "sign alone": (decided(Disposition.FILE), "a second person"),
    "file nobody": (
        decided(Disposition.FILE, "ben", party_role=PartyRole.UNKNOWN),
        "possible victim",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_not_be_is_refused_and_says_why(queue: HomeQueue, case: str) -> None:
    queue.act(did(CaseActKind.TAKE), 0)
    queue.act(decided(Disposition.FILE), 1)
    one, words = REFUSED[case]
    assert words in queue.act(one, 2).problem
    assert kept(queue).version == 2


def test_an_undone_signature_is_no_second_one(queue: HomeQueue) -> None:
    queue.act(decided(Disposition.FILE), 0)
    queue.act(decided(Disposition.FILE, "ben"), 1)
    assert kept(queue).status.state == "closed"
    queue.act(did(CaseActKind.UNDO, "ben"), 2)
    assert kept(queue).status.state == "second_review"
    with queue.store() as store:
        assert store.labels(NOW + timedelta(days=9)) == []


def test_nobody_acts_on_an_alert_that_is_not_shown(queue: HomeQueue) -> None:
    queue.home.suppression.write_text("unit,reason\nu,recovery\n")
    queue.home.suppression.chmod(0o600)
    with pytest.raises(UsageError, match="found another id"):
        queue.act(decided(Disposition.EDD), 0)


def test_in_a_group_acts_count_at_once_and_are_collected_once(home: Home, tmp_path: Path) -> None:
    terms = CaseworkTerms(
        institution="bank-a", analysts=("ana",), reviewers=("ben",), console=os_user()
    )
    made = make_casework(tmp_path / "cases", os.getgid(), terms)
    with casework_store(made) as store:
        store.put([alert(NAME, "u"), alert("bbbb2222", "v")])
    found = open_queue(tmp_path / "cases")
    assert isinstance(found, CaseworkQueue)
    assert found.act(did(CaseActKind.TAKE, key="k1"), 0).problem == ""
    assert found.act(did(CaseActKind.TAKE, key="k1"), 0).repeated
    assert "ana acted" in found.act(decided(Disposition.EDD, "ben"), 0).problem
    assert found.act(decided(Disposition.BENIGN_OTHER, "ben", key="k2"), 1).problem == ""
    for _ in range(2):
        with found.store() as store:
            page = store.page(QueueFilter.parse("state=all"), NOW.date())
            held = {one.alert: (one.holder, one.state, one.version) for one in page.items}
            assert held == {NAME: ("ana", "closed", 2), "bbbb2222": ("", "new", 0)}
            assert page.counts["assigned"] == {"ana": 1, "nobody": 1}
            assert page.counts["state"] == {"new": 1, "closed": 1, "open": 1, "all": 2}
        collect(home, made)
    assert collect(home, made).taken == 0
    assert events(home) == [("alert act", "ana", "take"), ("feedback", "ben", "")]
