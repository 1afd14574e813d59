"""The queue in a browser: filters and views are addresses; an alert is taken once, and seen."""

import re

import pytest
from tests.support.homes import journals
from tests.support.homes.consoles import HOST, TOKEN, Browser, ConsoleBench, desk, kept_alerts

from fieldfare.client.alerts.store import open_store
from fieldfare.client.home.layout import INVENTED, Home
from fieldfare.shared.console.rights import ConsoleRole

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def anna(home: Home, console: ConsoleBench) -> Browser:
    kept_alerts(home, 120)
    browser = Browser(desk(home.path, console))
    console.log_in(browser, console.enrolled("anna"))
    return browser


@pytest.fixture
def berta(home: Home, console: ConsoleBench, anna: Browser) -> Browser:
    browser = Browser(desk(home.path, console))
    console.log_in(browser, console.enrolled("berta", ConsoleRole.REVIEWER))
    return browser


def rows(text: str) -> list[str]:
    return re.findall(r'<th scope="row" data-label="Alert"><a [^>]*><code>(\w+)</code>', text)


def take(browser: Browser, alert: str, what: str = "take", **changes: str) -> tuple[int, str]:
    """Send the form that stands beside an alert."""
    page = browser.get("/alerts").text
    form = page.partition(f'action="/alerts/{alert}/{what}"')[2].partition("</form>")[0]
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
    answer = browser.sent(f"/alerts/{alert}/{what}", fields | changes)
    return answer.status_code, answer.text


def test_the_first_page_says_what_an_invented_home_is_of(home: Home, anna: Browser) -> None:
    assert "nobody in it exists" not in anna.shown("/")
    (home.path / INVENTED).write_text("Made by a demo: nobody in it exists. Of 9 cases <b>.")
    assert "nobody in it exists. Of 9 cases <b>." in " ".join(anna.shown("/").split())


def test_pages_follow_each_other_and_hold_every_alert_once(anna: Browser) -> None:
    where, seen = "/alerts", []
    for _ in range(9):
        text = anna.get(where).text
        seen += rows(text)
        following = re.search(r'href="([^"]+)" rel="next"', text)
        if not following:
            break
        where = following[1].replace("&amp;", "&")
    assert len(seen) == len({*seen}) == 120
    assert "First page" in text


def test_filters_are_an_address_and_a_form(anna: Browser) -> None:
    text = anna.get("/alerts?tier=3&assigned=nobody&due=&family=").text
    assert '<option value="3" selected>' in text
    labels = re.findall(r'<label for="f-\w+">([\w ]+)</label>', text)
    assert labels == ["State", "Independent families", "Taken by", "Due", "Evidence of", "Opened"]
    assert rows(text)
    assert "3 families" in anna.shown("/alerts?tier=3")
    assert rows(anna.get("/alerts?state=closed").text) == []
    for odd in ("tier=x", "state=none", "what=1", "after=';--", f"family={SCRIPT}"):
        answer = anna.get(f"/alerts?{odd}")
        assert answer.status_code == 400, odd
        assert SCRIPT not in answer.text


def test_the_sample_below_the_line_is_unmarked(home: Home, anna: Browser) -> None:
    """No row says a rank, a score, a unit, or that it was drawn at random."""
    text = "".join(anna.get(f"/alerts?tier={tier}").text for tier in ("1", "2", "3"))
    for word in ("below", "random", "sample", "rank", "score", "MARKER"):
        assert word not in re.sub(r"<p class=.soft.>.*?</p>", "", text), word
    with open_store(home) as store:
        assert {kept.alert.selected.value for kept in store.all()} == {"alert", "below_line"}


def test_an_alert_is_taken_once_and_others_see_it(
    home: Home, anna: Browser, berta: Browser
) -> None:
    alert = rows(anna.get("/alerts").text)[0]
    assert take(anna, alert)[0] == 303
    assert f"You took alert {alert}." in anna.shown(f"/alerts?done={alert}")
    assert "You took alert" not in berta.shown(f"/alerts?done={alert}")
    assert rows(berta.get("/alerts?assigned=anna").text) == [alert]
    status, text = take(berta, alert, seen="0")
    assert status == 409
    assert "anna acted on it since" in text
    assert take(anna, alert, "give-back")[0] == 303
    assert rows(anna.get("/alerts?assigned=anna").text) == []
    found = [(one["event"], one["actor"]) for one in journals.logged(home.log_folder)]
    assert found == [("alert act", "anna"), ("alert act", "anna")]


def test_the_same_form_twice_takes_once(home: Home, anna: Browser) -> None:
    page = anna.get("/alerts").text
    alert = rows(page)[0]
    fields = {"token": TOKEN.findall(page)[0], "seen": "0", "view": "tier=3"}
    for _ in range(2):
        answer = anna.sent(f"/alerts/{alert}/take", fields)
        assert answer.headers["location"] == f"/alerts?tier=3&done={alert}"
    assert len(journals.logged(home.log_folder)) == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/alerts/none/take", 400),
        ("/alerts/..%2f..%2fetc/take", 404),
        ("/alerts/%3Cscript%3E/take", 400),
        ("/alerts/0000000000000000/close", 404),
    ],
)
def test_odd_acts_are_errors_that_are_pages(anna: Browser, path: str, status: int) -> None:
    answer = anna.fill(path, page="/alerts", seen="0")
    assert answer.status_code == status
    assert "<h1>" in answer.text
    assert "<script>" not in answer.text
    for seen in ("", "-1", "x", "9" * 20):
        assert anna.fill("/alerts/none/take", page="/alerts", seen=seen).status_code == 400


def test_views_are_saved_under_a_persons_own_names(anna: Browser, berta: Browser) -> None:
    save = {"page": "/alerts", "view": "tier=3&assigned=nobody"}
    assert anna.fill("/alerts/views", **save, name=SCRIPT).status_code == 303
    text = anna.get("/alerts?assigned=nobody&tier=3").text
    assert SCRIPT not in text
    assert 'href="/alerts?tier=3&amp;assigned=nobody" aria-current="true"' in text
    assert "tier=3" not in berta.get("/alerts").text.partition("Saved views")[2][:900]
    assert anna.fill("/alerts/views", page="/alerts", view="//evil", name="x").status_code == 400
    anna.fill("/alerts/views", page="/alerts", view="", drop=SCRIPT)
    assert "alert(1)" not in anna.get("/alerts").text


def test_stored_scripts_run_nowhere(home: Home, console: ConsoleBench, anna: Browser) -> None:
    """A holder's name is what another program wrote: it is text here."""
    kept_alerts(home, 1, alert="ffff000000000000", unit="MARKER-X", family_names=("FLOW",))
    with open_store(home) as store:
        store._database.rows("UPDATE place SET holder = ?", SCRIPT)
    text = anna.get("/alerts").text
    assert "&lt;script&gt;" in text
    assert SCRIPT not in text
    assert "MARKER" not in text


def test_no_value_of_a_record_is_in_an_address(anna: Browser) -> None:
    text = anna.get("/alerts").text
    found = re.findall(r'(?:href|action)="([^"]+)"', text)
    assert found
    assert [one for one in found if "MARKER" in one or one.startswith(("http", "//"))] == []
    assert HOST not in text
