"""Who logs in at the console acts by its own file: it speaks for them, and no other file does."""

import json
import os
from pathlib import Path

import pytest
from tests.support.homes import journals
from tests.support.homes.reported import reported_alert

from fieldfare.client.alerts.acts import CaseActKind
from fieldfare.client.alerts.alert_queue import CaseworkQueue, casework_store, collect, open_queue
from fieldfare.client.alerts.casework import FILE_MODE, Act, CaseworkTerms, Deed, make_casework
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.home.layout import Home
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user

ME = os_user()
ALERT = reported_alert()


def queue_of(path: Path, console: str) -> CaseworkQueue:
    terms = CaseworkTerms(
        institution="bank-a", analysts=(ME, "anna"), reviewers=("berta",), console=console
    )
    made = make_casework(path, os.getgid(), terms)
    with casework_store(made) as store:
        store.put([ALERT])
    queue = open_queue(path)
    assert isinstance(queue, CaseworkQueue)
    return queue


def decide(queue: CaseworkQueue, person: str) -> None:
    said = (Disposition.FILE, PartyRole.CONTROLLER, Confidence.HIGH)
    queue.act(Feedback(ALERT.alert, utc_now(), person, *said))


def state(queue: CaseworkQueue) -> str:
    with queue.store() as store:
        return store.find(ALERT.alert).status.state


def test_two_persons_at_the_console_are_two_persons(home: Home, tmp_path: Path) -> None:
    queue = queue_of(tmp_path / "cases", ME)
    queue.tell("logged in", "anna", "anna")
    decide(queue, "anna")
    assert state(queue) == "second_review"
    decide(queue, "anna")
    assert state(queue) == "second_review"
    decide(queue, "berta")
    assert state(queue) == "closed"
    assert collect(home, queue.casework).taken == 4
    found = journals.logged(home.log_folder)
    assert [(one["event"], one["actor"]) for one in found] == [
        ("console", "anna"), ("feedback", "anna"), ("feedback", "anna"), ("feedback", "berta"),
    ]  # fmt: skip
    assert (found[0]["details"]["kind"], found[0]["details"]["user"]) == ("logged in", "anna")


def test_a_person_without_a_right_decides_nothing_and_may_log_in(tmp_path: Path) -> None:
    queue = queue_of(tmp_path / "cases", ME)
    queue.tell("logged in", "emil")
    with pytest.raises(UsageError, match="an analyst or a reviewer"):
        decide(queue, "emil")


def test_nobody_else_speaks_for_others(tmp_path: Path) -> None:
    """A line with a person in a file that is not the console's counts as nothing."""
    queue = queue_of(tmp_path / "cases", "")
    with pytest.raises(UsageError, match="nobody can sign on a terminal"):
        decide(queue, "anna")
    forged = [
        Act(time=utc_now(), deed=Deed.FEEDBACK, person="anna", disposition=Disposition.FILE),
        Act(time=utc_now(), deed=Deed.CONSOLE, kind="logged in"),
    ]
    path = queue.casework.decisions / f"{ME}.jsonl"
    path.write_text("".join(f"{one.model_dump_json()}\n" for one in forged))
    path.chmod(FILE_MODE)
    signed, complaints = queue.casework.acts(utc_now())
    assert signed == []
    assert "2 lines are no acts" in complaints[0]


def test_what_counted_stays_when_another_user_becomes_the_console(
    home: Home, tmp_path: Path
) -> None:
    """They were counted as gone, as if somebody had taken them away."""
    queue = queue_of(tmp_path / "cases", ME)
    queue.tell("logged in", "anna", "anna")
    decide(queue, "anna")
    decide(queue, "berta")
    assert collect(home, queue.casework).taken == 3
    decide(queue, "anna")  # signed, and not collected before the change
    terms = queue.casework.terms.model_copy(update={"console": "games"})
    queue.casework.terms = terms
    for _ in range(2):
        found = collect(home, queue.casework)
        assert (found.taken, found.gone) == (0, 0)
        assert "1 lines are no acts" in found.complaints[0]
    with casework_store(queue.casework) as store:
        assert store.find(ALERT.alert).status.state == "closed"
    path = queue.casework.decisions / f"{ME}.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert collect(home, queue.casework).gone == 2  # what is taken away is still said


def test_a_console_that_was_taken_over_is_every_person_that_is_named_and_no_other(
    home: Home, tmp_path: Path
) -> None:
    """It holds both signatures (SECURITY.md): what it cannot do has to hold without them."""
    queue = queue_of(tmp_path / "cases", ME)
    path = queue.casework.decisions / f"{ME}.jsonl"

    def forge(person: str) -> None:
        what = {"alert": ALERT.alert, "disposition": Disposition.FILE, "key": person}
        line = Act(time=utc_now(), deed=Deed.FEEDBACK, person=person, **what).model_dump_json()
        with path.open("a") as file:
            file.write(f"{line}\n")
        path.chmod(FILE_MODE)

    forge("emil")
    assert collect(home, queue.casework).refused == 1
    assert state(queue) == "new"
    forge("anna")
    forge("berta")
    assert collect(home, queue.casework).taken == 2
    assert state(queue) == "closed"
    kept = journals.logged(home.log_folder)
    path.write_bytes(b"")
    found = collect(home, queue.casework)
    assert (found.taken, found.gone) == (0, 2)
    assert state(queue) == "closed"
    assert journals.logged(home.log_folder) == kept


def test_in_a_home_of_ones_own_the_log_has_it_at_once(home: Home) -> None:
    open_queue(home.path).tell("account added", ME, "anna")
    (entry,) = journals.logged(home.log_folder)
    assert (entry["event"], entry["actor"]) == ("console", ME)
    assert entry["details"] == {"kind": "account added", "user": "anna"}


def test_no_persons_lines_stop_the_others(home: Home, tmp_path: Path) -> None:
    """Every member reads the others' lines: a copied key or a mad time stops nobody's act."""
    queue = queue_of(tmp_path / "cases", ME)
    what = {"alert": ALERT.alert, "deed": Deed.ACT, "act": CaseActKind.TAKE, "key": "k"}
    lines = [
        Act(time=utc_now(), person=person, **what).model_dump_json()
        for person in ("berta", "anna", "anna")
    ]
    mad = json.dumps(json.loads(lines[0]) | {"time": "0001-01-01T00:00:00+14:00", "act": "undo"})
    path = queue.casework.decisions / f"{ME}.jsonl"
    path.write_text("\n".join([*lines, mad, ""]))
    path.chmod(FILE_MODE)
    assert state(queue) == "new"
    found = collect(home, queue.casework)
    assert (found.taken, found.refused) == (2, 1)
    assert "1 lines are no acts" in found.complaints[0]
    with queue.store() as store:
        assert sorted(one.user for one in store.find(ALERT.alert).history) == ["anna", "berta"]
        assert store.knows("k", "anna")
        assert not store.knows("k", ME)
