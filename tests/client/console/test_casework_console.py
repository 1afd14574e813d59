"""A console on a casework folder: what persons do is in its own file, under their names."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.homes import journals
from tests.support.homes.consoles import Browser, ConsoleBench, desk
from tests.support.homes.reported import reported_alert

from fieldfare.client.alerts.acts import CaseAct, CaseActKind
from fieldfare.client.alerts.alert_queue import CaseworkQueue, casework_store, collect, open_queue
from fieldfare.client.alerts.casework import Act, CaseworkTerms, Deed, make_casework
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.console.place import ConsolePlace, console_place
from fieldfare.client.home.layout import Home
from fieldfare.shared.console.rights import ConsoleRole
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user

ALERT = reported_alert()
HOUR = timedelta(hours=1)
TAKE = f"/alerts/{ALERT.alert}/take"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    terms = CaseworkTerms(institution="bank-a", analysts=("anna",), console=os_user())
    made = make_casework(tmp_path / "cases", os.getgid(), terms)
    with casework_store(made) as store:
        store.put([ALERT])
    return made.path


def test_what_is_taken_there_is_in_the_log_once_collected(
    home: Home, folder: Path, console: ConsoleBench
) -> None:
    browser = Browser(desk(folder, console))
    console.log_in(browser, console.enrolled("anna"))
    assert "user whose home it is" not in browser.shown("/")
    assert browser.fill(TAKE, page="/alerts", seen="0").status_code == 303
    assert f"You took alert {ALERT.alert}." in browser.shown(f"/alerts?done={ALERT.alert}")
    queue = open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    collect(home, queue.casework)
    assert [(one["event"], one["actor"]) for one in journals.logged(home.log_folder)] == [
        ("alert act", "anna")
    ]


def test_a_right_that_the_operator_took_away_is_gone_at_once(
    folder: Path, console: ConsoleBench
) -> None:
    """`casework.toml` is read anew for every page: an account gives no right that it does not."""
    browser = Browser(desk(folder, console))
    console.log_in(browser, console.enrolled("anna"))
    terms = folder / "casework.toml"
    terms.write_text(terms.read_text().replace('analysts = ["anna"]', "analysts = []"))
    answer = browser.fill(TAKE, page="/alerts", seen="0")
    assert answer.status_code == 400
    assert "an analyst or a reviewer" in answer.text
    assert "nobody" in browser.shown("/alerts")


def test_comments_go_from_the_own_file_after_their_alert(home: Home, folder: Path) -> None:
    now, queue = utc_now(), open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    later = reported_alert(alert="b" * 16, unit="other", scored=(now + HOUR).isoformat())
    with casework_store(queue.casework) as store:
        store.put([later])
    high = Confidence.HIGH
    for one in (
        CaseAct(ALERT.alert, now, "anna", CaseActKind.COMMENT, "MARKER gone"),
        Feedback(ALERT.alert, now, "anna", Disposition.EDD, PartyRole.UNKNOWN, high, "MARKER"),
        CaseAct(later.alert, now, "anna", CaseActKind.COMMENT, "of one that stays"),
    ):
        assert not queue.act(one).problem
    (own,) = queue.casework.decisions.iterdir()
    before = own.read_bytes()
    assert collect(home, queue.casework).taken == 3
    with casework_store(queue.casework) as store:
        assert store.expire(now + 24 * HOUR, 1)[0] == 1
    for number in range(2):
        found = collect(home, queue.casework)
        assert (found.taken, found.refused, found.gone, found.complaints) == (number, 0, 0, ())
        again = CaseAct(later.alert, utc_now(), "anna", CaseActKind.COMMENT, f"no. {number}")
        assert not queue.act(again).problem
        assert b"MARKER" not in own.read_bytes()
    assert own.read_bytes()[: len(before)].strip(b" \n") == before.splitlines()[2]


def test_a_file_that_its_user_leaves_behind_is_named(home: Home, folder: Path) -> None:
    now, queue = utc_now(), open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    said = CaseAct(ALERT.alert, now, "anna", CaseActKind.COMMENT, "MARKER")
    assert not queue.act(said).problem
    assert collect(home, queue.casework).over == ()
    with casework_store(queue.casework) as store:
        assert store.expire(now + 24 * HOUR, 1)[0] == 1
    (own,) = queue.casework.decisions.iterdir()
    assert collect(home, queue.casework).over == (own,)
    own.unlink()
    found = collect(home, queue.casework)
    assert (found.over, found.gone) == ((), 0)


def test_a_file_that_was_signed_on_a_terminal_is_named_after_its_last_alert(
    home: Home, folder: Path
) -> None:
    """Nobody can add to it: lines without an alert, or never taken over, keep no comment."""
    terms, now = folder / "casework.toml", utc_now()
    terms.write_text(terms.read_text().replace(f'"{os_user()}"', '"games"'))
    queue = open_queue(folder)
    assert isinstance(queue, CaseworkQueue)
    own = queue.casework.decisions / f"{os_user()}.jsonl"
    comment = Act(time=now - HOUR, deed=Deed.ACT, act=CaseActKind.COMMENT, alert=ALERT.alert)
    labels = Act(time=now - HOUR / 2, deed=Deed.LABELS)
    late = comment.model_copy(update={"time": now - HOUR / 4, "note": "MARKER", "nonce": "c" * 32})
    own.write_text("".join(f"{one.model_dump_json()}\n" for one in (comment, labels, late)))
    own.chmod(0o640)
    signed, _ = queue.casework.acts(now)
    with casework_store(queue.casework) as store:
        for one in signed[:2]:
            store.collect(one.line, None)
    assert collect(home, queue.casework).over == ()
    with casework_store(queue.casework) as store:
        assert store.expire(now + 24 * HOUR, 1)[0] == 1
    assert collect(home, queue.casework).over == (own,)
    own.unlink()
    found = collect(home, queue.casework)
    assert (found.over, found.gone) == ((), 0)


def test_models_and_records_are_shown_on_a_folder_too(
    home: Home, folder: Path, console: ConsoleBench
) -> None:
    """What answers is the desk: the console's user could not look at a home."""
    browser = Browser(desk(folder, console, home.path))
    console.log_in(browser, console.enrolled("edda", ConsoleRole.EXAMINER))
    assert "No records have been read yet" in browser.shown("/records")
    assert "Models" in browser.shown("/")
    assert browser.get("/models").status_code == 200


def test_it_needs_a_folder_of_its_own(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--accounts"), console_place(folder, None, os.urandom):
        pass
    own = tmp_path / "own"
    with console_place(folder, own, os.urandom, make=True) as place:
        assert isinstance(place, ConsolePlace)
        assert (place.name, place.beside_keys) == ("bank-a", False)
    assert f"{own.stat().st_mode & 0o777:o}" == "700"
